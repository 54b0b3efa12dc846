//! Gangs: slots on several agents, offered together or not at all.
//!
//! A gang that doesn't fit now has targets: agents and a number of slots on each. What is free of that is held, so that it
//! comes together as tasks end; the rest of the cluster stays free for others. There is one order in which gangs take what
//! they want, made anew in each cycle, so that no two can block each other: those that have waited for [`GANG_AGED_AFTER`]
//! come first, by age; the others when their framework is due. What a gang holds is lent to others as backfill if it is known
//! by when they give it back ([`plan`](super::plan)).
//!
//! Slots are amounts only. A port or an item of a set is a thing of its own: to hold the same number of them on each agent says
//! nothing about which, and whoever needs some gets them with an ordinary offer of the agents that the gang lies on. What is
//! held isn't lent to other gangs: their executors have no end, and one that came apart again would hold up both.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{FrameworkId, GangRequest};

use super::placement::{Shape, Slots};
use super::plan::Plan;
use super::scalars::Scalars;
use super::{Allocator, Effect, Part};

/// A gang that has waited for so long goes before everyone, whatever the shares are.
pub const GANG_AGED_AFTER: Duration = Duration::from_secs(30);
/// Held resources aren't lent for less than this.
pub const BACKFILL_MIN: Duration = Duration::from_secs(2);
/// More slots than this are refused: nobody could launch them.
pub const GANG_SLOTS_MAX: u32 = 1_000_000;

/// The gangs that wait, by the order in which they were asked for.
#[derive(Debug, Default)]
pub(super) struct Gangs {
    waiting: BTreeMap<u64, Gang>,
    asked: u64,
}

#[derive(Debug)]
pub(super) struct Gang {
    pub(super) framework: u32,
    request: GangRequest,
    pub(super) shape: Shape,
    asked_at: Time,
    /// It goes by age.
    aged: bool,
    /// This cycle has dealt with it.
    pub(super) seen: bool,
    pub(super) plan: Option<Plan>,
    pub(super) held: Vec<Hold>,
    waiting_for: String,
    told: Option<(u32, String, Option<Time>)>,
}

/// What is kept for a gang on an agent.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) agent: u32,
    pub(super) amount: Scalars,
    slots: u32,
}

impl Gangs {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Gang> {
        self.waiting.values()
    }

    /// Whether a framework has a gang that this cycle hasn't dealt with.
    pub(super) fn waits(&self, framework: u32) -> bool {
        self.waiting.values().any(|gang| gang.framework == framework && !gang.seen)
    }

    /// Id and reason of each gang of a framework.
    pub(super) fn of(&self, framework: u32) -> impl Iterator<Item = (&str, &str)> {
        let of_it = move |gang: &&Gang| gang.framework == framework;
        self.waiting.values().filter(of_it).map(|gang| (gang.request.id.as_str(), gang.waiting_for.as_str()))
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        let next = |gang: &Gang| gang.gives_up_at().into_iter().chain((!gang.aged).then_some(gang.ages_at())).min();
        self.waiting.values().filter_map(next).min()
    }

    /// The plans no longer hold.
    pub(super) fn replan(&mut self) {
        self.waiting.values_mut().for_each(|gang| gang.plan = None);
    }

    pub(super) fn forget_agent(&mut self, agent: u32) {
        debug_assert!(self.waiting.values().all(|gang| gang.held.iter().all(|hold| hold.agent != agent)));
        self.replan();
    }

    pub(super) fn remove_framework(&mut self, framework: u32) {
        self.waiting.retain(|_, gang| gang.framework != framework);
    }

    fn find(&self, framework: u32, id: &str) -> Option<u64> {
        let same = |gang: &Gang| gang.framework == framework && gang.request.id == id;
        self.waiting.iter().find(|(_, gang)| same(gang)).map(|(number, _)| *number)
    }
}

impl Gang {
    fn gives_up_at(&self) -> Option<Time> {
        self.request.within_ms.map(|within| self.asked_at + Duration::from_millis(within))
    }

    fn ages_at(&self) -> Time {
        self.asked_at + GANG_AGED_AFTER
    }

    fn slots_held(&self) -> u32 {
        self.held.iter().map(|hold| hold.slots).sum()
    }

    fn refused(&self, framework: FrameworkId, held: u32, why: String) -> Effect {
        refusal(framework, &self.request, held, why)
    }
}

