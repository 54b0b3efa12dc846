//! A small master around the allocator: keeps offers and tasks, so that a test says what happens and what is offered.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, FrameworkId, GangRequest, Resources};

use crate::allocator::{Allocator, Config, Effect, Event, Part, Used};

/// An offer that is open.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Offered {
    pub(super) framework: FrameworkId,
    pub(super) parts: Vec<Part>,
    pub(super) gang: Option<String>,
    pub(super) until: Option<Time>,
}

/// A task that runs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    pub(super) framework: FrameworkId,
    pub(super) agent: AgentId,
    pub(super) resources: Resources,
    pub(super) ends_at: Option<Time>,
    /// Its resources are this volume's.
    pub(super) volume: Option<usize>,
}

/// Something that is kept for its owner.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Volume {
    pub(super) agent: AgentId,
    pub(super) reserved: Resources,
    pub(super) in_use: bool,
}

/// What was last said about a gang.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Status {
    pub(super) held: u32,
    pub(super) waiting_for: Option<String>,
    pub(super) planned_start: Option<Time>,
    pub(super) refused: Option<String>,
}

pub(super) struct TestEnv {
    pub(super) allocator: Allocator,
    pub(super) now: Time,
    pub(super) offers: BTreeMap<usize, Offered>,
    pub(super) tasks: Vec<Running>,
    pub(super) volumes: BTreeMap<usize, Volume>,
    /// Last words about each gang.
    pub(super) gangs: BTreeMap<(FrameworkId, String), Status>,
    pub(super) offers_so_far: usize,
}

impl TestEnv {
    pub(super) fn new() -> Self {
        Self {
            allocator: Allocator::new(Config::default()),
            now: seconds(1000),
            offers: BTreeMap::new(),
            tasks: Vec::new(),
            volumes: BTreeMap::new(),
            gangs: BTreeMap::new(),
            offers_so_far: 0,
        }
    }

    /// Agents a1, a2 … with these resources.
    pub(super) fn agents(mut self, all: &[&str]) -> Self {
        for (index, total) in all.iter().enumerate() {
            self.add_agent(&format!("a{}", index + 1), total);
        }
        self
    }

    /// Frameworks, each in the role after the slash, or in one of its own.
    pub(super) fn frameworks(mut self, all: &[&str]) -> Self {
        for name in all {
            let (id, role) = name.split_once('/').unwrap_or((name, name));
            self.tell(Event::AddFramework { id: id.into(), role: role.to_string() });
        }
        self
    }

    pub(super) fn add_agent(&mut self, id: &str, total: &str) {
        self.tell(Event::AddAgent {
            id: id.into(),
            hostname: format!("host-{id}"),
            total: resources(total),
            used: Vec::new(),
        });
    }

    /// An event, without a cycle.
    pub(super) fn tell(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.allocator.handle(self.now, event, &mut effects);
        self.take(effects);
    }

    /// A cycle; says who was offered what, as `f1: a1 cpus:4`.
    pub(super) fn cycle(&mut self) -> Vec<String> {
        let mut effects = Vec::new();
        self.allocator.allocate(self.now, &mut effects);
        self.take(effects)
    }

    pub(super) fn after(&mut self, secs: u64) -> Vec<String> {
        self.now = self.now + Duration::from_secs(secs);
        self.cycle()
    }

    fn take(&mut self, effects: Vec<Effect>) -> Vec<String> {
        let mut lines = Vec::new();
        for effect in effects {
            match effect {
                Effect::Offers { framework, parts, available_until } => {
                    for part in parts {
                        lines.push(format!("{framework}: {}", part_text(&part)));
                        self.open_offer(framework.clone(), vec![part], None, available_until);
                    }
                }
                Effect::GangOffer { framework, id, parts } => {
                    let texts: Vec<String> = parts.iter().map(part_text).collect();
                    lines.push(format!("{framework}: {}", texts.join(" + ")));
                    self.gangs.remove(&(framework.clone(), id.clone()));
                    self.open_offer(framework, parts, Some(id), None);
                }
                Effect::GangStatus { framework, id, held, asked: _, waiting_for, planned_start, refused } => {
                    self.gangs.insert((framework, id), Status { held, waiting_for, planned_start, refused });
                }
            }
        }
        self.allocator.sanity_check();
        lines
    }

    fn open_offer(&mut self, framework: FrameworkId, parts: Vec<Part>, gang: Option<String>, until: Option<Time>) {
        self.offers.insert(self.offers_so_far, Offered { framework, parts, gang, until });
        self.offers_so_far += 1;
    }

    /// Number of the open offer of a framework on an agent.
    pub(super) fn offer_of(&self, framework: &str, agent: &str) -> usize {
        let of = |offer: &Offered| {
            offer.framework.as_str() == framework && offer.parts.iter().any(|part| part.agent.as_str() == agent)
        };
        *self
            .offers
            .iter()
            .find(|(_, offer)| of(offer))
            .unwrap_or_else(|| panic!("{framework} has no offer of {agent}"))
            .0
    }

    /// Declines an offer.
    pub(super) fn decline(&mut self, framework: &str, agent: &str, refuse: Duration) {
        let offer = self.offer_of(framework, agent);
        self.give_back(offer, Some(refuse));
    }

    pub(super) fn give_back(&mut self, offer: usize, refuse: Option<Duration>) {
        let offer = self.offers.remove(&offer).expect("the offer is open");
        for part in offer.parts {
            self.tell(Event::Recover {
                framework: offer.framework.clone(),
                agent: part.agent,
                resources: part.resources,
                back_by: offer.until,
                refuse,
            });
        }
    }

