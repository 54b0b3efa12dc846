//! The master: its core, its connections, its disk.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_host::master::{Effect, Event, LinkId, Master, MasterConfig};
use mesos_host::protocol::{OperatorCall, OperatorReply, operator_call, operator_reply};
use mesos_host::registry::Operation;
use mesos_host::registry::log::Log;
use mesos_plugin_api::Time;

use super::disk::Disk;
use super::{Happening, Lane, World};
use crate::network::{Packet, Peer, Way};
use crate::sight::Sight;

/// The master's process, if it lives.
#[derive(Default)]
pub struct MasterNode {
    /// Its core.
    pub core: Option<Master>,
    /// Rises with each that begins.
    pub incarnation: u64,
    /// When its core's deadline passes.
    pub due: Option<Time>,
    /// The connection behind each link.
    pub links: BTreeMap<LinkId, u64>,
    /// On which link each scheduler has subscribed last.
    pub subscribed: BTreeMap<usize, LinkId>,
    link_last: u64,
    /// What survives it.
    disk: Disk,
    /// The same as it reads it, while it leads.
    log: Option<Log>,
    /// What it wants kept.
    keeping: BTreeMap<u64, Operation>,
    /// Its disk is slow until then.
    pub slow_disk_until: Time,
    /// It keeps nothing until then.
    pub full_disk_until: Time,
    /// Pieces of answers to an operator.
    answers: Vec<OperatorReply>,
    /// The allocator's turn is on its way.
    allocates_later: bool,
}

impl MasterNode {
    /// A number that no link of any master had.
    pub fn next_link(&mut self) -> LinkId {
        self.link_last += 1;
        LinkId(self.link_last)
    }
}

impl World {
    pub(super) fn master_starts(&mut self) {
        if self.master.core.is_some() {
            return;
        }
        self.master.incarnation += 1;
        let log = self.master.disk.lead(&mut self.chance);
        let config = MasterConfig { epoch: log.registry().epoch, ..MasterConfig::default() };
        self.watch.log(self.now, format_args!("master"), &"starts");
        self.watch.see(self.now, &Sight::MasterStarted);
        self.master.core = Some(Master::resume(self.now, config, log.registry().clone()));
        self.master.log = Some(log);
        self.master.due = None;
    }

    /// Its process dies: what it had to say and had not sent is lost, and whoever was connected learns it soon.
    pub fn master_dies(&mut self) -> bool {
        if self.master.core.take().is_none() {
            return false;
        }
        self.watch.log(self.now, format_args!("master"), &"dies");
        self.master.due = None;
        let writing: Vec<_> = std::mem::take(&mut self.master.keeping).into_iter().collect();
        let mut log = self.master.log.take().expect("it led");
        let durable = Disk::tear(&mut log, writing, &mut self.chance);
        self.watch.counts.add("fault: write of a dying master that it did not hear of", durable.len() as u64);
        durable.into_iter().for_each(|id| self.watch.see(self.now, &Sight::MasterKept { id }));
        for connection in std::mem::take(&mut self.master.links).into_values() {
            self.server_dies(connection);
        }
        true
    }

    /// A master begins after so long.
    pub fn start_master_after(&mut self, wait: Duration) {
        self.after(wait, Happening::MasterStarts);
    }

    /// The shell takes a batch of events, lets the allocator work, and sends what came of it.
    pub(super) fn master_handles(&mut self, events: Vec<Event>) {
        let Some(mut core) = self.master.core.take() else { return };
        let mut effects = Vec::new();
        for event in events {
            self.events += 1;
            self.watch.log(self.now, format_args!("master ◀"), &event);
            self.show_to_invariants(&event);
            let from = effects.len();
            core.handle(self.now, event, &mut effects);
            effects[from..].iter().for_each(|effect| self.show_effect(effect));
            self.watch.see(self.now, &Sight::MasterAnswered);
        }
        // The shell takes what has come meanwhile first, so that the allocator works later.
        if self.chance.percent(85) {
            self.allocate(&mut core, &mut effects);
        } else if !std::mem::replace(&mut self.master.allocates_later, true) {
            let wait = self.chance.ms(0, 20);
            self.after(wait, Happening::MasterAllocates);
        }
        core.sanity_check();
        self.master.due = core.deadline();
        self.master.core = Some(core);
        self.master_carries_out(effects);
    }

    pub(super) fn master_allocates(&mut self) {
        self.master.allocates_later = false;
        let Some(mut core) = self.master.core.take() else { return };
        let mut effects = Vec::new();
        self.allocate(&mut core, &mut effects);
        self.master.due = core.deadline();
        self.master.core = Some(core);
        self.master_carries_out(effects);
    }

    fn allocate(&mut self, core: &mut Master, effects: &mut Vec<Effect>) {
        let from = effects.len();
        core.allocate(self.now, effects);
        effects[from..].iter().for_each(|effect| self.show_effect(effect));
    }