fn refusal(framework: FrameworkId, request: &GangRequest, held: u32, why: String) -> Effect {
    Effect::GangStatus {
        framework,
        id: request.id.clone(),
        held,
        asked: request.slots,
        waiting_for: None,
        planned_start: None,
        refused: Some(why),
    }
}

/// What is wrong with a request, whatever the cluster has.
fn problem(request: &GangRequest) -> Option<String> {
    let scalars_only = |resources| Scalars::of(resources).resources() == *resources;
    if request.slots == 0 || request.slots > GANG_SLOTS_MAX {
        return Some(format!("{} slots asked; ask for 1 to {GANG_SLOTS_MAX}", request.slots));
    }
    if Scalars::of(&request.per_slot).is_zero() {
        return Some("a slot that needs nothing; say what each needs, cpus or mem for example".to_string());
    }
    if !scalars_only(&request.per_slot) || !request.per_agent.as_ref().is_none_or(scalars_only) {
        return Some("ports, ranges and sets in a gang; ask for cpus, mem, disk and other amounts only".to_string());
    }
    if request.max_slots_per_agent == Some(0) {
        return Some("at most 0 slots an agent; allow at least one".to_string());
    }
    let agents = request.agents.filter(|agents| *agents == 0 || *agents > request.slots)?;
    Some(format!("{} slots on exactly {agents} agents; each needs at least one", request.slots))
}

impl Allocator {
    pub(super) fn request_gang(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        request: GangRequest,
        effects: &mut Vec<Effect>,
    ) {
        let Some(number) = self.frameworks.number(framework) else { return };
        self.dirty = true;
        if let Some(before) = self.gangs.find(number, &request.id) {
            let gang = self.gangs.waiting.get_mut(&before).expect("it was just found");
            if gang.request == request {
                // A scheduler that reconnects asks again: it keeps its place and hears how things stand.
                gang.told = None;
                return;
            }
            self.cancel_gang(framework, &request.id);
        }
        let shape = Shape::of(&request);
        if let Some(why) = problem(&request).or_else(|| self.impossible(&shape)) {
            effects.push(refusal(framework.clone(), &request, 0, why));
            return;
        }
        let (order, aged) = (self.gangs.asked, false);
        self.gangs.asked += 1;
        let gang = Gang {
            framework: number,
            request,
            shape,
            asked_at: now,
            aged,
            seen: false,
            plan: None,
            held: Vec::new(),
            waiting_for: String::new(),
            told: None,
        };
        self.gangs.waiting.insert(order, gang);
    }

    pub(super) fn cancel_gang(&mut self, framework: &FrameworkId, id: &str) {
        let Some(number) = self.frameworks.number(framework) else { return };
        let Some(order) = self.gangs.find(number, id) else { return };
        self.release_holds();
        self.gangs.waiting.remove(&order);
        self.gangs.replan();
        self.dirty = true;
    }

    /// Says that the whole cluster couldn't hold it, if so. An empty cluster may be one whose agents haven't registered yet.
    fn impossible(&self, shape: &Shape) -> Option<String> {
        let all: Vec<Slots> =
            self.agents.iter().map(|(number, _)| (number, self.room_at_most(shape, number))).collect();
        if all.is_empty() || shape.fits(&all) {
            return None;
        }
        let slots: u64 = all.iter().map(|(_, slots)| u64::from(*slots)).sum();
        let with_room = all.iter().filter(|(_, slots)| *slots > 0).count();
        Some(format!("{} asked; the cluster holds {slots}, on {} of {} agents", shape.text(), with_room, all.len()))
    }

    /// Slots that an agent has room for with nothing else on it.
    pub(super) fn room_at_most(&self, shape: &Shape, agent: u32) -> u32 {
        let row = &self.agents[agent];
        if shape.admits(&row.hostname, row.id.as_str()) { shape.slots_in(&row.unreserved()) } else { 0 }
    }

