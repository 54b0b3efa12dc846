//! Why a framework gets no offers: counted where it is passed over, put into words when somebody asks.

use std::fmt;

use mesos_plugin_api::v1::{AgentId, FrameworkId};

use super::Allocator;

/// Counted in the cycles, for each framework, since it subscribed.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Times that a free agent wasn't offered because of a filter.
    pub(super) filtered: u64,
    pub(super) filtered_on: Option<AgentId>,
    /// Times that a free agent went to another framework, which had a smaller share.
    pub(super) outbid: u64,
    pub(super) outbid_on: Option<AgentId>,
}

/// Why a framework was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Passed {
    /// Its scheduler isn't connected. No count.
    Disconnected,
    /// It wants no offers until it revives. No count.
    Suppressed,
    /// Agents that give no offers now: disconnected or draining.
    AgentInactive,
    /// Agents on which nothing, or too little to be offered, is free now.
    NothingFree,
    /// Agents on which what would be free is held for a gang now.
    HeldForGang,
    /// Times, since it subscribed, that a filter of its own kept a free agent from it.
    Filtered,
    /// Times, since it subscribed, that a free agent went to a framework with a smaller share.
    SmallerShareFirst,
    /// One of its gangs waits; the text says for what.
    GangWaits,
}

/// One reason, how often, and where for example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The reason; it says what `count` counts.
    pub passed: Passed,
    /// How often it holds.
    pub count: u64,
    /// One agent that it holds for.
    pub example: Option<AgentId>,
    /// For [`Passed::GangWaits`]: which gang, and for what it waits.
    pub text: Option<String>,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.count;
        match self.passed {
            Passed::Disconnected => f.write_str("its scheduler is not connected")?,
            Passed::Suppressed => f.write_str("it suppressed offers; a revive brings them back")?,
            Passed::AgentInactive => write!(f, "{count} agents are disconnected or draining")?,
            Passed::NothingFree => write!(f, "{count} agents have nothing free")?,
            Passed::HeldForGang => write!(f, "{count} agents are held for a gang")?,
            Passed::Filtered => write!(f, "{count} times it had declined the same resources shortly before")?,
            Passed::SmallerShareFirst => write!(f, "{count} times a framework with a smaller share went first")?,
            Passed::GangWaits => f.write_str(self.text.as_deref().unwrap_or("a gang waits"))?,
        }
        self.example.as_ref().map_or(Ok(()), |agent| write!(f, ", such as {agent}"))
    }
}

impl Allocator {
    /// All reasons for which a framework is passed over, now or since it subscribed; none if it isn't known. Looks at each agent.
    pub fn why(&self, framework: &FrameworkId) -> Vec<Reason> {
        let Some(number) = self.frameworks.number(framework) else { return Vec::new() };
        let row = &self.frameworks[number];
        let plain = |passed| Reason { passed, count: 1, example: None, text: None };
        let mut reasons = Vec::new();
        reasons.extend((!row.active).then(|| plain(Passed::Disconnected)));
        reasons.extend(row.suppressed.then(|| plain(Passed::Suppressed)));
        reasons.extend(self.agents_by_state());
        let counted = [
            (Passed::Filtered, row.tally.filtered, &row.tally.filtered_on),
            (Passed::SmallerShareFirst, row.tally.outbid, &row.tally.outbid_on),
        ];
        for (passed, count, example) in counted.into_iter().filter(|(_, count, _)| *count > 0) {
            reasons.push(Reason { passed, count, example: example.clone(), text: None });
        }
        for (id, waiting_for) in self.gangs.of(number) {
            let text = Some(format!("gang {id}: {waiting_for}"));
            reasons.push(Reason { passed: Passed::GangWaits, count: 1, example: None, text });
        }
        reasons
    }

    fn agents_by_state(&self) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = Vec::new();
        for (number, agent) in self.agents.iter() {
            let passed = match agent.active {
                _ if self.open.contains(number) => continue,
                false => Passed::AgentInactive,
                true if !agent.held.is_zero() => Passed::HeldForGang,
                true => Passed::NothingFree,
            };
            match reasons.iter_mut().find(|reason| reason.passed == passed) {
                Some(reason) => reason.count += 1,
                None => reasons.push(Reason { passed, count: 1, example: Some(agent.id.clone()), text: None }),
            }
        }
        reasons.sort_by_key(|reason| reason.passed);
        reasons
    }
}
