//! A framework that does whatever comes to its mind, and often the wrong thing: it hoards, declines, accepts what was
//! rescinded, asks for more than was offered, leaves out half a gang, kills, reconciles, stores state.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos_plugin_api::framework::Event;
use mesos_plugin_api::v1::scheduler::StateEntry;
use mesos_plugin_api::v1::{
    AgentId, CommandInfo, ExecutorId, ExecutorInfo, Filters, GangRequest, Offer, OfferId, OfferPart, PluginRef,
    Resources, TaskId, TaskInfo, TaskState,
};
use mesos_plugin_api::{Calls, Framework, Time};
use prost::Message;

use super::program::Program;
use crate::chance::Chance;

const TURN: u64 = 1;
/// Before an agent's and an executor's name: it was started there.
const EXECUTOR_KEY: &str = "executor:";
/// It ends what it has, and starts only what ends by itself.
pub const FINITE: i32 = 12;
/// It starts one thing more, which doesn't end by itself.
pub const KEEP: i32 = 16;
/// It does nothing new.
pub const REST: i32 = 10;
/// It ends.
pub const END: i32 = 15;

/// What it is inclined to, in percent.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// Keeps offers without an answer.
    pub hoards: u32,
    /// Declines them.
    pub declines: u32,
    /// Starts tasks with executors rather than commands.
    pub executors: u32,
    /// Asks for gangs.
    pub gangs: u32,
    /// Does what it must not.
    pub errs: u32,
    /// How long its tasks survive without it.
    pub failover_timeout_ms: u64,
}

impl Habits {
    /// Those of one framework.
    pub fn any(chance: &mut Chance) -> Self {
        let mut percent = |most: u64| chance.between(0, most) as u32;
        Self {
            hoards: percent(50),
            declines: percent(60),
            executors: percent(60),
            gangs: percent(40),
            errs: percent(15),
            failover_timeout_ms: [0, 5_000, 60_000][chance.below(3)],
        }
    }
}

/// The half.
pub struct RandomFramework {
    habits: Habits,
    chance: Chance,
    incarnation: u64,
    name: String,
    plugin: Option<PluginRef>,
    held: BTreeMap<OfferId, Offer>,
    live: BTreeMap<TaskId, (AgentId, Option<ExecutorId>)>,
    gangs: Vec<String>,
    said: BTreeMap<(AgentId, ExecutorId), u64>,
    /// All that it ever started: they stay, and keep what they have, until it ends them.
    executors: BTreeSet<(AgentId, ExecutorId)>,
    numbers: u64,
    mood: Mood,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Wild,
    Finite,
    Keeping,
    Resting,
}

/// The command within a task's data.
pub fn command_of(data: &[u8]) -> CommandInfo {
    CommandInfo::decode(data).unwrap_or_default()
}

impl RandomFramework {
    /// One process of it: no process before it has used the same task ids.
    pub fn new(habits: Habits, incarnation: u64, chance: Chance) -> Self {
        Self {
            habits,
            chance,
            incarnation,
            name: String::new(),
            plugin: None,
            held: BTreeMap::new(),
            live: BTreeMap::new(),
            gangs: Vec::new(),
            said: BTreeMap::new(),
            executors: BTreeSet::new(),
            numbers: 0,
            mood: Mood::Wild,
        }
    }

    fn resting(&self) -> bool {
        self.mood == Mood::Resting
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    fn task_id(&mut self) -> TaskId {
        let number = self.number();
        TaskId::new(format!("{}.{}.{number}", self.name, self.incarnation))
    }

    // ── offers ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn offered(&mut self, now: Time, offer: Offer, calls: &mut Calls) {
        if offer.gang_id.is_some() {
            return self.gang_offered(now, &offer, calls);
        }
        let roll = self.chance.between(0, 99) as u32;
        if self.resting() || roll < self.habits.declines {
            let refuse = self.chance.ms(0, 12_000);
            calls.decline(offer.id, refuse);
        } else if roll < self.habits.declines + self.habits.hoards {
            self.held.insert(offer.id.clone(), offer);
        } else {
            self.accept(now, vec![offer], calls);
        }
        if self.mood == Mood::Keeping && !self.live.is_empty() {
            self.rest(calls);
        }
    }

