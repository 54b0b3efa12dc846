//! How a gang's slots lie on agents.

use mesos_plugin_api::v1::GangRequest;

use super::scalars::Scalars;

/// What a gang asks of the agents that it lies on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    pub(super) slots: u32,
    pub(super) per_slot: Scalars,
    pub(super) per_agent: Scalars,
    pub(super) agents: Option<u32>,
    pub(super) slots_per_agent_max: u32,
    pub(super) include_hosts: Vec<String>,
    pub(super) exclude_hosts: Vec<String>,
    pub(super) spread: bool,
}

/// A number of slots on an agent.
pub(super) type Slots = (u32, u32);

impl Shape {
    pub(super) fn of(request: &GangRequest) -> Self {
        Self {
            slots: request.slots,
            per_slot: Scalars::of(&request.per_slot),
            per_agent: request.per_agent.as_ref().map(Scalars::of).unwrap_or_default(),
            agents: request.agents,
            slots_per_agent_max: request.max_slots_per_agent.unwrap_or(u32::MAX),
            include_hosts: request.include_hosts.clone(),
            exclude_hosts: request.exclude_hosts.clone(),
            spread: request.spread(),
        }
    }

    /// Whether the gang may lie on an agent. Several agents of a machine share a host name, so an agent's id serves as well.
    pub(super) fn admits(&self, hostname: &str, id: &str) -> bool {
        let names = |hosts: &[String]| hosts.iter().any(|host| host == hostname || host == id);
        (self.include_hosts.is_empty() || names(&self.include_hosts)) && !names(&self.exclude_hosts)
    }

    /// How many slots fit into so much.
    pub(super) fn slots_in(&self, amount: &Scalars) -> u32 {
        amount.slots(&self.per_agent, &self.per_slot).min(self.slots_per_agent_max)
    }

    /// What so many slots on one agent take.
    pub(super) fn amount(&self, slots: u32) -> Scalars {
        let mut amount = self.per_agent.clone();
        amount.plus_times(&self.per_slot, i64::from(slots));
        amount
    }

    /// Whether so many slots on each agent suffice.
    pub(super) fn fits(&self, room: &[Slots]) -> bool {
        let mut room: Vec<u64> = room.iter().map(|(_, slots)| u64::from(*slots)).filter(|slots| *slots > 0).collect();
        if let Some(agents) = self.agents {
            if room.len() < agents as usize {
                return false;
            }
            room.sort_unstable_by(|a, b| b.cmp(a));
            room.truncate(agents as usize);
        }
        room.into_iter().sum::<u64>() >= u64::from(self.slots)
    }

    /// Lays the slots on agents with so much room each: on few that are filled, or spread over many.
    pub(super) fn place(&self, mut room: Vec<Slots>) -> Option<Vec<Slots>> {
        if !self.fits(&room) {
            return None;
        }
        room.retain(|(_, slots)| *slots > 0);
        room.sort_unstable_by_key(|(agent, slots)| (std::cmp::Reverse(*slots), *agent));
        match (self.agents, self.spread) {
            (Some(agents), spread) => {
                room.truncate(agents as usize);
                Some(if spread { self.level(&room) } else { self.fill_each(&room) })
            }
            (None, true) => Some(self.level(&room)),
            (None, false) => Some(self.fill_few(room)),
        }
    }

    /// One slot on each agent, then one after the other is filled.
    fn fill_each(&self, room: &[Slots]) -> Vec<Slots> {
        let mut rest = self.slots - room.len() as u32;
        let mut fill = |(agent, slots): &Slots| {
            let more = rest.min(slots - 1);
            rest -= more;
            (*agent, 1 + more)
        };
        room.iter().map(&mut fill).collect()
    }

    /// The largest agents first; the last ones on the smallest that has room for them, to leave large ones whole.
    fn fill_few(&self, room: Vec<Slots>) -> Vec<Slots> {
        let mut placed = Vec::new();
        let mut rest = self.slots;
        for (index, (agent, slots)) in room.iter().enumerate() {
            let enough = room[index..].partition_point(|(_, slots)| *slots >= rest);
            if enough > 0 {
                let smallest = room[index + enough - 1].1;
                let last = room[index..].iter().find(|(_, slots)| *slots == smallest).expect("it was just seen");
                placed.push((last.0, rest));
                break;
            }
            placed.push((*agent, *slots));
            rest -= slots;
        }
        placed
    }

    /// Round after round one slot on each agent that has room.
    fn level(&self, room: &[Slots]) -> Vec<Slots> {
        let mut placed: Vec<Slots> = room.iter().map(|(agent, _)| (*agent, 0)).collect();
        let mut rest = self.slots;
        while rest > 0 {
            for ((_, placed), (_, room)) in placed.iter_mut().zip(room) {
                if rest > 0 && *placed < *room {
                    *placed += 1;
                    rest -= 1;
                }
            }
        }
        placed.retain(|(_, slots)| *slots > 0);
        placed
    }

    /// `64 slots of cpus:1;mem:512`, and what else it wants.
    pub(super) fn text(&self) -> String {
        let slots = if self.slots == 1 { "slot" } else { "slots" };
        let mut text = format!("{} {slots} of {}", self.slots, self.per_slot.resources());
        if !self.per_agent.is_zero() {
            text += &format!(" beside {} an agent", self.per_agent.resources());
        }
        text + &self.constraints()
    }

    /// ` on exactly 2 agents, at most 4 an agent`, or nothing.
    pub(super) fn constraints(&self) -> String {
        let mut text = String::new();
        if let Some(agents) = self.agents {
            text += &format!(" on exactly {agents} agents");
        }
        if self.slots_per_agent_max < u32::MAX {
            text += &format!(", at most {} an agent", self.slots_per_agent_max);
        }
        if !self.include_hosts.is_empty() {
            text += &format!(", only on {}", self.include_hosts.join(", "));
        }
        if !self.exclude_hosts.is_empty() {
            text += &format!(", not on {}", self.exclude_hosts.join(", "));
        }
        text
    }
}
