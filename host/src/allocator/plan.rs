//! When a gang can start at the latest, and on which agents.
//!
//! Tasks with a `max_duration` say when their resources come back. If a gang fits once those have ended that end by some time,
//! the earliest such time is its planned start, and what it holds meanwhile is lent to tasks that end before. This is the
//! conservative backfilling of batch schedulers: each gang is planned around the targets of those before it.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::Time;

use super::Allocator;
use super::placement::{Shape, Slots};
use super::scalars::Scalars;

/// A task that should have ended is being killed; reckon with so long.
const OVERDUE: Duration = Duration::from_secs(1);
/// A plan with a start is looked at again after so long: sooner would cost more than it gains on a large cluster.
const PLAN_GOOD_FOR: Duration = Duration::from_secs(1);

/// What a gang that doesn't fit now counts on.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// None: the tasks in the way don't say when they end.
    pub(super) start: Option<Time>,
    pub(super) targets: Vec<Slots>,
    made_at: Time,
}

impl Plan {
    /// Without a start, what is free now says which targets are best, so it is made anew each time.
    pub(super) fn is_good_at(&self, now: Time) -> bool {
        self.start.is_some_and(|start| now < start && now < self.made_at + PLAN_GOOD_FOR)
    }
}

/// An agent as a plan sees it.
struct Prospect {
    agent: u32,
    /// Slots with nothing else on it.
    at_most: u32,
    /// Free now and not wanted by a gang before this one.
    free: Scalars,
    /// What comes back, and when.
    due: Vec<(Time, Scalars)>,
    /// Slots that fit now, and how much of one more is there.
    now: u32,
    part: f64,
}

impl Allocator {
    /// Finds targets, with a start if it is known. None: the active agents couldn't hold it even with nothing else on them.
    pub(super) fn plan(&self, now: Time, shape: &Shape) -> Option<Plan> {
        let prospects = self.prospects(now, shape);
        if let Some((start, targets)) = start_by_known_ends(shape, &prospects) {
            return Some(Plan { start: Some(start), targets, made_at: now });
        }
        let targets = targets_by_room(shape, prospects)?;
        Some(Plan { start: None, targets, made_at: now })
    }

    fn prospects(&self, now: Time, shape: &Shape) -> Vec<Prospect> {
        let mut wanted_before: BTreeMap<u32, Scalars> = BTreeMap::new();
        for gang in self.gangs.iter().filter(|gang| gang.seen) {
            for (agent, slots) in gang.plan.iter().flat_map(|plan| &plan.targets) {
                wanted_before.entry(*agent).or_default().plus(&gang.shape.amount(*slots));
            }
        }
        let mut prospects = Vec::new();
        for (agent, row) in self.agents.iter().filter(|(_, row)| row.active) {
            let at_most = self.room_at_most(shape, agent);
            if at_most == 0 {
                continue;
            }
            let mut available = Scalars::of(&row.free);
            available.minus(&row.held);
            let now_fit = shape.slots_in(&available);
            let part = available.part_of(&shape.amount(now_fit.saturating_add(1)));
            let mut free = Scalars::of(&row.free);
            if let Some(wanted) = wanted_before.get(&agent) {
                free.minus(wanted);
            }
            let due = row.due.iter().map(|((by, _), amount)| ((*by).max(now + OVERDUE), amount.clone())).collect();
            prospects.push(Prospect { agent, at_most, free, due, now: now_fit, part });
        }
        prospects
    }
}

/// The first time by which enough has come back.
fn start_by_known_ends(shape: &Shape, prospects: &[Prospect]) -> Option<(Time, Vec<Slots>)> {
    let mut times: Vec<Time> = prospects.iter().flat_map(|prospect| prospect.due.iter().map(|(by, _)| *by)).collect();
    times.sort_unstable();
    times.dedup();
    let room_at = |time: Time| -> Vec<Slots> {
        let room = |prospect: &Prospect| {
            let mut amount = prospect.free.clone();
            prospect.due.iter().filter(|(by, _)| *by <= time).for_each(|(_, due)| amount.plus(due));
            (prospect.agent, shape.slots_in(&amount))
        };
        prospects.iter().map(room).collect()
    };
    let first = times.partition_point(|time| !shape.fits(&room_at(*time)));
    let start = *times.get(first)?;
    Some((start, shape.place(room_at(start))?))
}

/// The agents that are nearest to it, as far as together they have room for all.
fn targets_by_room(shape: &Shape, mut prospects: Vec<Prospect>) -> Option<Vec<Slots>> {
    let at_most: Vec<Slots> = prospects.iter().map(|prospect| (prospect.agent, prospect.at_most)).collect();
    if !shape.fits(&at_most) {
        return None;
    }
    prospects.sort_by(|a, b| b.now.cmp(&a.now).then(b.part.total_cmp(&a.part)).then(a.agent.cmp(&b.agent)));
    if let Some(agents) = shape.agents {
        prospects = nearest_with_room(shape, prospects, agents as usize);
    }
    let least = u32::from(shape.agents.is_some());
    let mut targets: Vec<Slots> = prospects.iter().map(|prospect| (prospect.agent, least)).collect();
    let mut rest = shape.slots - least * targets.len() as u32;
    let room = prospects.iter().map(|prospect| prospect.now).chain(prospects.iter().map(|prospect| prospect.at_most));
    for (index, room) in room.enumerate() {
        let target = &mut targets[index % prospects.len()].1;
        let more = room.saturating_sub(*target).min(rest);
        *target += more;
        rest -= more;
    }
    targets.retain(|(_, slots)| *slots > 0);
    Some(targets)
}

/// The first so many, with the smallest replaced by larger ones until they have room for all.
fn nearest_with_room(shape: &Shape, mut prospects: Vec<Prospect>, agents: usize) -> Vec<Prospect> {
    let mut others = prospects.split_off(agents);
    others.sort_by_key(|prospect| prospect.at_most);
    let room = |chosen: &[Prospect]| chosen.iter().map(|prospect| u64::from(prospect.at_most)).sum::<u64>();
    while room(&prospects) < u64::from(shape.slots) {
        let smallest = (0..prospects.len()).min_by_key(|index| prospects[*index].at_most).expect("at least one agent");
        prospects[smallest] = others.pop().expect("the largest agents together have room");
    }
    prospects
}