    fn rest(&mut self, calls: &mut Calls) {
        self.mood = Mood::Resting;
        calls.suppress();
        self.gangs.drain(..).for_each(|gang| calls.cancel_gang(&gang));
        std::mem::take(&mut self.held).into_keys().for_each(|offer| calls.decline(offer, Duration::ZERO));
    }

    /// Offers of one end, or sometimes of several, which is refused.
    fn accept(&mut self, now: Time, mut offers: Vec<Offer>, calls: &mut Calls) {
        let until = offers[0].available_until_ns;
        if self.chance.percent(50) {
            let others = self.held.values().filter(|held| held.available_until_ns == until).take(2);
            let others: Vec<OfferId> = others.map(|offer| offer.id.clone()).collect();
            offers.extend(others.iter().filter_map(|id| self.held.remove(id)));
        }
        let mut tasks = Vec::new();
        for part in offers.iter().flat_map(|offer| &offer.parts) {
            let mut left = part.resources.clone();
            for _ in 0..self.chance.between(0, 3) {
                tasks.extend(self.task(now, part, &mut left, until));
            }
        }
        self.note_executors(&tasks, calls);
        let filters = self.chance.percent(70).then(|| Filters::refuse(self.chance.ms(0, 8000)));
        self.live.extend(tasks.iter().map(|task: &TaskInfo| {
            (task.id.clone(), (task.agent_id.clone(), task.executor.as_ref().map(|executor| executor.id.clone())))
        }));
        calls.accept_with(offers.into_iter().map(|offer| offer.id), tasks, filters);
    }

    /// Who takes over has to know of them: those without a task are in no update.
    fn note_executors(&mut self, tasks: &[TaskInfo], calls: &mut Calls) {
        for task in tasks {
            let Some(executor) = &task.executor else { continue };
            if self.executors.insert((task.agent_id.clone(), executor.id.clone())) {
                let seq = self.number();
                calls.put_state(&format!("{EXECUTOR_KEY}{}/{}", task.agent_id, executor.id), Some(Vec::new()), seq);
            }
        }
    }

    fn restore_executors(&mut self, state: &[StateEntry]) {
        let names = state.iter().filter_map(|entry| entry.key.strip_prefix(EXECUTOR_KEY)?.split_once('/'));
        self.executors.extend(names.map(|(agent, executor)| (AgentId::new(agent), ExecutorId::new(executor))));
    }

    fn task(&mut self, now: Time, part: &OfferPart, left: &mut Resources, until: Option<u64>) -> Option<TaskInfo> {
        let size = Resources::new(self.chance.between(1, 10) as f64 / 10.0, self.chance.between(1, 100) as f64);
        let errs = self.chance.percent(self.habits.errs);
        let executors = if self.mood == Mood::Finite { 0 } else { self.habits.executors };
        let executor = self.chance.percent(executors).then(|| self.executor(part));
        let all = size.clone() + &executor.as_ref().map(|executor| executor.resources.clone()).unwrap_or_default();
        if !errs {
            *left = left.checked_sub(&all).ok()?;
        }
        let size = if errs { size + &part.resources } else { size };
        let program = self.program();
        let id = self.task_id();
        let agent = part.agent_id.clone();
        let mut task = match executor {
            Some(executor) => TaskInfo::executor(id, agent, size, executor, program.command().encode_to_vec()),
            None => TaskInfo::command(id, agent, size, program.command()),
        };
        task.kill_grace_ms = self.chance.percent(70).then(|| self.chance.between(50, 1500));
        let bounded = until.is_some() && self.chance.percent(80);
        if bounded || self.chance.percent(20) {
            let room = until.map_or(10_000, |until| Time(until).since(now).as_millis() as u64);
            task.max_duration_ms = Some(self.chance.between(1, room.max(2)));
        }
        Some(task)
    }

