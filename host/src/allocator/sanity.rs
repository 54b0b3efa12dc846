//! What is true between any two events.

use std::collections::BTreeMap;

use mesos_plugin_api::v1::Resources;

use super::Allocator;
use super::scalars::Scalars;

impl Allocator {
    /// Checks all invariants, in time proportional to everything there is; for tests and the simulator.
    ///
    /// # Panics
    /// If one is broken.
    pub fn sanity_check(&self) {
        self.check_agents();
        self.check_shares();
        self.check_holds();
        self.check_filters();
    }

    /// What is allocated, what volumes keep and what is free, the held part of it included, make up the agent.
    fn check_agents(&self) {
        for (_, agent) in self.agents.iter() {
            let allocated: Resources = agent.allocated.iter().map(|(_, resources)| resources).sum();
            if let Some(reserved) = &agent.reserved {
                assert!(reserved.all.contains(&reserved.used), "volumes use what they keep on agent {}", agent.id);
                assert!(allocated.contains(&reserved.used), "what volumes use is allocated on agent {}", agent.id);
            }
            let used = allocated + &agent.idle_reserved();
            assert!(agent.allocated.iter().all(|(_, resources)| !resources.is_empty()), "an empty allocation is kept");
            if agent.overcommitted {
                assert!(!agent.total.contains(&used) && agent.total.contains(&agent.free), "agent {}", agent.id);
            } else {
                assert_eq!(used + &agent.free, agent.total, "allocated, reserved and free make up agent {}", agent.id);
            }
            let free = Scalars::of(&agent.free);
            assert!(!agent.held.any_negative() && free.covers(&agent.held), "held is free on agent {}", agent.id);
            let mut due: BTreeMap<u32, Scalars> = BTreeMap::new();
            for ((_, framework), amount) in &agent.due {
                due.entry(*framework).or_default().plus(amount);
            }
            for (framework, due) in due {
                let has =
                    agent.allocated.iter().find(|(owner, _)| *owner == framework).map(|(_, has)| Scalars::of(has));
                assert!(has.unwrap_or_default().covers(&due), "what is due on agent {} is allocated", agent.id);
            }
        }
    }

    /// Frameworks' and roles' sums are those of the agents.
    fn check_shares(&self) {
        let mut sums: BTreeMap<u32, Scalars> = BTreeMap::new();
        let mut cluster = Scalars::default();
        for (_, agent) in self.agents.iter() {
            cluster.add(&agent.total);
            for (framework, resources) in &agent.allocated {
                sums.entry(*framework).or_default().add(resources);
            }
        }
        assert_eq!(cluster, self.cluster, "the cluster is the sum of its agents");
        let mut roles: BTreeMap<u32, (Scalars, u32)> = BTreeMap::new();
        for (number, framework) in self.frameworks.iter() {
            let sum = sums.remove(&number).unwrap_or_default();
            assert_eq!(sum, framework.allocated, "framework {} has what agents gave it", framework.id);
            if let Some(role) = framework.role {
                let (of_role, members) = roles.entry(role).or_default();
                of_role.plus(&sum);
                *members += 1;
            }
        }
        assert!(sums.is_empty(), "nobody has what a framework doesn't know of");
        for (number, role) in self.roles.iter() {
            let (sum, members) = roles.remove(&number).unwrap_or_default();
            assert_eq!((&sum, members), (&role.allocated, role.members), "a role is the sum of its frameworks");
        }
    }

    /// Each agent holds what gangs hold there, and no gang holds more than it asked for.
    fn check_holds(&self) {
        let mut held: BTreeMap<u32, Scalars> = BTreeMap::new();
        for gang in self.gangs.iter() {
            for hold in &gang.held {
                held.entry(hold.agent).or_default().plus(&hold.amount);
                assert!(gang.shape.amount(gang.shape.slots).covers(&hold.amount), "a gang holds no more than it needs");
            }
        }
        for (number, agent) in self.agents.iter() {
            assert_eq!(agent.held, held.remove(&number).unwrap_or_default(), "held on agent {}", agent.id);
        }
        assert!(held.is_empty(), "gangs hold on agents that are there");
    }

    /// Filters, their bits and their ends say the same.
    fn check_filters(&self) {
        let (mut filters, mut bits, mut passes) = (0_usize, 0_usize, 0_usize);
        for (number, agent) in self.agents.iter() {
            for refusal in &agent.refusals {
                assert!(refusal.by.is_sorted() && !refusal.by.is_empty(), "refusals are sorted on agent {}", agent.id);
                for (framework, until) in &refusal.by {
                    let row = &self.frameworks[*framework];
                    assert!(row.expiries[until].contains(&number), "the end of a filter is known");
                    assert_eq!(row.filtered.contains(number), refusal.applies, "a bit says whether a filter applies");
                    filters += 1;
                    bits += usize::from(refusal.applies);
                }
            }
            assert_eq!(self.passed.contains(number), !agent.passed_by.is_empty());
            assert!(agent.passed_by.iter().all(|framework| self.frameworks[*framework].passed.contains(number)));
            passes += agent.passed_by.len();
        }
        let frameworks = || self.frameworks.iter().map(|(_, framework)| framework);
        assert_eq!(
            filters,
            frameworks().flat_map(|row| row.expiries.values()).map(|agents| agents.len()).sum::<usize>()
        );
        assert_eq!(bits, frameworks().map(|row| row.filtered.iter().count()).sum::<usize>());
        assert_eq!(passes, frameworks().map(|row| row.passed.iter().count()).sum::<usize>());
        let earliest = |(number, row): (u32, &super::Framework)| Some((*row.expiries.keys().next()?, number));
        assert!(self.frameworks.iter().filter_map(earliest).all(|first| self.earliest_filters.contains(&first)));
        assert_eq!(self.earliest_filters.len(), frameworks().filter(|row| !row.expiries.is_empty()).count());
    }
}