    /// Refuses gangs that have waited as long as they wanted to; from now on, others go by age.
    pub(super) fn expire_gangs(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let given_up = |gang: &Gang| gang.gives_up_at().is_some_and(|at| at <= now);
        let late: Vec<u64> =
            self.gangs.waiting.iter().filter(|(_, gang)| given_up(gang)).map(|(order, _)| *order).collect();
        for order in late {
            let gang = &self.gangs.waiting[&order];
            let (number, id, held) = (gang.framework, gang.request.id.clone(), gang.slots_held());
            let waited = Duration::from_millis(gang.request.within_ms.unwrap_or(0));
            let why = format!("gave up after {waited:?} with {held} of {}: {}", gang.shape.text(), gang.waiting_for);
            let framework = self.frameworks[number].id.clone();
            effects.push(gang.refused(framework.clone(), held, why));
            self.cancel_gang(&framework, &id);
        }
        for gang in self.gangs.waiting.values_mut().filter(|gang| !gang.aged && gang.ages_at() <= now) {
            gang.aged = true;
            gang.plan = None;
            self.dirty = true;
        }
    }

    /// Everything held is free again; the cycle that follows holds anew, in its order.
    pub(super) fn release_holds(&mut self) {
        for gang in self.gangs.waiting.values_mut() {
            gang.seen = false;
            for hold in gang.held.drain(..) {
                self.agents[hold.agent].held.minus(&hold.amount);
                self.changed.insert(hold.agent);
            }
        }
    }

    pub(super) fn place_aged_gangs(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.place_gangs(now, |gang| gang.aged, effects);
    }

    pub(super) fn place_young_gangs(&mut self, now: Time, framework: u32, effects: &mut Vec<Effect>) {
        self.place_gangs(now, |gang| gang.framework == framework, effects);
    }

    fn place_gangs(&mut self, now: Time, which: impl Fn(&Gang) -> bool, effects: &mut Vec<Effect>) {
        let next = |gang: &Gang| !gang.seen && which(gang) && self.frameworks[gang.framework].active;
        let orders: Vec<u64> =
            self.gangs.waiting.iter().filter(|(_, gang)| next(gang)).map(|(order, _)| *order).collect();
        for order in orders {
            let mut gang = self.gangs.waiting.remove(&order).expect("it waits");
            gang.seen = true;
            match gang.shape.place(self.room_now(&gang.shape)) {
                Some(placed) => effects.push(self.offer_gang(&gang, placed)),
                None => {
                    self.hold_for(now, &mut gang);
                    self.gangs.waiting.insert(order, gang);
                }
            }
        }
    }

    /// Slots that fit on each agent now.
    pub(super) fn room_now(&self, shape: &Shape) -> Vec<Slots> {
        let room = |agent| {
            let row = &self.agents[agent];
            if !shape.admits(&row.hostname, row.id.as_str()) {
                return (agent, 0);
            }
            let mut free = Scalars::of(&row.free);
            free.minus(&row.held);
            (agent, shape.slots_in(&free))
        };
        self.open.iter().map(room).collect()
    }

    fn offer_gang(&mut self, gang: &Gang, placed: Vec<Slots>) -> Effect {
        let mut parts = Vec::with_capacity(placed.len());
        for (agent, slots) in placed {
            let resources = gang.shape.amount(slots).resources();
            self.agents[agent].take(gang.framework, &resources);
            self.refresh(agent);
            self.give(gang.framework, &resources);
            parts.push(Part { agent: self.agents[agent].id.clone(), resources, slots: Some(slots) });
        }
        // The gangs behind it have one less before them.
        self.gangs.replan();
        let framework = self.frameworks[gang.framework].id.clone();
        Effect::GangOffer { framework, id: gang.request.id.clone(), parts }
    }

    fn hold_for(&mut self, now: Time, gang: &mut Gang) {
        let plan = gang.plan.take().filter(|plan| plan.is_good_at(now));
        let plan = plan.or_else(|| self.plan(now, &gang.shape));
        for (agent, slots) in plan.iter().flat_map(|plan| plan.targets.clone()) {
            let row = &mut self.agents[agent];
            let mut free = Scalars::of(&row.free);
            free.minus(&row.held);
            let amount = free.within(&gang.shape.amount(slots));
            if amount.is_zero() {
                continue;
            }
            row.held.plus(&amount);
            gang.held.push(Hold { agent, slots: gang.shape.slots_in(&amount).min(slots), amount });
            self.refresh(agent);
        }
        gang.waiting_for = self.what_it_waits_for(gang, plan.as_ref());
        gang.plan = plan;
    }

