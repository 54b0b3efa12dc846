//! Frameworks that were handed to the cluster: their schedulers are tasks of a framework of the master's own, which starts another
//! where one dies.
//!
//! ```text
//! detach ──persisted──▶ Due ──agent──▶ Runs ──its task is over──▶ Waits (backoff) ──▶ Due …
//!                                        └──its framework is torn down──▶ kept with its outcome
//! ```
//!
//! Nothing here hears of single events: once a turn it looks at what should be and at what is, so that a master that takes over
//! does the same as one that saw it all happen. A scheduler that was given up and lives nevertheless is refused by its
//! framework's incarnation.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::exit_status::How;
use mesos_plugin_api::v1::{
    AgentId, CommandInfo, ExitStatus, FrameworkId, FrameworkInfo, Reason, Resources, TaskId, TaskInfo, TaskState,
    TaskStatus, Uri,
};

use super::frameworks::Framework;
use super::recording::Pending;
use super::validation::check_framework;
use super::{Caller, Effect, LinkId, Master, Peer, authorise};
use crate::protocol::operator_reply::Reply;
use crate::protocol::{
    Detach, ForgetFramework, FrameworkState, OperatorReply, PutScheduler, SchedulerRun, SchedulerStart, SchedulerState,
    token,
};
use crate::registry::{Operation, SchedulerRecord};

/// So many schedulers run on one agent. They take none of its resources, as its own processes don't: a scheduler mostly waits, and
/// one that needed a place among the tasks could wait for those that wait for it.
const SCHEDULERS_MAX: usize = 64;
/// The largest configuration of a half that is kept, in bytes: it has to fit a record of the registry.
pub const CONFIG_BYTES_MAX: usize = 256 << 10;
/// Processes of one scheduler that are remembered.
const RUNS_MAX: usize = 16;
/// So many processes that end soon after their start, one after the other, and the framework is given up.
const FAILURES_MAX: u32 = 10;
/// A scheduler that ran so long has started well.
const STARTED_WELL: Duration = Duration::from_secs(60);
/// After the first failure; doubled with each further one up to [`BACKOFF_MAX`].
const BACKOFF: Duration = Duration::from_millis(250);
const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// What a scheduler's process runs: the agent fills in its own program.
const COMMAND: &str = "exec \"$MESOS_PROGRAM\" run-framework --detached \"$MESOS_DETACHED\"";

/// What the master knows of a framework whose scheduler it runs.
#[derive(Debug)]
pub(super) struct Detached {
    pub(super) config: Vec<u8>,
    pub(super) state: SchedulerState,
    phase: Phase,
    /// Processes that ended soon after their start, one after the other.
    failures: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Being recorded.
    New,
    /// To be started from then on.
    Waits(Time),
    /// To be started as soon as an agent can.
    Due,
    /// The last of its runs isn't over, as far as we know.
    Runs,
}

/// Somebody who wants to hear how a framework does.
#[derive(Debug)]
pub(super) struct Watcher {
    framework_id: FrameworkId,
    told: Option<Standing>,
}

/// What watchers are told of.
type Standing = (bool, Option<SchedulerState>, Option<u64>);

/// How a scheduler's process ended.
struct Over {
    why: String,
    /// By itself, and not with its agent.
    failed: bool,
    /// Another process would fail alike.
    hopeless: bool,
}

impl Detached {
    /// As the registry has it.
    pub(super) fn restored(record: SchedulerRecord) -> Self {
        let runs = record.state.runs.last().is_some_and(|run| run.ended.is_none());
        let phase = if runs { Phase::Runs } else { Phase::Due };
        Self { config: record.config, state: record.state, phase, failures: 0 }
    }

    fn backoff(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        if self.failures == 0 { Duration::ZERO } else { (BACKOFF * (1 << doublings)).min(BACKOFF_MAX) }
    }
}

