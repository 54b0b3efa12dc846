//! The framework behind `mesos run`: one command, as often as wanted, wherever there is room.
//!
//! ```text
//! offers ─▶ as many tasks as fit ─▶ live ─▶ ended well ─┐
//!              ▲                     │                   ├─▶ all done: finish with the first failure's code
//!              └─ never started ─────┴─▶ failed ─────────┘
//! ```
//!
//! Each event costs the same however many tasks there are, so that thousands are cheap.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use mesos_plugin_api::framework::{Event, FollowFile, Progress};
use mesos_plugin_api::v1::{
    CommandInfo, Filters, Offer, OfferPart, Reason, Resources, TaskId, TaskInfo, TaskState, TaskStatus,
};
use mesos_plugin_api::{Calls, Framework, KILL_GRACE, Time};
use prost::Message;

/// A task that never started, or was ended because its agent is drained, is tried again at most so often.
const ATTEMPTS_MAX: u32 = 10;
/// The tasks of one call have at most so many bytes; one task alone may have more.
const CALL_BYTES_MAX: usize = 16 << 20;
/// After so long without a task the person in front is told what is waited for.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two moves of the bar.
const BAR_INTERVAL: Duration = Duration::from_millis(100);
/// How long an offer without room is not wanted again.
const REFUSE: Duration = Duration::from_secs(5);
/// Of many tasks those that end sooner are asked for their output at their end, and only if they have written any.
const FOLLOW_AFTER: Duration = Duration::from_millis(100);

const PATIENCE_TIMER: u64 = 1;
const BAR_TIMER: u64 = 2;
const FOLLOW_TIMER: u64 = 3;
const WAITING_BAR: &str = "waiting";
const TASKS_BAR: &str = "tasks";

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Job {
    /// How many tasks; at least 1.
    pub count: u32,
    /// What each of them gets.
    pub each: Resources,
    /// What each of them runs.
    pub command: CommandInfo,
    /// How long each may run.
    pub max_duration: Option<Duration>,
    /// Show what they write.
    pub follow: bool,
    /// Put the task's number before each line.
    pub label: bool,
    /// After so many failures the others are ended; never if missing.
    pub max_fail: Option<u32>,
}

/// The scheduler of one job.
pub struct RunFramework {
    job: Job,
    name: String,
    /// Tasks from this number on were never launched.
    next: u32,
    /// Tasks that are to be launched again, and how often they were.
    again: VecDeque<(u32, u32)>,
    live: BTreeMap<TaskId, Live>,
    /// Those that are to be followed if they still run when they have run for a while, and since when they run.
    to_follow: VecDeque<(Time, TaskId)>,
    ended: u32,
    failed: u32,
    first_failure: Option<Failure>,
    /// Asked to end, by this signal.
    stopped_by: Option<i32>,
    killing: bool,
    suppressed: bool,
    waiting_shown: bool,
    bar_moved: Option<Time>,
}

struct Live {
    index: u32,
    attempt: u32,
    hostname: String,
    output: Output,
    /// It is not known whether it runs.
    unreachable: bool,
}

/// What is done about a task's output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Output {
    /// There can be none yet, or nobody wants it.
    Unseen,
    /// There may be some.
    Waits,
    Followed,
}

struct Failure {
    exit_code: i32,
    line: String,
}

impl RunFramework {
    /// A job that hasn't begun.
    pub fn new(job: Job) -> Self {
        assert!(job.count > 0, "a job without tasks has no end");
        Self {
            job,
            name: String::new(),
            next: 0,
            again: VecDeque::new(),
            live: BTreeMap::new(),
            to_follow: VecDeque::new(),
            ended: 0,
            failed: 0,
            first_failure: None,
            stopped_by: None,
            killing: false,
            suppressed: false,
            waiting_shown: false,
            bar_moved: None,
        }
    }

    fn waiting(&self) -> bool {
        !self.killing && (self.next < self.job.count || !self.again.is_empty())
    }