    fn what_it_waits_for(&self, gang: &Gang, plan: Option<&Plan>) -> String {
        let Some(plan) = plan else {
            let active: Vec<u32> =
                self.agents.iter().filter(|(_, agent)| agent.active).map(|(number, _)| number).collect();
            let slots: u64 = active.iter().map(|number| u64::from(self.room_at_most(&gang.shape, *number))).sum();
            return match active.len() {
                0 => "no agent is connected".to_string(),
                agents => format!("{agents} agents are connected, with room for {slots}{}", gang.shape.constraints()),
            };
        };
        let held_on = |agent| gang.held.iter().find(|hold| hold.agent == agent).map_or(0, |hold| hold.slots);
        let mut lacking = plan.targets.iter().filter(|(agent, slots)| held_on(*agent) < *slots);
        let missing = gang.shape.slots.saturating_sub(gang.slots_held());
        let Some((first, _)) = lacking.next() else {
            return "what it holds is lent to shorter tasks".to_string();
        };
        let others = match lacking.count() {
            0 => String::new(),
            1 => " and 1 more agent".to_string(),
            others => format!(" and {others} more agents"),
        };
        let id = &self.agents[*first].id;
        format!("{missing} of {} are in use: waiting for agent {id}{others}", gang.shape.text())
    }

    /// Lends what gangs hold to those who are due, until the gang starts.
    pub(super) fn backfill(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let orders: Vec<u64> = self.gangs.waiting.keys().copied().collect();
        for order in orders {
            let gang = self.gangs.waiting.get_mut(&order).expect("nothing is removed meanwhile");
            let Some(start) = gang.plan.as_ref().and_then(|plan| plan.start) else { continue };
            if start < now + BACKFILL_MIN {
                continue;
            }
            let owner = gang.framework;
            let mut held = std::mem::take(&mut gang.held);
            held.retain(|hold| !self.lend(owner, hold, start, effects));
            self.gangs.waiting.get_mut(&order).expect("nothing is removed meanwhile").held = held;
        }
    }

    /// Lends what is held on one agent, if somebody wants it.
    fn lend(&mut self, owner: u32, hold: &Hold, until: Time, effects: &mut Vec<Effect>) -> bool {
        let resources = hold.amount.resources();
        if !self.is_worth_an_offer(&hold.amount) {
            return false;
        }
        let Some(framework) = self.next_borrower(owner, hold.agent, &resources) else { return false };
        let row = &mut self.agents[hold.agent];
        row.held.minus(&hold.amount);
        row.take(framework, &resources);
        row.expect(until, framework, &hold.amount);
        self.give(framework, &resources);
        let part = Part { agent: self.agents[hold.agent].id.clone(), resources, slots: None };
        let framework = self.frameworks[framework].id.clone();
        effects.push(Effect::Offers { framework, parts: vec![part], available_until: Some(until) });
        true
    }

    /// The one with the smallest share among those who want offers and haven't refused this.
    fn next_borrower(&mut self, owner: u32, agent: u32, resources: &mesos_plugin_api::v1::Resources) -> Option<u32> {
        let wants = |(number, framework): &(u32, &super::Framework)| {
            *number != owner && framework.wants_offers() && !self.refuses(*number, agent, resources)
        };
        let place = |number: u32, framework: &super::Framework| {
            let role = framework.role.map_or(0.0, |role| self.roles[role].share(&self.cluster));
            (framework.passed.contains(agent), role, framework.allocated.dominant_share(&self.cluster), number)
        };
        let places = self.frameworks.iter().filter(wants).map(|(number, framework)| place(number, framework));
        let first = places
            .min_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.total_cmp(&b.2)).then(a.3.cmp(&b.3)))?;
        if first.0 {
            self.clear_passes(agent);
        }
        Some(first.3)
    }

    /// Tells frameworks how far their gangs have come, where that has changed.
    pub(super) fn tell_gangs(&mut self, effects: &mut Vec<Effect>) {
        for gang in self.gangs.waiting.values_mut().filter(|gang| self.frameworks[gang.framework].active) {
            let planned_start = gang.plan.as_ref().and_then(|plan| plan.start);
            let news = (gang.slots_held(), gang.waiting_for.clone(), planned_start);
            if gang.told.as_ref() == Some(&news) {
                continue;
            }
            effects.push(Effect::GangStatus {
                framework: self.frameworks[gang.framework].id.clone(),
                id: gang.request.id.clone(),
                held: news.0,
                asked: gang.shape.slots,
                waiting_for: Some(news.1.clone()),
                planned_start,
                refused: None,
            });
            gang.told = Some(news);
        }
    }
}