impl Master {
    pub(super) fn detach(
        &mut self,
        now: Time,
        link: LinkId,
        caller: &Caller,
        call: Detach,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        if self.config.embedded {
            return Err("this cluster ends with its command; 'mesos up' starts one that stays".to_string());
        }
        check_framework(&call.framework)?;
        authorise::subscribe(caller, &call.framework)?;
        if call.config.len() > CONFIG_BYTES_MAX {
            let (size, max) = (call.config.len() >> 10, CONFIG_BYTES_MAX >> 10);
            return Err(format!(
                "the job is too large to be handed to the cluster: {size} KB of environment and arguments, at most {max}; \
                 upload what is large as a file"
            ));
        }
        let id = self.admit_framework(now, caller, FrameworkInfo { id: None, ..call.framework })?;
        self.ensure_schedulers(now);
        let state = SchedulerState { framework_id: self.schedulers.clone(), ..SchedulerState::default() };
        let detached = Detached { config: call.config, state, phase: Phase::New, failures: 0 };
        let framework = self.frameworks.get_mut(&id).expect("it was admitted just now");
        (framework.incarnation, framework.detached) = (0, Some(detached));
        self.detached.insert(id.clone());
        self.record_framework(&id, Pending::Nothing, effects);
        self.links.insert(link, Peer::Waiter);
        let put = PutScheduler { config: Some(self.config_of(&id)), ..self.put_scheduler(&id) };
        self.record(Operation::PutScheduler(put), Pending::Detached { link, id }, effects);
        Ok(())
    }

    pub(super) fn detach_recorded(&mut self, link: LinkId, id: &FrameworkId, effects: &mut Vec<Effect>) {
        if let Some(detached) = self.detached_of(id) {
            detached.phase = Phase::Due;
        }
        if let Some(framework) = self.frameworks.get(id).filter(|_| self.links.contains_key(&link)) {
            let reply = OperatorReply { reply: Some(Reply::Framework(self.framework_state(framework))) };
            effects.push(Effect::Reply { link, reply: Ok(reply) });
        }
        self.close(link, effects);
    }

    /// What its scheduler's process has to know.
    pub(super) fn scheduler_start(&self, caller: &Caller, framework: &str) -> Result<Reply, String> {
        let framework = self.find_framework(framework)?;
        authorise::control(caller, framework)?;
        let detached = framework.detached.as_ref().filter(|_| framework.ending.is_none());
        let detached = detached.ok_or_else(|| format!("the cluster runs no scheduler for {}", framework.id))?;
        Ok(Reply::SchedulerStart(SchedulerStart {
            framework: framework.info.clone(),
            config: detached.config.clone(),
            secret: token::framework_secret(&self.config.key, &framework.id),
        }))
    }

    pub(super) fn watch(&mut self, link: LinkId, caller: &Caller, framework: &str) -> Result<(), String> {
        let is_it = |known: &&Framework| known.id.as_str() == framework || known.info.name == framework;
        let ended = self.ended_frameworks.iter().rev().find(is_it);
        let found = self.find_framework(framework).or_else(|problem| ended.ok_or(problem))?;
        authorise::control(caller, found)?;
        if found.detached.is_none() {
            return Err(format!(
                "{} ({}) wasn't started with --detach: its output is where its command runs; 'mesos logs' shows that of its tasks",
                found.id, found.info.name
            ));
        }
        let framework_id = found.id.clone();
        self.links.insert(link, Peer::Waiter);
        self.watchers.insert(link, Watcher { framework_id, told: None });
        Ok(())
    }

    /// A framework that is handed to the cluster has a scheduler that works.
    pub(super) fn scheduler_connected(&mut self, id: &FrameworkId, effects: &mut Vec<Effect>) {
        if let Some(detached) = self.detached_of(id).filter(|detached| !detached.state.confirmed) {
            detached.state.confirmed = true;
            self.record_scheduler(id, effects);
        }
    }

    /// The framework to which a task is accounted: that of a scheduler is its own.
    pub(super) fn accountable(&self, framework: &FrameworkId, task: &TaskId) -> Option<&Framework> {
        let all = || self.frameworks.values().chain(&self.ended_frameworks);
        if *framework != self.schedulers {
            return all().find(|known| known.id == *framework);
        }
        all().find(|known| {
            known.detached.as_ref().is_some_and(|detached| detached.state.runs.iter().any(|run| run.task_id == *task))
        })
    }