    fn offered(&mut self, now: Time, offer: &Offer, calls: &mut Calls) {
        let mut tasks = Vec::new();
        let mut full = false;
        if self.in_time(now, offer) {
            let tasks_max = (CALL_BYTES_MAX / self.job.command.encoded_len().max(1)).max(1);
            for part in &offer.parts {
                let fit = part.resources.times(&self.job.each) as usize;
                let room = fit.min(tasks_max - tasks.len());
                full |= room < fit;
                for _ in 0..room {
                    match self.next_task(part) {
                        Some(task) => tasks.push(task),
                        None => break,
                    }
                }
            }
        }
        if tasks.is_empty() {
            return calls.decline(offer.id.clone(), REFUSE);
        }
        // What is left of a full call is wanted at once, for the next one.
        let refuse = if full && self.waiting() { Duration::ZERO } else { REFUSE };
        calls.accept_with([offer.id.clone()], tasks, Some(Filters::refuse(refuse)));
        self.move_bar(now, calls);
    }

    /// What is held for a gang takes only tasks that end before it begins.
    fn in_time(&self, now: Time, offer: &Offer) -> bool {
        offer.has_time_for(now, self.job.max_duration.map(|max| max.saturating_add(KILL_GRACE)))
    }

    fn next_task(&mut self, part: &OfferPart) -> Option<TaskInfo> {
        if !self.waiting() {
            return None;
        }
        let (index, attempt) = self.again.pop_front().unwrap_or_else(|| {
            self.next += 1;
            (self.next - 1, 1)
        });
        let id = match attempt {
            1 => TaskId::new(format!("{}.{index}", self.name)),
            _ => TaskId::new(format!("{}.{index}-{attempt}", self.name)),
        };
        let live = Live { index, attempt, hostname: part.hostname.clone(), output: Output::Unseen, unreachable: false };
        self.live.insert(id.clone(), live);
        let mut command = self.job.command.clone();
        if self.job.count > 1 {
            command.set_env("MESOS_RUN_INDEX", index.to_string());
            command.set_env("MESOS_RUN_COUNT", self.job.count.to_string());
        }
        let mut task = TaskInfo::command(id, part.agent_id.clone(), self.job.each.clone(), command);
        task.max_duration_ms = self.job.max_duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        Some(task)
    }

    fn updated(&mut self, now: Time, status: &TaskStatus, calls: &mut Calls) {
        // Seen before, and ended then.
        let Some(live) = self.live.get_mut(&status.task_id) else { return };
        let state = status.state();
        let unreachable = state == TaskState::TaskUnreachable;
        let newly_unreachable = unreachable && !live.unreachable;
        live.unreachable = unreachable;
        let ran = state == TaskState::TaskRunning || status.exit.is_some();
        if ran && self.job.follow && live.output == Output::Unseen {
            live.output = Output::Waits;
            self.await_output(now, &status.task_id, calls);
        }
        if state == TaskState::TaskRunning && std::mem::take(&mut self.waiting_shown) {
            calls.progress(Progress { id: WAITING_BAR.into(), end: Some(true), ..Progress::default() });
        }
        // It may run on where nobody sees it. Whoever wants to end doesn't wait for it; it ends when it is seen again.
        if newly_unreachable && !self.killing {
            let why = why(status);
            calls.stderr(format!("mesos: task {} may still run: {why}; waiting for its end\n", status.task_id));
        }
        // A master that doesn't know the task any more won't say anything else of it.
        if (unreachable && self.killing) || state.is_terminal() || state == TaskState::TaskUnknown {
            self.ended(now, status, calls);
        }
    }

    /// One task alone is followed at once. Of many, most may be over before they could be.
    fn await_output(&mut self, now: Time, task: &TaskId, calls: &mut Calls) {
        if self.job.count == 1 {
            return self.follow(task, calls);
        }
        if self.to_follow.is_empty() {
            calls.set_timer(FOLLOW_TIMER, now + FOLLOW_AFTER);
        }
        self.to_follow.push_back((now, task.clone()));
    }