    fn program(&mut self) -> Program {
        Program {
            runs: match self.mood {
                Mood::Keeping => None,
                Mood::Wild if self.chance.percent(8) => None,
                _ => Some(self.chance.wait(5_000, 40_000)),
            },
            code: i32::from(self.chance.percent(15)),
            heeds_term: self.chance.percent(85).then(|| self.chance.ms(0, 800)),
        }
    }

    fn executor(&mut self, part: &OfferPart) -> ExecutorInfo {
        let number = self.chance.between(0, 2);
        ExecutorInfo {
            id: ExecutorId::new(format!("random-{}-{number}", part.hostname)),
            plugin: self.plugin.clone().expect("the runner knows it"),
            resources: Resources::new(0.1, 8.0),
            config: None,
            command: None,
            shutdown_grace_ms: Some(500),
        }
    }

    // ── gangs ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn request_gang(&mut self, calls: &mut Calls) {
        let number = self.number();
        let id = format!("g{}.{number}", self.incarnation);
        let slots = self.chance.between(1, 5) as u32;
        self.gangs.push(id.clone());
        calls.request_gang(GangRequest {
            id,
            slots,
            per_slot: Resources::new(self.chance.between(3, 12) as f64 / 10.0, 32.0),
            per_agent: self.chance.percent(20).then(|| Resources::new(0.1, 8.0)),
            agents: self.chance.percent(30).then(|| self.chance.between(1, slots.into()) as u32),
            within_ms: (self.mood == Mood::Finite || self.chance.percent(50)).then(|| self.chance.between(500, 60_000)),
            max_duration_ms: self.chance.percent(50).then(|| self.chance.between(1_000, 20_000)),
            spread: Some(self.chance.percent(50)),
            ..GangRequest::default()
        });
    }

    fn gang_offered(&mut self, _now: Time, offer: &Offer, calls: &mut Calls) {
        self.gangs.retain(|id| Some(id) != offer.gang_id.as_ref());
        if self.resting() || self.chance.percent(10) {
            return calls.decline(offer.id.clone(), Duration::ZERO);
        }
        let errs = self.chance.percent(25 + self.habits.errs);
        let leaves_out = errs && self.chance.percent(50);
        let mut tasks: Vec<TaskInfo> = Vec::new();
        for part in &offer.parts {
            let program = self.program();
            let mut rest = part.resources.clone();
            let small = Resources::new(0.1, 1.0);
            if let (true, Ok(less)) = (self.chance.percent(50), rest.checked_sub(&small)) {
                rest = less;
                let id = self.task_id();
                tasks.push(TaskInfo::command(id, part.agent_id.clone(), small, program.command()));
            }
            let id = self.task_id();
            tasks.push(TaskInfo::command(id, part.agent_id.clone(), rest, program.command()));
        }
        if leaves_out {
            tasks.pop();
        } else if errs && let Some(last) = tasks.last_mut() {
            last.resources = last.resources.clone() + &Resources::new(100.0, 0.0);
        }
        self.live.extend(tasks.iter().map(|task| (task.id.clone(), (task.agent_id.clone(), None))));
        calls.accept([offer.id.clone()], tasks);
    }

    // ── turns ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn turn(&mut self, now: Time, calls: &mut Calls) {
        if self.resting() {
            return;
        }
        let next = self.chance.ms(200, 2500);
        calls.set_timer(TURN, now + next);
        if self.chance.percent(self.habits.gangs) {
            self.request_gang(calls);
        }
        match self.chance.below(12) {
            0 => calls.revive(),
            1 => calls.suppress(),
            2 | 3 => {
                let tasks: Vec<TaskId> = self.live.keys().cloned().collect();
                if let Some(task) = self.chance.pick(&tasks) {
                    let grace = self.chance.percent(50).then(|| self.chance.ms(0, 1000));
                    calls.kill(task.clone(), grace);
                }
            }
            4 => calls.reconcile(Vec::new()),
            5 => calls.reconcile(self.live.keys().cloned().collect()),
            6 | 7 => {
                let to: Vec<_> = self.live.values().filter_map(|(agent, to)| Some((agent, to.as_ref()?))).collect();
                if let Some((agent, executor)) = self.chance.pick(&to) {
                    let key = ((*agent).clone(), (*executor).clone());
                    let said = self.said.entry(key.clone()).or_default();
                    *said += 1;
                    let words = [self.incarnation.to_be_bytes(), said.to_be_bytes()];
                    calls.message(key.0, key.1, words.concat());
                }
            }
            8 => {
                let seq = self.number();
                let key = format!("k{}", self.chance.below(3));
                calls.put_state(&key, self.chance.percent(80).then(|| seq.to_be_bytes().to_vec()), seq);
            }
            9 => {
                if let Some(gang) = self.gangs.pop() {
                    calls.cancel_gang(&gang);
                }
            }
            10 => {
                if let Some((_, offer)) = self.held.pop_first() {
                    self.accept(now, vec![offer], calls);
                }
            }
            _ => {
                let ending: Vec<_> =
                    self.live.values().filter_map(|(agent, to)| Some((agent.clone(), to.clone()?))).collect();
                if let Some((agent, executor)) = self.chance.pick(&ending).cloned()
                    && self.chance.percent(30)
                {
                    calls.shutdown_executor(agent, executor);
                }
            }
        }
    }

    fn updated(&mut self, status: &mesos_plugin_api::v1::TaskStatus, calls: &mut Calls) {
        if status.state().is_terminal() || status.state() == TaskState::TaskUnknown {
            self.live.remove(&status.task_id);
        } else if let Some(agent) = status.agent_id.clone() {
            self.live.insert(status.task_id.clone(), (agent, status.executor_id.clone()));
        }
        // What it has seen it remembers before the update is acknowledged.
        if self.chance.percent(20) {
            let seq = self.number();
            calls.put_state("seen", Some(seq.to_be_bytes().to_vec()), seq);
        }
    }
}