    /// Makes what is so what should be so; once a turn.
    pub(super) fn supervise(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let schedulers = self.frameworks.get(&self.schedulers);
        let none_left = schedulers.is_none_or(|schedulers| schedulers.tasks.is_empty());
        if none_left && self.detached.is_empty() && self.watchers.is_empty() {
            return;
        }
        for id in self.detached.clone() {
            self.look_after(now, &id, effects);
        }
        self.kill_what_is_over(effects);
        self.launch_schedulers(now, effects);
        self.tell_watchers(effects);
    }

    pub(super) fn supervision_deadline(&self) -> Option<Time> {
        let waits = |id| match self.frameworks.get(id)?.detached.as_ref()?.phase {
            Phase::Waits(until) => Some(until),
            Phase::New | Phase::Due | Phase::Runs => None,
        };
        self.detached.iter().filter_map(waits).min()
    }

    /// On the agents that have the fewest, rather not where the last one died.
    fn launch_schedulers(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for id in self.due().cloned().collect::<Vec<_>>() {
            let last = self.frameworks[&id].detached.as_ref().and_then(|detached| detached.state.runs.last());
            let Some(agent) = self.place_for_scheduler(last.map(|run| &run.agent_id)) else { return };
            self.launch_scheduler(now, &id, agent, effects);
        }
    }

    fn place_for_scheduler(&self, last: Option<&AgentId>) -> Option<AgentId> {
        let tasks = &self.frameworks.get(&self.schedulers)?.tasks;
        let count = |id: &AgentId| tasks.values().filter(|task| task.info.agent_id == *id).count();
        let usable = self.agents.keys().filter(|id| self.is_offered(id) && !self.losing.contains(*id));
        let counted = usable.map(|id| (Some(id) == last, count(id), id));
        counted.filter(|(_, count, _)| *count < SCHEDULERS_MAX).min().map(|(_, _, id)| id.clone())
    }

    fn launch_scheduler(&mut self, now: Time, id: &FrameworkId, agent_id: AgentId, effects: &mut Vec<Effect>) {
        let hostname = self.agents[&agent_id].info.hostname.clone();
        let detached = self.frameworks[id].detached.as_ref().expect("only such are due");
        let number = detached.state.restarts + 1;
        // No master starts one under an id that another has used.
        let task_id = TaskId::new(format!("{id}.scheduler.{}-{number}", self.config.epoch));
        let task = self.scheduler_task(id, task_id.clone(), agent_id.clone());
        let run = SchedulerRun { task_id, agent_id, hostname, started_ns: now.as_nanos(), ended: None };
        let detached = self.detached_of(id).expect("only such are due");
        detached.phase = Phase::Runs;
        detached.state.runs.push(run);
        if detached.state.runs.len() > RUNS_MAX {
            detached.state.runs.remove(0);
        }
        self.record_scheduler(id, effects);
        self.launch(now, &self.schedulers.clone(), vec![task], None, None, effects);
    }

    fn scheduler_task(&self, id: &FrameworkId, task_id: TaskId, agent_id: AgentId) -> TaskInfo {
        let info = &self.frameworks[id].info;
        let mut command = CommandInfo::shell_line(COMMAND);
        command.user = Some(info.user.clone());
        for (name, value) in [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("MESOS_PROGRAM", ""), ("MESOS_MASTER", "")] {
            command.set_env(name, value);
        }
        command.set_env("MESOS_DETACHED", id.as_str());
        command.set_env("MESOS_TICKET", token::scheduler_ticket(&self.config.key, id, &info.user));
        command.uris.extend(info.plugin.iter().map(|plugin| Uri {
            value: format!("blob:{}", plugin.sha256),
            sha256: Some(plugin.sha256.clone()),
            output_file: Some("plugin.so".to_string()),
            cache: Some(true),
            ..Uri::default()
        }));
        let mut task = TaskInfo::command(task_id, agent_id, Resources::default(), command);
        task.name = format!("scheduler of {}", info.name);
        task
    }

    fn look_after(&mut self, now: Time, id: &FrameworkId, effects: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get(id).filter(|framework| framework.ending.is_none()) else { return };
        let Some(detached) = &framework.detached else { return };
        match detached.phase {
            Phase::Waits(until) if until <= now => {
                self.detached_of(id).expect("it was found above").phase = Phase::Due;
            }
            Phase::Runs => {
                let run = detached.state.runs.last().expect("one that runs was started").clone();
                if let Some(over) = self.over(&run) {
                    self.scheduler_over(now, id, &run, over, effects);
                }
            }
            Phase::New | Phase::Waits(_) | Phase::Due => {}
        }
    }

