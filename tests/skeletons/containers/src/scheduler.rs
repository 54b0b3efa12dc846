//! The scheduler half: one machine task an agent, containers where they are asked for, and a count that must never jump.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::prelude::*;
use mesos_plugin_api::v1::scheduler::Message;
use mesos_plugin_api::v1::{AgentId, ExecutorInfo, TaskId};
use serde::{Deserialize, Serialize};

use crate::Line;

const STATE: &str = "book";
const EXECUTOR: &str = "machine";
/// Offers that nobody asked for are given back for so long.
const REFUSE: Duration = Duration::from_secs(1);

/// All that is known of the framework; kept as a whole.
#[derive(Default, Serialize, Deserialize)]
struct Book {
    count: u64,
    last_container: u64,
    /// Asked for and not launched: on which agent, by which connections.
    asks: BTreeMap<String, Vec<u64>>,
    /// Agents whose machine task was launched and hasn't ended.
    machines: BTreeMap<String, String>,
    last_machine: u64,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Scheduler {
    book: Book,
    last_write: u64,
}

impl Framework for Scheduler {
    fn on_event(&mut self, _: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Started(started) => {
                if let Some(kept) = started.state.iter().find(|entry| entry.key == STATE) {
                    self.book = serde_json::from_slice(&kept.value).expect("an earlier one of us wrote it");
                }
                // Those that were never launched, or ended meanwhile, are unknown now; the others are said anyway.
                let machines = self.book.machines.values().map(|id| TaskId::from(id.as_str())).collect::<Vec<_>>();
                if !machines.is_empty() {
                    calls.reconcile(machines);
                }
            }
            Event::Offers(offers) => offers.offers.into_iter().for_each(|offer| self.launch(offer, calls)),
            Event::Update(update) => self.updated(&update.status, calls),
            Event::Message(message) => self.asked(message, calls),
            Event::Signal(_) => calls.finish(0, None),
            _ => {}
        }
    }
}

impl Scheduler {
    /// Everything here is one event, so it is kept, launched and answered together.
    fn launch(&mut self, offer: Offer, calls: &mut Calls) {
        let agent = offer.agent().clone();
        let machine = ExecutorInfo::new(EXECUTOR, Resources::new(0.1, 32.0));
        let each = Resources::new(0.1, 32.0);
        let mut room = offer.resources();
        let mut tasks = Vec::new();
        let mut place = |id: String, needed: &Resources| {
            let left = room.checked_sub(needed).ok()?;
            room = left;
            tasks.push(TaskInfo::executor(id, agent.clone(), each.clone(), machine.clone(), Vec::new()));
            Some(())
        };
        let mut is_up = self.book.machines.contains_key(agent.as_str());
        if !is_up {
            let id = format!("machine-{}", self.book.last_machine + 1);
            is_up = place(id.clone(), &(each.clone() + &machine.resources)).is_some();
            if is_up {
                self.book.last_machine += 1;
                self.book.machines.insert(agent.to_string(), id);
            }
        }
        let asks = self.book.asks.entry(agent.to_string()).or_default();
        while let (true, Some(&connection)) = (is_up, asks.first()) {
            let id = format!("c-{}", self.book.last_container + 1);
            if place(id.clone(), &each).is_none() {
                break;
            }
            self.book.last_container += 1;
            asks.remove(0);
            calls.message(agent.clone(), EXECUTOR.into(), Line::encode(connection, format!("container {id}")));
        }
        if tasks.is_empty() {
            return calls.decline(offer.id, REFUSE);
        }
        calls.accept([offer.id], tasks);
        self.keep(calls);
    }

    /// A machine that has ended is launched again by the next offer.
    fn updated(&mut self, status: &TaskStatus, calls: &mut Calls) {
        if status.state().is_terminal() || status.state() == TaskState::TaskUnknown {
            let machines = self.book.machines.len();
            self.book.machines.retain(|_, id| id != status.task_id.as_str());
            if self.book.machines.len() < machines {
                self.keep(calls);
            }
        }
    }

    fn asked(&mut self, message: Message, calls: &mut Calls) {
        let Line { connection, text } = Line::decode(&message.data);
        let Message { agent_id, executor_id, .. } = message;
        let answer = match text.as_str() {
            "count" => {
                self.book.count += 1;
                format!("counted {}", self.book.count)
            }
            "container" => {
                self.ask(&agent_id, connection);
                calls.revive();
                return self.keep(calls);
            }
            other => format!("error {other:?} is neither count, container nor run"),
        };
        self.keep(calls);
        calls.message(agent_id, executor_id, Line::encode(connection, answer));
    }

    fn ask(&mut self, agent: &AgentId, connection: u64) {
        self.book.asks.entry(agent.to_string()).or_default().push(connection);
    }

    fn keep(&mut self, calls: &mut Calls) {
        self.last_write += 1;
        calls.put_state(STATE, Some(serde_json::to_vec(&self.book).expect("its keys are texts")), self.last_write);
    }
}
