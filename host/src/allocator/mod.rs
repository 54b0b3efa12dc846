//! Who is offered what, and when.
//!
//! ```text
//!            AddAgent, Recover, Revive, RequestGang …                              a cycle, when something changed
//!  master ──────────────────────────────────────────▶ books ──changed agents──▶ ┌──────────────────────────────┐
//!    ▲                                                  agents.rs  filters.rs   │ 1 gangs that waited long     │ gangs.rs
//!    │                                                  frameworks.rs           │ 2 roles, frameworks by share │ cycle.rs
//!    │                                                                          │   (young gangs in turn)      │
//!    └───────────────────────── Offer, GangStatus ◀──────────────────────────── │ 3 backfill of what is held   │ gangs.rs
//!                                                                               └──────────────────────────────┘
//! ```
//!
//! A pure state machine: it is given events and the time, and answers with effects. What is offered counts as allocated to the
//! framework until it is recovered, whether the offer is open, declined or turned into tasks; what volumes reserve is set apart
//! ([`reservations`]). It knows nothing of offer ids,
//! offer timeouts, tasks or connections: those are the master's, who recovers what comes back.
//!
//! Dominant resource fairness (Ghodsi et al., NSDI 2011) over roles with weights, then over the frameworks of a role; offers
//! are coarse: all that is free on an agent goes to the one who is due. [`filters`] says what a declined offer means,
//! [`gangs`] how slots on several agents come together.

mod agents;
mod bits;
mod cycle;
mod filters;
mod frameworks;
mod gangs;
mod placement;
mod plan;
mod reservations;
mod sanity;
mod scalars;
mod slots;
#[cfg(test)]
mod tests;
mod why;
mod words;

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, FrameworkId, Resources};

use agents::Agent;
use bits::Bits;
use frameworks::{Framework, Role};
use gangs::Gangs;
use scalars::Scalars;
use slots::Slots;

pub use gangs::{BACKFILL_MIN, GANG_AGED_AFTER, GANG_SLOTS_MAX};
pub use why::{Passed, Reason};
pub use words::{Config, Effect, Event, Part, Used};

/// The allocator. Its owner hands it events, then lets it [`allocate`](Self::allocate) once a batch of them is in, and again
/// at [`deadline`](Self::deadline).
#[derive(Debug)]
pub struct Allocator {
    config: Config,
    agents: Slots<AgentId, Agent>,
    frameworks: Slots<FrameworkId, Framework>,
    roles: Slots<String, Role>,
    /// All scalars of all agents.
    cluster: Scalars,
    gangs: Gangs,
    /// Frameworks by the end of their first filter.
    earliest_filters: BTreeSet<(Time, u32)>,
    /// Agents that can be offered: active, enough available.
    open: Bits,
    /// Agents that may have become more attractive to somebody since the last cycle.
    changed: Bits,
    /// Agents that somebody declined for no time.
    passed: Bits,
    /// The next cycle's first agent, so that none is always first.
    first_agent: u32,
    /// A cycle may find something to do.
    dirty: bool,
}