    fn show_to_invariants(&mut self, event: &Event) {
        let peer = |link: &LinkId| self.net.peer(*self.master.links.get(link)?);
        let sight = match event {
            Event::AgentCalled { link, call } => match (peer(link), &call.call) {
                (Some(Peer::Agent(agent)), Some(call)) => Sight::MasterHeardAgent { agent, call },
                _ => return,
            },
            Event::SchedulerCalled { link, call } => match (peer(link), &call.call) {
                (Some(Peer::Scheduler(scheduler)), Some(call)) => Sight::MasterHeardScheduler { scheduler, call },
                _ => return,
            },
            Event::Persisted { id } => Sight::MasterKept { id: *id },
            _ => return,
        };
        self.watch.see(self.now, &sight);
    }

    fn show_effect(&mut self, effect: &Effect) {
        if let Effect::ToScheduler { link, event: mesos_plugin_api::v1::scheduler::event::Event::Subscribed(_) } =
            effect
            && let Some(Peer::Scheduler(scheduler)) = self.net.peer(self.master.links[link])
        {
            self.master.subscribed.insert(scheduler, *link);
        }
        let peer = |link: &LinkId| self.net.peer(*self.master.links.get(link)?);
        let sight = match effect {
            Effect::ToAgent { link, event } => match peer(link) {
                Some(Peer::Agent(agent)) => Sight::MasterToldAgent { agent, event },
                _ => return,
            },
            Effect::ToScheduler { link, event } => match peer(link) {
                Some(Peer::Scheduler(scheduler)) => Sight::MasterToldScheduler { scheduler, event },
                _ => return,
            },
            Effect::Persist { id, operation } => Sight::MasterPersists { id: *id, operation },
            _ => return,
        };
        self.watch.see(self.now, &sight);
    }

    fn master_carries_out(&mut self, effects: Vec<Effect>) {
        let mut packets: BTreeMap<LinkId, Packet> = BTreeMap::new();
        let mut order = Vec::new();
        let mut closing = Vec::new();
        for effect in effects {
            match effect {
                Effect::ToAgent { link, event } => {
                    self.watch.log(self.now, format_args!("master ▶ {link:?}"), &event);
                    let packet = packets.entry(link).or_insert_with(|| {
                        order.push(link);
                        Packet::AgentEvents(Vec::new())
                    });
                    if let Packet::AgentEvents(events) = packet {
                        events.push(event);
                    }
                }
                Effect::ToScheduler { link, event } => {
                    self.watch.log(self.now, format_args!("master ▶ {link:?}"), &event);
                    let packet = packets.entry(link).or_insert_with(|| {
                        order.push(link);
                        Packet::Events(Vec::new())
                    });
                    if let Packet::Events(events) = packet {
                        events.push(event);
                    }
                }
                Effect::Close { link } => closing.push(link),
                Effect::Persist { id, operation } => self.master_persists(id, operation),
                Effect::StepDown { epoch } => panic!("there is one master, and none of epoch {epoch}"),
                Effect::Reply { reply: Ok(reply), .. } => self.master.answers.push(reply),
                Effect::Reply { reply: Err(_), .. } => {}
            }
        }
        for link in order {
            let packet = packets.remove(&link).expect("it was put in");
            if let Some(connection) = self.master.links.get(&link).copied() {
                self.send(connection, Way::Down, packet);
            }
        }
        for link in closing {
            if let Some(connection) = self.master.links.remove(&link) {
                self.send(connection, Way::Down, Packet::End);
                self.net.close(connection, false);
            }
        }
    }

    fn master_persists(&mut self, id: u64, operation: Operation) {
        self.master.keeping.insert(id, operation);
        let wait = if self.master.slow_disk_until > self.now {
            self.watch.counts.add("fault: slow disk of the master", 1);
            self.chance.ms(200, 4000)
        } else {
            self.chance.wait(10, 300)
        };
        let incarnation = self.master.incarnation;
        self.follow(Lane::MasterDisk, wait, Happening::MasterKept { incarnation, id });
    }

    pub(super) fn master_kept(&mut self, incarnation: u64, id: u64) {
        if incarnation == self.master.incarnation && self.master.core.is_some() {
            if self.master.full_disk_until > self.now && self.chance.percent(50) {
                // A master that can't keep something ends.
                self.watch.counts.add("fault: full disk of the master", 1);
                self.master_dies();
                let wait = self.chance.ms(100, 3000);
                return self.start_master_after(wait);
            }
            let operation = self.master.keeping.remove(&id).expect("it was to be kept");
            let log = self.master.log.as_mut().expect("it leads");
            log.append([operation]).expect("no other leads");
            self.master_handles(vec![Event::Persisted { id }]);
        } else {
            self.watch.counts.add("fault: effects lost at a crash", 1);
        }
    }

    /// What an operator is told.
    pub fn ask_master(&mut self, call: operator_call::Call) -> Vec<operator_reply::Reply> {
        let link = self.master.next_link();
        let call = OperatorCall { call: Some(call) };
        let caller = super::schedulers::caller();
        self.master_handles(vec![Event::OperatorCalled { link, caller, call }]);
        std::mem::take(&mut self.master.answers).into_iter().filter_map(|reply| reply.reply).collect()
    }
}