impl Framework for RandomFramework {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Started(started) => {
                self.name = started.framework.name;
                self.plugin = started.plugin;
                self.restore_executors(&started.state);
                calls.set_timer(TURN, now + Duration::from_millis(500));
                if started.recovered == Some(true) {
                    calls.reconcile(Vec::new());
                }
            }
            Event::Offers(offers) => offers.offers.into_iter().for_each(|offer| self.offered(now, offer, calls)),
            // It forgets to, now and then, and accepts what is no more.
            Event::Rescind(rescind) if !self.chance.percent(self.habits.errs) => {
                self.held.remove(&rescind.offer_id);
            }
            Event::Update(update) => self.updated(&update.status, calls),
            Event::GangStatus(status) if status.refused.is_some() => self.gangs.retain(|id| *id != status.id),
            Event::Timer(_) => self.turn(now, calls),
            Event::Signal(signal) if signal.number == FINITE => {
                self.mood = Mood::Finite;
                self.live.keys().for_each(|task| calls.kill(task.clone(), None));
                for (agent, executor) in std::mem::take(&mut self.executors) {
                    calls.shutdown_executor(agent, executor);
                }
                self.gangs.drain(..).for_each(|gang| calls.cancel_gang(&gang));
            }
            Event::Signal(signal) if signal.number == KEEP => {
                self.mood = Mood::Keeping;
                calls.revive();
            }
            Event::Signal(signal) if signal.number == REST => self.rest(calls),
            Event::Signal(signal) if signal.number == END => calls.finish(0, None),
            _ => {}
        }
    }
}
