//! Filters: what a framework declined isn't offered to it again for a while, unless more has become free than it declined.
//!
//! They lie on their agent, those that refuse the same resources together: mostly that is one group, as every framework
//! declines all that was free, and one comparison says whether the filters of hundreds of frameworks apply now. The answer is
//! kept as one bit for each framework and agent, which is all that a cycle looks at.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::Resources;

use super::Allocator;

/// Those who declined the same resources of one agent.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What they declined.
    pub(super) resources: Resources,
    /// No more than that is available now, so that the filters' bits are set.
    pub(super) applies: bool,
    /// Framework and end of its filter, by framework. A framework is in one group of an agent only.
    pub(super) by: Vec<(u32, Time)>,
}

impl Allocator {
    /// A framework doesn't want this much of an agent until then. Replaces its earlier filter there.
    pub(super) fn refuse(&mut self, framework: u32, agent: u32, resources: &Resources, until: Time) {
        self.remove_filter(framework, agent);
        let refusals = &mut self.agents[agent].refusals;
        let index = refusals.iter().position(|refusal| refusal.resources == *resources).unwrap_or_else(|| {
            refusals.push(Refusal { resources: resources.clone(), applies: false, by: Vec::new() });
            refusals.len() - 1
        });
        let refusal = &mut refusals[index];
        let at = refusal.by.partition_point(|(other, _)| *other < framework);
        refusal.by.insert(at, (framework, until));
        let row = &mut self.frameworks[framework];
        if refusal.applies {
            row.filtered.insert(agent);
        }
        let earliest = row.expiries.keys().next().copied();
        row.expiries.entry(until).or_default().insert(agent);
        self.note_earliest(framework, earliest);
    }

    /// Sets the bits of an agent's filters by what is available there now.
    pub(super) fn reapply_filters(&mut self, agent: u32) {
        let row = &mut self.agents[agent];
        if row.refusals.is_empty() {
            return;
        }
        let available = row.available();
        for refusal in &mut row.refusals {
            let applies = refusal.resources.contains(&available);
            if applies == refusal.applies {
                continue;
            }
            refusal.applies = applies;
            for (framework, _) in &refusal.by {
                let bits = &mut self.frameworks[*framework].filtered;
                if applies { bits.insert(agent) } else { bits.remove(agent) }
            }
        }
    }

    /// Whether a framework has refused as much as this on the agent.
    pub(super) fn refuses(&self, framework: u32, agent: u32, resources: &Resources) -> bool {
        self.agents[agent].refusals.iter().any(|refusal| {
            refusal.by.binary_search_by_key(&framework, |(other, _)| *other).is_ok()
                && refusal.resources.contains(resources)
        })
    }

    /// Ends the filters whose time has come.
    pub(super) fn expire_filters(&mut self, now: Time) {
        while let Some((until, framework)) = self.earliest_filters.first().copied() {
            if until > now {
                break;
            }
            let agents =
                self.frameworks[framework].expiries.get(&until).expect("its earliest filter ends then").clone();
            for agent in agents {
                self.remove_filter(framework, agent);
                self.touch(agent);
            }
        }
    }

    /// Ends all filters of a framework, and its passing of turns.
    pub(super) fn clear_filters(&mut self, framework: u32) {
        let row = &mut self.frameworks[framework];
        let expiries = std::mem::take(&mut row.expiries);
        row.filtered = Default::default();
        let passed = std::mem::take(&mut row.passed);
        self.note_earliest(framework, expiries.keys().next().copied());
        for agent in expiries.into_values().flatten() {
            self.take_out(framework, agent).expect("a filter that ends lies on its agent");
        }
        for agent in passed.iter() {
            let by = &mut self.agents[agent].passed_by;
            by.retain(|other| *other != framework);
            if by.is_empty() {
                self.passed.remove(agent);
            }
        }
    }

    /// Ends all filters on an agent that goes.
    pub(super) fn clear_filters_on(&mut self, agent: u32) {
        for refusal in std::mem::take(&mut self.agents[agent].refusals) {
            for (framework, until) in refusal.by {
                self.forget(framework, agent, until);
            }
        }
        self.clear_passes(agent);
    }

    /// Forgets who gave way to others on an agent.
    pub(super) fn clear_passes(&mut self, agent: u32) {
        for framework in std::mem::take(&mut self.agents[agent].passed_by) {
            self.frameworks[framework].passed.remove(agent);
        }
        self.passed.remove(agent);
    }

    /// A framework gives way to others on an agent, once.
    pub(super) fn pass(&mut self, framework: u32, agent: u32) {
        let row = &mut self.frameworks[framework];
        if !row.passed.contains(agent) {
            row.passed.insert(agent);
            self.passed.insert(agent);
            self.agents[agent].passed_by.push(framework);
        }
    }

    fn remove_filter(&mut self, framework: u32, agent: u32) {
        if let Some(until) = self.take_out(framework, agent) {
            self.forget(framework, agent, until);
        }
    }

    /// Takes a filter off its agent and says when it would have ended.
    fn take_out(&mut self, framework: u32, agent: u32) -> Option<Time> {
        let refusals = &mut self.agents[agent].refusals;
        for index in 0..refusals.len() {
            let by = &mut refusals[index].by;
            if let Ok(at) = by.binary_search_by_key(&framework, |(other, _)| *other) {
                let (_, until) = by.remove(at);
                if by.is_empty() {
                    refusals.swap_remove(index);
                }
                return Some(until);
            }
        }
        None
    }

    /// Takes a filter out of its framework's books.
    fn forget(&mut self, framework: u32, agent: u32, until: Time) {
        let row = &mut self.frameworks[framework];
        row.filtered.remove(agent);
        let earliest = row.expiries.keys().next().copied();
        let agents = row.expiries.get_mut(&until).expect("a filter is known by its end");
        agents.remove(&agent);
        if agents.is_empty() {
            row.expiries.remove(&until);
        }
        self.note_earliest(framework, earliest);
    }

    /// Keeps the order of the frameworks by the end of their first filter.
    fn note_earliest(&mut self, framework: u32, before: Option<Time>) {
        let now = self.frameworks[framework].expiries.keys().next().copied();
        if now == before {
            return;
        }
        if let Some(before) = before {
            self.earliest_filters.remove(&(before, framework));
        }
        if let Some(now) = now {
            self.earliest_filters.insert((now, framework));
        }
    }
}
