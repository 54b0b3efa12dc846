//! The framework half: one service after the other up, and back down in the opposite order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos_plugin_api::prelude::*;
use mesos_plugin_api::v1::scheduler::{CreateVolume, VolumeState, VolumeStatus};
use mesos_plugin_api::v1::{AgentId, ExecutorInfo, OfferPart, Range};

const REFUSE: Duration = Duration::from_secs(1);
/// The volume's folder in a service's sandbox.
const DATA: &str = "data";

/// See the module.
pub(crate) struct Scheduler {
    /// In the order of their start.
    services: Vec<Service>,
    /// Where volumes of ours are, by name.
    volumes: BTreeMap<String, AgentId>,
    last_task: u64,
    stopping: bool,
    /// Agents that are wanted back.
    draining: BTreeSet<AgentId>,
}

struct Service {
    name: String,
    state: State,
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    Down,
    Starting(String),
    Ready(String),
    Draining(String),
}

impl Framework for Scheduler {
    fn on_event(&mut self, _: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::VolumeStatus(status) => self.volume(status, calls),
            Event::Offers(offers) => self.offered(offers.offers, calls),
            Event::Update(update) => self.updated(&update.status, calls),
            // Its data is there, so nothing can move: those on it, and those that need them, go in order and come back with it.
            Event::InverseOffers(offers) => {
                for offer in offers.inverse_offers {
                    calls.accept_inverse_offer(offer.id);
                    self.draining.insert(offer.agent_id);
                }
                self.stop_last(calls);
            }
            Event::Signal(_) => {
                self.stopping = true;
                self.stop_last(calls);
            }
            _ => {}
        }
    }
}

impl Scheduler {
    pub(crate) fn new(services: Vec<String>) -> Self {
        let services = services.into_iter().map(|name| Service { name, state: State::Down }).collect();
        Self { services, volumes: BTreeMap::new(), last_task: 0, stopping: false, draining: BTreeSet::new() }
    }

    fn volume(&mut self, status: VolumeStatus, calls: &mut Calls) {
        match status.state() {
            VolumeState::VolumeReady => drop(self.volumes.insert(status.name, status.agent_id)),
            VolumeState::VolumeUnreachable => {
                calls.stderr(format!("the data of {} is out of reach: {}\n", status.name, status.message()));
            }
            VolumeState::VolumeRefused | VolumeState::VolumeDestroyed => drop(self.volumes.remove(&status.name)),
        }
    }

    /// The next service goes to its volume where it has one, and makes one where it is offered room otherwise.
    fn offered(&mut self, offers: Vec<Offer>, calls: &mut Calls) {
        for offer in offers {
            let ready = self.services.iter().take_while(|service| matches!(service.state, State::Ready(_))).count();
            let next = self.services.get(ready).filter(|next| next.state == State::Down && !self.stopping);
            let name = next.map(|next| next.name.clone()).unwrap_or_default();
            let part = &offer.parts[0];
            // It is offered again.
            self.draining.remove(&part.agent_id);
            let on_volume = part.volume.as_ref().filter(|volume| volume.name == name && !name.is_empty());
            let reserve = match on_volume {
                Some(volume) => Some(volume.reserved.clone()).filter(|reserved| part.resources.contains(reserved)),
                None if part.volume.is_none() && !name.is_empty() && !self.volumes.contains_key(&name) => wanted(part),
                None => None,
            };
            let Some(reserve) = reserve else {
                calls.decline(offer.id, REFUSE);
                continue;
            };
            let task = self.task(&name, offer.agent(), &reserve);
            self.services[ready].state = State::Starting(task.id.to_string());
            if on_volume.is_some() {
                calls.accept([offer.id], vec![task]);
            } else {
                self.volumes.insert(name.clone(), offer.agent().clone());
                let volume = CreateVolume { name, agent_id: offer.agent().clone(), reserve };
                calls.create_volumes([offer.id], vec![volume], vec![task]);
            }
        }
    }

    fn task(&mut self, name: &str, agent: &AgentId, reserved: &Resources) -> TaskInfo {
        self.last_task += 1;
        let id = format!("{name}-{}", self.last_task);
        // A volume's reservation is for tasks: the executor, which runs nothing else, is counted in its task.
        let executor = ExecutorInfo::new(id.as_str(), Resources::default());
        let port = reserved.first_ports(1)[0];
        let data = format!("{name} {port}").into_bytes();
        TaskInfo::executor(id, agent.clone(), reserved.clone(), executor, data).mounting(name, DATA)
    }

    fn updated(&mut self, status: &TaskStatus, calls: &mut Calls) {
        let id = status.task_id.as_str();
        let of = |service: &&mut Service| match &service.state {
            State::Starting(task) | State::Ready(task) | State::Draining(task) => task == id,
            State::Down => false,
        };
        let Some(service) = self.services.iter_mut().find(of) else { return };
        if status.state().is_terminal() {
            calls.stdout(format!("{} is down: {}\n", service.name, status.message()));
            service.state = State::Down;
            calls.shutdown_executor(status.agent_id.clone().expect("agents say who they are"), id.into());
        } else if status.state() == TaskState::TaskRunning && service.state == State::Starting(id.to_string()) {
            calls.stdout(format!("{} is ready: {}\n", service.name, status.message()));
            service.state = State::Ready(id.to_string());
        }
        self.stop_last(calls);
        if !self.stopping {
            calls.revive();
        }
    }

    /// One at a time, the last one first; of a drain as far as the first one that it hits.
    fn stop_last(&mut self, calls: &mut Calls) {
        let leaves = |service: &Service| self.volumes.get(&service.name).is_some_and(|on| self.draining.contains(on));
        let up = |service: &Service| service.state != State::Down;
        let first = self.services.iter().position(|service| self.stopping || (up(service) && leaves(service)));
        let Some(first) = first else { return };
        let last = self.services[first..].iter_mut().rev().find(|service| service.state != State::Down);
        match last.map(|service| (&mut service.state, service.name.clone())) {
            None => calls.finish(0, None),
            Some((State::Draining(_) | State::Down, _)) => {}
            Some((state @ (State::Starting(_) | State::Ready(_)), _)) => {
                let (State::Starting(task) | State::Ready(task)) = state.clone() else { unreachable!("matched above") };
                *state = State::Draining(task.clone());
                calls.kill(task.into(), None);
            }
        }
    }
}

/// With the first port that is offered: it is kept with the volume, so that clients find the service again.
fn wanted(part: &OfferPart) -> Option<Resources> {
    let port = *part.resources.first_ports(1).first()?;
    let wanted = Resources::new(0.2, 64.0).with_ports([Range::one(port)]);
    part.resources.contains(&wanted).then_some(wanted)
}
