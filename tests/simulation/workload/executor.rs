//! The executor halves: the real one of mpi, and one that does what its tasks' data says and answers every message.

use std::collections::BTreeMap;

use mesos_mpi_core::NodeExecutor;
use mesos_plugin_api::executor::Event;
use mesos_plugin_api::v1::{ExecutorInfo, TaskId, TaskState};
use mesos_plugin_api::{Executor, ExecutorCalls, Time};

use super::program::Program;
use crate::chance::Chance;

/// An executor half.
pub enum Half {
    /// Of the random framework.
    Random(RandomExecutor),
    /// Of the mpi plugin.
    Mpi(Box<NodeExecutor>),
}

impl Half {
    /// The one that this executor's plugin has.
    pub fn new(info: &ExecutorInfo, chance: Chance) -> Self {
        match info.plugin.name.as_str() {
            "mpi" => Self::Mpi(Box::new(NodeExecutor::new(info.config()).expect("its framework made the config"))),
            _ => Self::Random(RandomExecutor::new(chance)),
        }
    }

    /// Gives it an event.
    pub fn on_event(&mut self, now: Time, event: Event, calls: &mut ExecutorCalls) {
        match self {
            Self::Random(half) => half.on_event(now, event, calls),
            Self::Mpi(half) => half.on_event(now, event, calls),
        }
    }
}

/// Runs its tasks within itself.
pub struct RandomExecutor {
    chance: Chance,
    tasks: BTreeMap<u64, (TaskId, Program)>,
    timer_last: u64,
    said: u64,
}

impl RandomExecutor {
    fn new(chance: Chance) -> Self {
        Self { chance, tasks: BTreeMap::new(), timer_last: 0, said: 0 }
    }

    fn say(&mut self, calls: &mut ExecutorCalls) {
        self.said += 1;
        calls.message(self.said.to_be_bytes().to_vec());
    }

    fn end(&mut self, timer: u64, state: TaskState, calls: &mut ExecutorCalls) {
        if let Some((task, _)) = self.tasks.remove(&timer) {
            calls.cancel_timer(timer);
            calls.update_state(&task, state);
        }
    }
}

impl Executor for RandomExecutor {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut ExecutorCalls) {
        match event {
            Event::Launch(launch) => {
                self.timer_last += 1;
                let program = Program::of(&super::random::command_of(launch.task.data()));
                calls.update_state(&launch.task.id, TaskState::TaskRunning);
                if let Some(runs) = program.runs {
                    calls.set_timer(self.timer_last, now + runs);
                }
                self.tasks.insert(self.timer_last, (launch.task.id, program));
                if self.chance.percent(50) {
                    self.say(calls);
                }
            }
            Event::Timer(timer) => {
                let failed = self.tasks.get(&timer.id).is_some_and(|(_, program)| program.code != 0);
                let state = if failed { TaskState::TaskFailed } else { TaskState::TaskFinished };
                self.end(timer.id, state, calls);
                if self.chance.percent(5) {
                    calls.exit(Some("it gave up".into()));
                }
            }
            Event::Message(_) => self.say(calls),
            Event::Kill(kill) => {
                let timer = self.tasks.iter().find(|(_, (task, _))| *task == kill.task_id).map(|(timer, _)| *timer);
                // One that doesn't listen is killed with its executor when its time is over.
                if let Some(timer) = timer
                    && (self.chance.percent(90) || kill.grace_ms() < 100)
                {
                    calls.update_state(&kill.task_id, TaskState::TaskKilling);
                    self.end(timer, TaskState::TaskKilled, calls);
                }
            }
            Event::Shutdown(_) => {
                self.tasks.keys().copied().collect::<Vec<_>>().into_iter().for_each(|timer| {
                    self.end(timer, TaskState::TaskKilled, calls);
                });
                calls.exit(None);
            }
            _ => {}
        }
    }
}