impl Allocator {
    /// An allocator of an empty cluster.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            agents: Slots::default(),
            frameworks: Slots::default(),
            roles: Slots::default(),
            cluster: Scalars::default(),
            gangs: Gangs::default(),
            earliest_filters: BTreeSet::new(),
            open: Bits::default(),
            changed: Bits::default(),
            passed: Bits::default(),
            first_agent: 0,
            dirty: false,
        }
    }

    /// Takes an event into the books. Offers follow in the next [`allocate`](Self::allocate); a gang that can never be is
    /// refused at once.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::AddAgent { id, hostname, total, used } => self.add_agent(id, hostname, total, used),
            Event::Reserve { framework, agent, resources } => self.reserve(framework.as_ref(), &agent, &resources),
            Event::Unreserve { agent, resources } => self.unreserve(&agent, &resources),
            Event::UseReserved { framework, agent, resources } => self.use_reserved(&framework, &agent, &resources),
            Event::ReturnReserved { framework, agent, resources } => {
                self.return_reserved(&framework, &agent, &resources)
            }
            Event::UpdateAgent { id, total } => self.update_agent(&id, total),
            Event::RemoveAgent { id } => self.remove_agent(&id),
            Event::DeactivateAgent { id } => self.set_agent_active(&id, false),
            Event::ActivateAgent { id } => self.set_agent_active(&id, true),
            Event::AddFramework { id, role } => self.add_framework(id, role),
            Event::RemoveFramework { id } => self.remove_framework(&id),
            Event::DeactivateFramework { id } => self.deactivate_framework(&id),
            Event::ActivateFramework { id } => self.activate_framework(&id),
            Event::SetWeight { role, weight } => self.set_weight(role, weight),
            Event::Launched { framework, agent, resources, offered_until, ends_at } => {
                self.launched(&framework, &agent, &resources, offered_until, ends_at);
            }
            Event::Recover { framework, agent, resources, back_by, refuse } => {
                let part = Part { agent, resources, slots: None };
                self.recover(now, &framework, part, back_by, refuse);
            }
            Event::Revive { framework } => self.revive(&framework),
            Event::Suppress { framework } => {
                if let Some(number) = self.frameworks.number(&framework) {
                    self.frameworks[number].suppressed = true;
                }
            }
            Event::RequestGang { framework, request } => self.request_gang(now, &framework, request, effects),
            Event::CancelGang { framework, id } => self.cancel_gang(&framework, &id),
        }
    }

    /// When to call [`allocate`](Self::allocate) even if nothing has happened: a filter ends, a gang has waited long enough.
    pub fn deadline(&self) -> Option<Time> {
        let filter = self.earliest_filters.first().map(|(until, _)| *until);
        filter.into_iter().chain(self.gangs.deadline()).min()
    }

    /// Runs a cycle if anything has changed: offers what is free to those who are due.
    pub fn allocate(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.expire_filters(now);
        self.expire_gangs(now, effects);
        if !std::mem::take(&mut self.dirty) {
            return;
        }
        self.release_holds();
        let changed = std::mem::take(&mut self.changed);
        for agent in changed.iter() {
            self.refresh(agent);
        }
        self.place_aged_gangs(now, effects);
        let first_agent = self.first_agent;
        self.share_out(now, &changed, effects);
        let again = self.agents_that_all_passed(&changed);
        if !again.is_empty() {
            self.share_out(now, &again, effects);
        }
        self.turn(first_agent);
        self.backfill(now, effects);
        self.tell_gangs(effects);
    }

    /// The next cycle begins where this one ended, or one agent on if it went all the way round.
    fn turn(&mut self, began: u32) {
        let agents = self.agents.bound().max(1);
        self.first_agent %= agents;
        if self.first_agent == began {
            self.first_agent = (began + 1) % agents;
        }
    }

    /// Agents that are left over as those who want them have declined them for no time; they get them after all.
    fn agents_that_all_passed(&mut self, changed: &Bits) -> Bits {
        let mut again = Bits::default();
        if self.passed.is_empty() {
            return again;
        }
        for agent in self.passed.clone().iter() {
            if changed.contains(agent) && self.open.contains(agent) {
                self.clear_passes(agent);
                again.insert(agent);
            }
        }
        again
    }

    fn add_agent(&mut self, id: AgentId, hostname: String, total: Resources, used: Vec<Used>) {
        if self.agents.number(&id).is_some() {
            self.remove_agent(&id);
        }
        self.cluster.add(&total);
        let agent = self.agents.add(id.clone(), Agent::new(id, hostname, total));
        for Used { framework, resources, back_by } in used {
            let number = self.framework_or_stranger(framework);
            self.agents[agent].take_used(number, &resources);
            if let Some(by) = back_by {
                self.agents[agent].expect(by, number, &Scalars::of(&resources));
            }
            self.grow_share(number, &resources);
        }
        self.gangs.replan();
        self.touch(agent);
    }

    fn update_agent(&mut self, id: &AgentId, total: Resources) {
        let Some(agent) = self.agents.number(id) else { return };
        self.release_holds();
        let row = &mut self.agents[agent];
        self.cluster.sub(&row.total);
        self.cluster.add(&total);
        row.total = total;
        row.reckon_free();
        self.gangs.replan();
        self.touch(agent);
    }

    fn remove_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.number(id) else { return };
        self.release_holds();
        self.clear_filters_on(agent);
        let row = self.agents.remove(id).expect("it has a number");
        self.cluster.sub(&row.total);
        for (framework, resources) in row.allocated {
            self.shrink_share(framework, &resources);
            self.forget_stranger(framework);
        }
        self.open.remove(agent);
        self.changed.remove(agent);
        self.gangs.forget_agent(agent);
        self.dirty = true;
    }

    fn set_agent_active(&mut self, id: &AgentId, active: bool) {
        let Some(agent) = self.agents.number(id) else { return };
        self.agents[agent].active = active;
        self.gangs.replan();
        self.touch(agent);
    }

    fn add_framework(&mut self, id: FrameworkId, role: String) {
        let number = self.framework_or_stranger(id);
        let role = self.role(role);
        self.roles[role].members += 1;
        self.leave_role(number);
        let row = &mut self.frameworks[number];
        row.role = Some(role);
        self.roles[role].allocated.plus(&row.allocated);
        row.active = true;
        row.suppressed = false;
        row.fresh = true;
        self.dirty = true;
    }

    fn remove_framework(&mut self, id: &FrameworkId) {
        let Some(number) = self.frameworks.number(id) else { return };
        self.deactivate_framework(id);
        self.gangs.remove_framework(number);
        for agent in 0..self.agents.bound() {
            if self.agents.get(agent).is_some_and(|row| row.allocated.iter().any(|(owner, _)| *owner == number)) {
                let all = self.agents[agent].recover_all(number);
                self.shrink_share(number, &all);
                self.touch(agent);
            }
        }
        self.leave_role(number);
        self.frameworks.remove(id);
    }

    fn deactivate_framework(&mut self, id: &FrameworkId) {
        let Some(number) = self.frameworks.number(id) else { return };
        self.clear_filters(number);
        self.frameworks[number].active = false;
        self.release_holds();
        self.gangs.replan();
        self.dirty = true;
    }

    fn activate_framework(&mut self, id: &FrameworkId) {
        let Some(number) = self.frameworks.number(id) else { return };
        let row = &mut self.frameworks[number];
        (row.active, row.fresh) = (row.role.is_some(), true);
        self.gangs.replan();
        self.dirty = true;
    }

    fn set_weight(&mut self, role: String, weight: f64) {
        assert!(weight.is_finite() && weight > 0.0, "a role's weight is above zero, not {weight}");
        let role = self.role(role);
        self.roles[role].weight = weight;
    }

    fn launched(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        resources: &Resources,
        offered_until: Option<Time>,
        ends_at: Option<Time>,
    ) {
        let (Some(number), Some(agent)) = (self.frameworks.number(framework), self.agents.number(agent)) else {
            return;
        };
        let (row, amount) = (&mut self.agents[agent], Scalars::of(resources));
        if let Some(by) = offered_until {
            row.unexpect(by, number, &amount);
        }
        if let Some(by) = ends_at {
            row.expect(by, number, &amount);
        }
        if !self.gangs.is_empty() && offered_until != ends_at {
            self.gangs.replan();
            self.dirty = true;
        }
    }

    fn recover(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        part: Part,
        back_by: Option<Time>,
        refuse: Option<Duration>,
    ) {
        let numbers = (self.frameworks.number(framework), self.agents.number(&part.agent));
        let (Some(number), Some(agent)) = numbers else { return };
        let row = &mut self.agents[agent];
        if let Some(by) = back_by {
            row.unexpect(by, number, &Scalars::of(&part.resources));
        }
        row.recover(number, &part.resources);
        self.shrink_share(number, &part.resources);
        self.touch(agent);
        match refuse.filter(|_| !part.resources.is_empty()) {
            None if !self.passed.is_empty() => self.clear_passes(agent),
            None => {}
            Some(Duration::ZERO) => self.pass(number, agent),
            Some(refuse) => self.refuse(number, agent, &part.resources, now + refuse),
        }
        self.forget_stranger(number);
        let row = &mut self.agents[agent];
        if row.free == part.resources {
            row.spare = Some(part);
        }
    }

    fn revive(&mut self, framework: &FrameworkId) {
        let Some(number) = self.frameworks.number(framework) else { return };
        self.clear_filters(number);
        let row = &mut self.frameworks[number];
        (row.suppressed, row.fresh) = (false, true);
        self.dirty = true;
    }

    /// An agent may have become worth a look.
    fn touch(&mut self, agent: u32) {
        self.changed.insert(agent);
        self.dirty = true;
    }

    /// Reckons anew whether an agent can be offered, and which filters apply to what is available on it.
    fn refresh(&mut self, agent: u32) {
        let row = &self.agents[agent];
        let (held_cpus, held_mem) = row.held.cpus_and_mem();
        let (cpus, mem) = (row.free.cpus_milli() - held_cpus, row.free.mem_milli() - held_mem);
        if row.active && self.is_enough(cpus, mem) {
            self.open.insert(agent);
            self.reapply_filters(agent);
        } else {
            self.open.remove(agent);
        }
    }

    fn is_worth_an_offer(&self, amount: &Scalars) -> bool {
        let (cpus, mem) = amount.cpus_and_mem();
        self.is_enough(cpus, mem)
    }

    fn is_enough(&self, cpus_milli: i64, mem_milli: i64) -> bool {
        cpus_milli >= self.config.offer_cpus_milli_min || mem_milli >= self.config.offer_mem_milli_min
    }

    /// A framework's number; one that hasn't subscribed yet gets a row for what it has.
    fn framework_or_stranger(&mut self, id: FrameworkId) -> u32 {
        self.frameworks.number(&id).unwrap_or_else(|| self.frameworks.add(id.clone(), Framework::new(id)))
    }

    /// A framework that never subscribed is forgotten once it has nothing.
    fn forget_stranger(&mut self, number: u32) {
        let row = &self.frameworks[number];
        let holds = |agent: &Agent| agent.allocated.iter().any(|(owner, _)| *owner == number);
        if row.role.is_none() && row.allocated.is_zero() && !self.agents.iter().any(|(_, agent)| holds(agent)) {
            let id = row.id.clone();
            self.clear_filters(number);
            self.frameworks.remove(&id);
        }
    }

    fn role(&mut self, name: String) -> u32 {
        self.roles.number(&name).unwrap_or_else(|| self.roles.add(name.clone(), Role::new(name)))
    }

    /// A framework's role, if it has one, no longer counts it.
    fn leave_role(&mut self, number: u32) {
        let row = &mut self.frameworks[number];
        if let Some(role) = row.role.take() {
            let left = &mut self.roles[role];
            left.members -= 1;
            left.allocated.minus(&row.allocated);
            if left.members == 0 && left.weight == 1.0 {
                let name = left.name.clone();
                self.roles.remove(&name);
            }
        }
    }

    fn grow_share(&mut self, framework: u32, resources: &Resources) {
        let row = &mut self.frameworks[framework];
        row.allocated.add(resources);
        if let Some(role) = row.role {
            self.roles[role].allocated.add(resources);
        }
    }

    fn shrink_share(&mut self, framework: u32, resources: &Resources) {
        let row = &mut self.frameworks[framework];
        row.allocated.sub(resources);
        if let Some(role) = row.role {
            self.roles[role].allocated.sub(resources);
        }
    }
}
