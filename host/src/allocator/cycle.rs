//! A cycle: what is free goes, agent by agent, to whoever is due.
//!
//! ```text
//! roles by share ÷ weight ──lowest──▶ its frameworks by share ──lowest──▶ next free agent that it hasn't refused ──▶ offer
//!        ▲                                     ▲                                                                    │
//!        └──────────────── their shares grow ──┴────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! Progressive filling of the DRF paper, one agent at a step. Only agents that changed since the last cycle are looked at, and
//! all of them for frameworks that are new, revived or back: what was there before, nobody wanted.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::Resources;

use super::bits::{self, Bits, NONE};
use super::{Allocator, Effect, Part};

/// A place in the order of roles, or of one role's frameworks.
#[derive(Debug)]
struct Due {
    share: f64,
    /// With equal shares a gang goes before ordinary offers, …
    has_gang: bool,
    /// … then whoever had fewer offers, …
    offers: u64,
    /// … then whoever came first.
    number: u32,
}

/// A framework's way through the free agents.
#[derive(Debug, Default, Clone)]
struct Walk {
    /// Where to look on; from the cycle's first agent to the last one, then round from zero.
    next: u32,
    wrapped: bool,
    fresh: bool,
    candidates: u64,
    /// One of them.
    first: Option<u32>,
    given: u64,
}

impl Allocator {
    /// Offers what is free in `changed` agents, and in all agents to frameworks that are fresh.
    pub(super) fn share_out(&mut self, now: Time, changed: &Bits, effects: &mut Vec<Effect>) {
        let first_agent = self.first_agent;
        let (mut roles, mut members, mut walks) = self.line_up(changed);
        let candidates = walks.iter().map(|walk| walk.candidates).max().unwrap_or(0) as usize;
        // Mostly all get about as much; to grow each list step by step would cost more than all else.
        let each = candidates / members.iter().map(BinaryHeap::len).sum::<usize>().max(1) * 5 / 4;
        let mut offers: Vec<Vec<Part>> = vec![Vec::new(); walks.len()];
        while let Some(mut role) = roles.peek_mut() {
            let Some(mut due) = members[role.number as usize].peek_mut() else {
                PeekMut::pop(role);
                continue;
            };
            let framework = due.number;
            if due.has_gang {
                self.place_young_gangs(now, framework, effects);
                due.has_gang = false;
                role.has_gang = false;
            } else {
                let walk = &mut walks[framework as usize];
                let Some(agent) = self.next_agent(framework, walk, first_agent, changed) else {
                    self.count_outbid(framework, &walk.clone());
                    PeekMut::pop(due);
                    continue;
                };
                walk.given += 1;
                let offered = &mut offers[framework as usize];
                if offered.capacity() == 0 {
                    offered.reserve(each);
                }
                offered.push(self.offer(framework, agent));
            }
            due.share = self.frameworks[framework].allocated.dominant_share(&self.cluster);
            due.offers = self.frameworks[framework].offers;
            role.share = self.roles[role.number].share(&self.cluster);
        }
        for (framework, parts) in offers.into_iter().enumerate().filter(|(_, parts)| !parts.is_empty()) {
            let framework = self.frameworks[framework as u32].id.clone();
            effects.push(Effect::Offers { framework, parts, available_until: None });
        }
    }

    /// All that take part, in their order, and how many agents each could have.
    fn line_up(&mut self, changed: &Bits) -> (BinaryHeap<Due>, Vec<BinaryHeap<Due>>, Vec<Walk>) {
        let mut members: Vec<Vec<Due>> = Vec::new();
        members.resize_with(self.roles.bound() as usize, Vec::new);
        let mut walks = vec![Walk::default(); self.frameworks.bound() as usize];
        for number in 0..self.frameworks.bound() {
            let Some(row) = self.frameworks.get_mut(number) else { continue };
            let (true, Some(role)) = (row.active, row.role) else { continue };
            let has_gang = self.gangs.waits(number);
            let walk = &mut walks[number as usize];
            walk.next = self.first_agent;
            if !row.suppressed {
                walk.fresh = std::mem::take(&mut row.fresh);
                let scan = if walk.fresh { &self.open } else { changed };
                let (all, filtered) = bits::count([scan, &self.open], &row.filtered);
                walk.candidates = all - filtered;
                walk.first = bits::first(0, u32::MAX, [scan, &self.open], [&row.filtered, &NONE]);
                if filtered > 0 {
                    row.tally.filtered += filtered;
                    row.tally.filtered_on = bits::first(0, u32::MAX, [&self.open, &row.filtered], [&NONE, &NONE])
                        .map(|agent| self.agents[agent].id.clone());
                }
            }
            if walk.candidates > 0 || has_gang {
                let share = row.allocated.dominant_share(&self.cluster);
                members[role as usize].push(Due { share, has_gang, offers: row.offers, number });
            }
        }
        let heap_of = |(number, due): (usize, &Vec<Due>)| {
            let share = self.roles.get(number as u32)?.share(&self.cluster);
            let has_gang = due.iter().any(|due| due.has_gang);
            (!due.is_empty()).then_some(Due { share, has_gang, offers: 0, number: number as u32 })
        };
        let roles = members.iter().enumerate().filter_map(heap_of).collect();
        (roles, members.into_iter().map(BinaryHeap::from).collect(), walks)
    }

    fn next_agent(&self, framework: u32, walk: &mut Walk, first_agent: u32, changed: &Bits) -> Option<u32> {
        if walk.candidates == 0 {
            return None;
        }
        let row = &self.frameworks[framework];
        let with = [if walk.fresh { &self.open } else { changed }, &self.open];
        let without = [&row.filtered, &row.passed];
        if !walk.wrapped {
            if let Some(agent) = bits::first(walk.next, u32::MAX, with, without) {
                walk.next = agent + 1;
                return Some(agent);
            }
            (walk.wrapped, walk.next) = (true, 0);
        }
        let agent = bits::first(walk.next, first_agent, with, without)?;
        walk.next = agent + 1;
        Some(agent)
    }

    /// All that is available on an agent, as one offer.
    fn offer(&mut self, framework: u32, agent: u32) -> Part {
        let part = self.agents[agent].take_available(framework);
        self.open.remove(agent);
        self.first_agent = agent + 1;
        self.give(framework, &part.resources);
        part
    }

    /// A framework's and its role's share grow.
    pub(super) fn give(&mut self, framework: u32, resources: &Resources) {
        let row = &mut self.frameworks[framework];
        row.allocated.add(resources);
        row.offers += 1;
        if let Some(role) = row.role {
            self.roles[role].allocated.add(resources);
        }
    }

    /// Notes what the framework could have had and others got, as their share was smaller.
    fn count_outbid(&mut self, framework: u32, walk: &Walk) {
        let outbid = walk.candidates.saturating_sub(walk.given);
        let Some(first) = walk.first.filter(|_| outbid > 0) else { return };
        let row = &self.agents[first];
        let example = row.allocated.iter().all(|(owner, _)| *owner != framework).then(|| row.id.clone());
        let tally = &mut self.frameworks[framework].tally;
        tally.outbid += outbid;
        tally.outbid_on = example.or(tally.outbid_on.take());
    }
}

impl Ord for Due {
    /// The heap's greatest is the one who is due: the smallest share.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_share = other.share.total_cmp(&self.share);
        by_share
            .then(self.has_gang.cmp(&other.has_gang))
            .then(other.offers.cmp(&self.offers))
            .then(other.number.cmp(&self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}