    /// Launches a task on an offer of one agent; the rest comes back with a filter of 5 s.
    pub(super) fn launch(&mut self, framework: &str, agent: &str, task: &str, max_secs: Option<u64>) {
        let offer = self.offer_of(framework, agent);
        self.accept(offer, &resources(task), max_secs);
    }

    pub(super) fn accept(&mut self, offer: usize, task: &Resources, max_secs: Option<u64>) {
        let offer = self.offers.remove(&offer).expect("the offer is open");
        let ends_at = max_secs.map(|secs| self.now + Duration::from_secs(secs));
        for part in offer.parts {
            let task = if offer.gang.is_some() { part.resources.clone() } else { task.clone() };
            self.tell(Event::Launched {
                framework: offer.framework.clone(),
                agent: part.agent.clone(),
                resources: task.clone(),
                offered_until: offer.until,
                ends_at,
            });
            let rest = part.resources.checked_sub(&task).expect("a task fits into its offer");
            self.tell(Event::Recover {
                framework: offer.framework.clone(),
                agent: part.agent.clone(),
                resources: rest,
                back_by: offer.until,
                refuse: Some(Duration::from_secs(5)),
            });
            self.tasks.push(Running {
                framework: offer.framework.clone(),
                agent: part.agent,
                resources: task,
                ends_at,
                volume: None,
            });
        }
    }

    /// A task ends.
    pub(super) fn end(&mut self, index: usize) {
        let Running { framework, agent, resources, ends_at, volume } = self.tasks.remove(index);
        if let Some(volume) = volume {
            self.volumes.get_mut(&volume).expect("a volume in use stays").in_use = false;
            return self.tell(Event::ReturnReserved { framework, agent, resources });
        }
        self.tell(Event::Recover { framework, agent, resources, back_by: ends_at, refuse: None });
    }

    /// Makes a volume on an offer of one agent; the rest comes back at once.
    pub(super) fn reserve(&mut self, offer: usize, reserved: &Resources) {
        let offered = self.offers.get_mut(&offer).expect("the offer is open");
        let part = &mut offered.parts[0];
        part.resources = part.resources.checked_sub(reserved).expect("a volume fits into its offer");
        let (framework, agent) = (Some(offered.framework.clone()), part.agent.clone());
        let number = self.volumes.keys().next_back().map_or(0, |last| last + 1);
        self.volumes.insert(number, Volume { agent: agent.clone(), reserved: reserved.clone(), in_use: false });
        self.tell(Event::Reserve { framework, agent, resources: reserved.clone() });
        self.give_back(offer, None);
    }

    /// Destroys one of the volumes, if nobody uses it.
    pub(super) fn unreserve(&mut self, which: usize) {
        let idle = self.volumes.iter().filter(|(_, volume)| !volume.in_use).map(|(number, _)| *number);
        let idle: Vec<usize> = idle.collect();
        if let Some(volume) = idle.get(which % idle.len().max(1)).and_then(|number| self.volumes.remove(number)) {
            self.tell(Event::Unreserve { agent: volume.agent, resources: volume.reserved });
        }
    }

    /// A task takes all that one of the volumes keeps.
    pub(super) fn use_reserved(&mut self, which: usize, framework: &str) {
        let count = self.volumes.len().max(1);
        let idle = self.volumes.iter_mut().nth(which % count).filter(|(_, volume)| !volume.in_use);
        let Some((number, volume)) = idle else { return };
        volume.in_use = true;
        let (framework, agent) = (FrameworkId::from(framework), volume.agent.clone());
        let (resources, volume) = (volume.reserved.clone(), Some(*number));
        let running = Running { framework, agent, resources, ends_at: None, volume };
        let (framework, agent) = (running.framework.clone(), running.agent.clone());
        let resources = running.resources.clone();
        self.tasks.push(running);
        self.tell(Event::UseReserved { framework, agent, resources });
    }

    /// Tasks that should have ended by now do.
    pub(super) fn end_due(&mut self) {
        while let Some(index) = self.tasks.iter().position(|task| task.ends_at.is_some_and(|at| at <= self.now)) {
            self.end(index);
        }
    }

    pub(super) fn ask(&mut self, framework: &str, request: GangRequest) {
        self.tell(Event::RequestGang { framework: framework.into(), request });
    }

    pub(super) fn status(&self, framework: &str, id: &str) -> &Status {
        &self.gangs[&(framework.into(), id.to_string())]
    }

    /// All that a framework has, offers included.
    pub(super) fn has(&self, framework: &str) -> Resources {
        let offered = self.offers.values().filter(|offer| offer.framework.as_str() == framework);
        let offered = offered.flat_map(|offer| offer.parts.iter().map(|part| &part.resources));
        let running = self.tasks.iter().filter(|task| task.framework.as_str() == framework);
        offered.chain(running.map(|task| &task.resources)).sum()
    }
}

fn part_text(part: &Part) -> String {
    let slots = part.slots.map(|slots| format!(" ({slots} slots)")).unwrap_or_default();
    format!("{} {}{slots}", part.agent, part.resources)
}

pub(super) fn resources(text: &str) -> Resources {
    text.parse().expect("resources in a test are well formed")
}

pub(super) fn seconds(seconds: u64) -> Time {
    Time(seconds * 1_000_000_000)
}

pub(super) fn used(framework: &str, text: &str) -> Used {
    Used { framework: framework.into(), resources: resources(text), back_by: None }
}

/// A request for slots without constraints.
pub(super) fn gang(id: &str, slots: u32, per_slot: &str) -> GangRequest {
    GangRequest {
        id: id.to_string(),
        slots,
        per_slot: resources(per_slot),
        per_agent: None,
        agents: None,
        max_slots_per_agent: None,
        include_hosts: Vec::new(),
        exclude_hosts: Vec::new(),
        within_ms: None,
        max_duration_ms: None,
        spread: None,
    }
}