    /// How a scheduler's process ended, if it did.
    fn over(&self, run: &SchedulerRun) -> Option<Over> {
        let schedulers = self.schedulers.clone();
        if let Some(task) = self.task(&schedulers, &run.task_id) {
            let state = task.status.state();
            return (state.is_terminal() || state == TaskState::TaskUnreachable).then(|| Over::of(&task.status));
        }
        if self.recovering.contains_key(&run.agent_id) {
            return None;
        }
        let is_it = |ended: &&super::EndedTask| ended.framework_id == schedulers && ended.task.info.id == run.task_id;
        let status = self.ended_tasks.iter().rev().find(is_it).map(|ended| &ended.task.status);
        let lost = || Over { why: "its agent was lost".to_string(), failed: false, hopeless: false };
        Some(status.map_or_else(lost, Over::of))
    }

    fn scheduler_over(
        &mut self,
        now: Time,
        id: &FrameworkId,
        run: &SchedulerRun,
        over: Over,
        effects: &mut Vec<Effect>,
    ) {
        let detached = self.detached_of(id).expect("the caller has found it");
        let soon = now.since(Time(run.started_ns)) < STARTED_WELL;
        detached.failures = match (over.failed, soon) {
            (true, true) => detached.failures + 1,
            (true, false) => 1,
            (false, _) => detached.failures,
        };
        detached.state.runs.last_mut().expect("the caller has it").ended = Some(over.why.clone());
        let confirmed = detached.state.confirmed;
        let given_up = (over.hopeless && !confirmed) || detached.failures >= FAILURES_MAX;
        if !given_up {
            detached.state.restarts += 1;
            let backoff = if over.failed { detached.backoff() } else { Duration::ZERO };
            detached.phase = Phase::Waits(now + backoff);
        }
        self.record_scheduler(id, effects);
        if given_up {
            let why = match confirmed {
                true => format!("its scheduler ended {FAILURES_MAX} times, at last: {}", over.why),
                false => format!("its scheduler could not start on {}: {}", run.hostname, over.why),
            };
            let framework = self.frameworks.get_mut(id).expect("it has a scheduler");
            (framework.outcome.exit_code, framework.outcome.message) = (Some(1), Some(why.clone()));
            self.tear_down(now, id, why, effects);
            self.finish_teardown(now, id, effects);
        } else {
            self.look_after(now, id, effects);
        }
    }

    /// Processes whose framework has ended, or has a newer one.
    fn kill_what_is_over(&mut self, effects: &mut Vec<Effect>) {
        let schedulers = self.schedulers.clone();
        let Some(framework) = self.frameworks.get(&schedulers) else { return };
        let last = |id| self.frameworks.get(id)?.detached.as_ref()?.state.runs.last();
        let wanted: BTreeSet<&TaskId> = self.detached.iter().filter_map(last).map(|run| &run.task_id).collect();
        let over = framework.tasks.iter().filter(|(id, task)| !wanted.contains(id) && task.kill_wanted.is_none());
        let over: Vec<TaskId> = over.map(|(id, _)| id.clone()).collect();
        for task in over {
            self.kill_because(&schedulers, &task, Reason::FrameworkRemoved, "its framework needs it no more", effects);
        }
    }

    fn due(&self) -> impl Iterator<Item = &FrameworkId> {
        let is_due = |id: &&FrameworkId| {
            let framework = self.frameworks.get(*id).filter(|framework| framework.ending.is_none());
            framework.and_then(|framework| framework.detached.as_ref()).is_some_and(|state| state.phase == Phase::Due)
        };
        self.detached.iter().filter(is_due)
    }