    fn follow_those_that_run_on(&mut self, now: Time, calls: &mut Calls) {
        while let Some((since, _)) = self.to_follow.front() {
            if *since + FOLLOW_AFTER > now {
                return calls.set_timer(FOLLOW_TIMER, *since + FOLLOW_AFTER);
            }
            let (_, task) = self.to_follow.pop_front().expect("it has a front");
            self.follow(&task, calls);
        }
    }

    /// Unless it has ended, when this was done if it had to be.
    fn follow(&mut self, task: &TaskId, calls: &mut Calls) {
        let Some(live) = self.live.get_mut(task).filter(|live| live.output == Output::Waits) else { return };
        live.output = Output::Followed;
        let label = self.job.label.then(|| format!("{}: ", live.index));
        let file = |path: &str, stderr: Option<bool>| FollowFile {
            path: path.to_string(),
            stderr,
            label: label.clone(),
            to_file: None,
        };
        calls.follow(task.clone(), vec![file("stdout", None), file("stderr", Some(true))]);
    }

    fn ended(&mut self, now: Time, status: &TaskStatus, calls: &mut Calls) {
        if status.output_bytes != Some(0) {
            self.follow(&status.task_id, calls);
        }
        let live = self.live.remove(&status.task_id).expect("the caller has seen it");
        let never_started = status.state() == TaskState::TaskDropped;
        let drained = status.state() == TaskState::TaskKilled && status.reason() == Reason::AgentDraining;
        match status.state() {
            _ if self.killing && self.failed_by_us(status) => {}
            TaskState::TaskFinished => self.ended += 1,
            _ if (never_started || drained) && live.attempt < ATTEMPTS_MAX && !self.killing => {
                if drained {
                    let (id, why) = (&status.task_id, why(status));
                    calls.stderr(format!("mesos: task {id} was ended and starts again elsewhere: {why}\n"));
                }
                self.again.push_back((live.index, live.attempt + 1));
                if std::mem::take(&mut self.suppressed) {
                    calls.revive();
                }
            }
            _ => self.fail(status, &live, calls),
        }
        self.move_bar(now, calls);
    }

    /// Ended because we said so: nothing that has to be told.
    fn failed_by_us(&self, status: &TaskStatus) -> bool {
        matches!(status.state(), TaskState::TaskKilled | TaskState::TaskDropped | TaskState::TaskUnreachable)
    }

    fn fail(&mut self, status: &TaskStatus, live: &Live, calls: &mut Calls) {
        self.ended += 1;
        self.failed += 1;
        if self.first_failure.is_none() {
            let exit_code = status.shell_code();
            // A task that was killed may have ended well; it failed nevertheless.
            let exit_code = if exit_code == 0 { 1 } else { exit_code };
            let line = format!("task {} on {}: {}", status.task_id, live.hostname, why(status));
            if self.job.count > 1 {
                calls.stderr(format!("mesos: {line}\n"));
            }
            self.first_failure = Some(Failure { exit_code, line });
        }
        if self.job.max_fail.is_some_and(|most| self.failed >= most) {
            self.kill_all(None, calls);
        }
    }

    fn signalled(&mut self, number: i32, calls: &mut Calls) {
        const FOR_AN_END: [i32; 3] = [1, 2, 15];
        if !FOR_AN_END.contains(&number) {
            return;
        }
        let grace = self.stopped_by.map(|_| Duration::ZERO);
        self.stopped_by.get_or_insert(number);
        self.kill_all(grace, calls);
    }

    fn kill_all(&mut self, grace: Option<Duration>, calls: &mut Calls) {
        self.killing = true;
        self.live.keys().for_each(|task| calls.kill(task.clone(), grace));
        self.live.retain(|_, live| !live.unreachable);
    }

