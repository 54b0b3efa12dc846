//! The framework half: what is wanted, what runs, and who waits for the one to become the other.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::prelude::*;
use mesos_plugin_api::v1::TaskId;

use crate::{Ask, Wanted};

const STATE: &str = "wanted";
const RETRY_OFFERS: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct Services {
    wanted: Wanted,
    /// Counts the commands that the service has had; part of the tasks' names.
    version: u64,
    last_task: u64,
    instances: BTreeMap<TaskId, Instance>,
    /// Requests that are being answered: by id, what they wait for; none for those that only watch.
    askers: BTreeMap<u64, Option<Wanted>>,
    last_write: u64,
    last_report: String,
}

#[derive(Clone, Copy, PartialEq)]
struct Instance {
    version: u64,
    running: bool,
    killed: bool,
}

impl Framework for Services {
    fn on_event(&mut self, _: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Started(started) => {
                if let Some(kept) = started.state.iter().find(|entry| entry.key == STATE) {
                    (self.wanted, self.version, self.last_task) =
                        serde_json::from_slice(&kept.value).expect("an earlier one of us wrote it");
                }
            }
            Event::Offers(offers) => offers.offers.into_iter().for_each(|offer| self.launch(offer, calls)),
            Event::Update(update) => self.updated(&update.status, calls),
            Event::Request(request) => match serde_json::from_slice(&request.data) {
                Ok(ask) => self.asked(request.request_id, ask, calls),
                Err(error) => calls.reply_error(request.request_id, format!("the request can't be read: {error}")),
            },
            Event::RequestCancelled(request) => {
                self.askers.remove(&request.request_id);
                calls.stderr(format!("a request was cancelled, {} are open\n", self.askers.len()));
            }
            Event::Signal(_) => calls.finish(0, None),
            _ => {}
        }
        self.retire(calls);
        self.report(calls);
    }
}

impl Services {
    pub(crate) fn new(wanted: Wanted) -> Self {
        let (instances, askers) = Default::default();
        Self { wanted, version: 1, last_task: 0, instances, askers, last_write: 0, last_report: String::new() }
    }

    fn asked(&mut self, request: u64, ask: Ask, calls: &mut Calls) {
        let wanted = match ask {
            Ask::Watch => {
                calls.reply(request, self.last_report.clone());
                self.askers.insert(request, None);
                return;
            }
            Ask::Scale(instances) => Wanted { instances, ..self.wanted.clone() },
            Ask::Update(line) => {
                self.version += u64::from(line != self.wanted.line);
                Wanted { line, ..self.wanted.clone() }
            }
        };
        let others: Vec<u64> = self.askers.iter().filter(|(_, aim)| aim.is_some()).map(|(id, _)| *id).collect();
        for other in others {
            self.askers.remove(&other);
            calls.reply_error(other, "a newer request changes the service; watch shows what becomes of it");
        }
        self.askers.insert(request, Some(wanted.clone()));
        self.wanted = wanted;
        self.last_report.clear();
        self.keep(calls);
        calls.revive();
    }

    /// One instance at a time comes before an old one goes.
    fn launch(&mut self, offer: Offer, calls: &mut Calls) {
        let each = Resources::new(0.1, 16.0);
        let current = self.instances.values().filter(|it| it.version == self.version && !it.killed).count();
        let updating = self.instances.values().any(|it| it.version != self.version);
        let starting = self.instances.values().filter(|it| !it.running).count();
        let at_once = if updating { 1_usize.saturating_sub(starting) } else { usize::MAX };
        let missing = self.wanted.instances.saturating_sub(current).min(at_once);
        let fit = missing.min(offer.resources().times(&each) as usize);
        if fit == 0 {
            return calls.decline(offer.id, RETRY_OFFERS);
        }
        let mut tasks = Vec::new();
        for _ in 0..fit {
            self.last_task += 1;
            let id = format!("v{}-{}", self.version, self.last_task);
            let command = CommandInfo::shell_line(self.wanted.line.clone());
            tasks.push(TaskInfo::command(id.as_str(), offer.agent().clone(), each.clone(), command));
            let instance = Instance { version: self.version, running: false, killed: false };
            self.instances.insert(TaskId::from(id.as_str()), instance);
        }
        self.keep(calls);
        calls.accept([offer.id], tasks);
    }

    /// Also how the next scheduler gets to know what runs: its version is in its name.
    fn updated(&mut self, status: &TaskStatus, calls: &mut Calls) {
        if status.state().is_terminal() || status.state() == TaskState::TaskUnknown {
            if self.instances.remove(&status.task_id).is_some() {
                calls.revive();
            }
            return;
        }
        let version = status.task_id.as_str()[1..].split('-').next().and_then(|version| version.parse().ok());
        let instance = Instance { version: version.unwrap_or(0), running: false, killed: false };
        let known = self.instances.entry(status.task_id.clone()).or_insert(instance);
        if status.state() == TaskState::TaskRunning && !std::mem::replace(&mut known.running, true) {
            calls.revive();
        }
    }

    /// Ends what is too much: an old one for each new one that runs, and beyond the wanted number the newest.
    fn retire(&mut self, calls: &mut Calls) {
        let current = self.instances.values().filter(|it| it.version == self.version && it.running).count();
        let live: Vec<(TaskId, Instance)> =
            self.instances.iter().filter(|(_, it)| !it.killed).map(|(id, it)| (id.clone(), *it)).collect();
        let (old, new): (Vec<_>, Vec<_>) = live.into_iter().partition(|(_, it)| it.version != self.version);
        // What isn't up yet replaces nothing.
        let replaced = (current + old.len()).saturating_sub(self.wanted.instances);
        let beyond = new.len().saturating_sub(self.wanted.instances);
        for (id, _) in old.into_iter().take(replaced).chain(new.into_iter().rev().take(beyond)) {
            self.instances.get_mut(&id).expect("it was listed above").killed = true;
            calls.kill(id, None);
        }
    }

    /// Each change once, to all who ask; who has got what he waited for is done.
    fn report(&mut self, calls: &mut Calls) {
        let current = self.instances.values().filter(|it| it.version == self.version && it.running && !it.killed);
        let (current, wanted) = (current.count(), self.wanted.instances);
        let others = self.instances.len() - current;
        let report = format!("{current} of {wanted} run version {}, {others} others", self.version);
        if std::mem::replace(&mut self.last_report, report.clone()) == report {
            return;
        }
        self.askers.keys().for_each(|id| calls.reply(*id, report.clone()));
        if current == wanted && others == 0 {
            let done: Vec<u64> = self.askers.iter().filter(|(_, aim)| aim.is_some()).map(|(id, _)| *id).collect();
            for id in done {
                self.askers.remove(&id);
                calls.reply_done(id);
            }
            calls.suppress();
        }
    }

    fn keep(&mut self, calls: &mut Calls) {
        let kept = (&self.wanted, self.version, self.last_task);
        self.last_write += 1;
        calls.put_state(STATE, Some(serde_json::to_vec(&kept).expect("it has no maps")), self.last_write);
    }
}