    fn tell_watchers(&mut self, effects: &mut Vec<Effect>) {
        for (link, mut watcher) in std::mem::take(&mut self.watchers) {
            let id = &watcher.framework_id;
            let ended = self.ended_frameworks.iter().rev().find(|ended| ended.id == *id);
            // How it ended counts once it is kept.
            let keeping = self.persisting.values().any(|pending| pending.keeps(id));
            let Some(framework) = self.frameworks.get(id).or(ended.filter(|_| !keeping)) else {
                if keeping {
                    self.watchers.insert(link, watcher);
                } else {
                    self.close(link, effects);
                }
                continue;
            };
            let state = self.framework_state(framework);
            let standing = (state.connected, state.scheduler.clone(), state.ended_ns);
            if watcher.told.as_ref() != Some(&standing) {
                let reply = OperatorReply { reply: Some(Reply::Framework(state)) };
                effects.push(Effect::Reply { link, reply: Ok(reply) });
                watcher.told = Some(standing.clone());
            }
            if standing.2.is_some() {
                self.close(link, effects);
            } else {
                self.watchers.insert(link, watcher);
            }
        }
    }

    /// The framework of which schedulers are tasks; it has none of its own.
    pub(super) fn ensure_schedulers(&mut self, now: Time) {
        let id = self.schedulers.clone();
        if self.frameworks.contains_key(&id) {
            return;
        }
        let info = FrameworkInfo {
            // No other framework can have that name.
            name: "mesos/schedulers".to_string(),
            user: "mesos".to_string(),
            role: "mesos".to_string(),
            id: Some(id.clone()),
            ..FrameworkInfo::default()
        };
        let framework = Framework::new(id.clone(), info, String::new(), now);
        self.insert_framework(now, Framework { acts_for: None, ..framework });
    }

    /// Frameworks that have ended, as earlier masters have kept them.
    pub(super) fn restore_ended(&mut self, mut ended: Vec<FrameworkState>) {
        ended.sort_by_key(|state| state.ended_ns);
        for state in ended {
            let Some(id) = state.framework.id.clone() else { continue };
            let principal = state.principal.unwrap_or_default();
            let mut framework = Framework::new(id, state.framework, principal, Time(state.registered_ns));
            framework.ended = Some(Time(state.ended_ns.unwrap_or(0)));
            (framework.outcome.exit_code, framework.outcome.message) = (state.exit_code, state.end_message);
            let state = state.scheduler.unwrap_or_default();
            framework.detached = Some(Detached { config: Vec::new(), state, phase: Phase::Runs, failures: 0 });
            self.ended_frameworks.push_back(framework);
        }
    }

    /// One that is shown no more.
    pub(super) fn forget_ended(&mut self, ended: &Framework, effects: &mut Vec<Effect>) {
        if ended.detached.is_some() {
            let forget = ForgetFramework { framework_id: ended.id.clone() };
            self.record(Operation::ForgetFramework(forget), Pending::Nothing, effects);
        }
    }

    fn record_scheduler(&mut self, id: &FrameworkId, effects: &mut Vec<Effect>) {
        let put = self.put_scheduler(id);
        self.record(Operation::PutScheduler(put), Pending::Nothing, effects);
    }

    fn put_scheduler(&self, id: &FrameworkId) -> PutScheduler {
        let detached = self.frameworks[id].detached.as_ref().expect("the caller has found it");
        PutScheduler { framework_id: id.clone(), config: None, scheduler: detached.state.clone() }
    }

    fn config_of(&self, id: &FrameworkId) -> Vec<u8> {
        self.frameworks[id].detached.as_ref().map(|detached| detached.config.clone()).unwrap_or_default()
    }

    fn detached_of(&mut self, id: &FrameworkId) -> Option<&mut Detached> {
        self.frameworks.get_mut(id)?.detached.as_mut()
    }
}

impl Over {
    fn of(status: &TaskStatus) -> Self {
        use TaskState::{TaskError, TaskFailed, TaskFinished, TaskGone, TaskGoneByOperator, TaskLost, TaskUnreachable};
        let state = status.state();
        let message = status.message.clone().filter(|message| !message.is_empty());
        let exit = status.exit.as_ref().map(ToString::to_string);
        let killed = matches!(status.exit, Some(ExitStatus { how: Some(How::Signal(_) | How::Unknown(_)) }));
        Self {
            why: message.or(exit).unwrap_or_else(|| format!("it is {state}")),
            failed: !matches!(state, TaskLost | TaskGone | TaskGoneByOperator | TaskUnreachable)
                && status.reason() != Reason::AgentDraining,
            hopeless: matches!(state, TaskFailed | TaskFinished | TaskError) && !killed,
        }
    }
}