    /// Wants no more offers once all is launched, and ends with the last task.
    fn settle(&mut self, calls: &mut Calls) {
        if !self.waiting() && !std::mem::replace(&mut self.suppressed, true) {
            calls.suppress();
        }
        if self.waiting() || !self.live.is_empty() {
            return;
        }
        let failure = self.first_failure.as_ref();
        let (code, line) = match (self.stopped_by, failure) {
            (Some(signal), _) => (128 + signal, None),
            (None, None) => (0, None),
            (None, Some(failure)) if self.job.count == 1 => (failure.exit_code, Some(failure.line.clone())),
            (None, Some(failure)) => (failure.exit_code, Some(self.summary())),
        };
        calls.finish(code, line);
    }

    fn summary(&self) -> String {
        let left_out = self.job.count - self.ended;
        let ended_early = if left_out > 0 { format!(", {left_out} were ended or left out") } else { String::new() };
        format!("{} of {} tasks failed{ended_early}", self.failed, self.job.count)
    }

    fn patience_ended(&mut self, calls: &mut Calls) {
        if self.live.is_empty() && self.waiting() {
            self.waiting_shown = true;
            let message = Some(format!("waiting for an agent with {} free", self.job.each));
            calls.progress(Progress { id: WAITING_BAR.into(), message, ..Progress::default() });
        }
    }

    /// Moves the bar, or sees to it that it moves soon: a thousand ends a second are no thousand drawings.
    fn move_bar(&mut self, now: Time, calls: &mut Calls) {
        if self.job.count == 1 {
            return;
        }
        match self.bar_moved {
            Some(moved) if now.since(moved) < BAR_INTERVAL => calls.set_timer(BAR_TIMER, moved + BAR_INTERVAL),
            _ => {
                self.bar_moved = Some(now);
                let failed = if self.failed > 0 { format!(", {} failed", self.failed) } else { String::new() };
                calls.progress(Progress {
                    id: TASKS_BAR.into(),
                    message: Some(format!("tasks done, {} at work{failed}", self.live.len())),
                    done: Some(self.ended.into()),
                    total: Some(self.job.count.into()),
                    end: None,
                });
            }
        }
    }
}

impl Framework for RunFramework {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Started(started) => self.name = started.framework.name,
            Event::Connected(_) if self.next == 0 => calls.set_timer(PATIENCE_TIMER, now + PATIENCE),
            Event::Offers(offers) => {
                offers.offers.iter().for_each(|offer| self.offered(now, offer, calls));
                self.settle(calls);
            }
            Event::Update(update) => {
                self.updated(now, &update.status, calls);
                self.settle(calls);
            }
            Event::Signal(signal) => {
                self.signalled(signal.number, calls);
                self.settle(calls);
            }
            Event::Timer(timer) if timer.id == PATIENCE_TIMER => self.patience_ended(calls),
            Event::Timer(timer) if timer.id == BAR_TIMER => self.move_bar(now, calls),
            Event::Timer(timer) if timer.id == FOLLOW_TIMER => self.follow_those_that_run_on(now, calls),
            // They run on as long as they may.
            Event::InverseOffers(offers) => {
                offers.inverse_offers.into_iter().for_each(|offer| calls.decline_inverse_offer(offer.id));
            }
            // The runner says a fatal one itself.
            Event::Error(error) if error.fatal != Some(true) => calls.stderr(format!("mesos: {}\n", error.message)),
            _ => {}
        }
    }
}

/// Why a task failed, for people.
fn why(status: &TaskStatus) -> String {
    let exit = status.exit.as_ref().map(ToString::to_string);
    let message = status.message.clone().filter(|message| !message.is_empty());
    match (status.reason(), message, exit) {
        (Reason::CommandExited, _, Some(exit)) => exit,
        (_, Some(message), _) => message,
        (_, None, Some(exit)) => exit,
        (_, None, None) => format!("it is {}", status.state()),
    }
}
