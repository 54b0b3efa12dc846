//! The executor half: relays its machine's applications to the scheduler, and runs in a container what its application says.

use std::collections::BTreeMap;

use mesos_plugin_api::executor::Event;
use mesos_plugin_api::prelude::{CommandInfo, Executor, ExecutorCalls, TaskState, TaskStatus, Time};
use mesos_plugin_api::v1::TaskId;
use mesos_plugin_api::v1::executor::Spawn;

use crate::Line;

const SIGKILL: i32 = 9;

/// See the module.
#[derive(Default)]
pub(crate) struct Machine {
    /// Allocated, and what runs in them.
    containers: BTreeMap<TaskId, Option<Process>>,
    last_process: u64,
}

struct Process {
    number: u64,
    /// Who is told of its end.
    connection: u64,
}

impl Executor for Machine {
    fn on_event(&mut self, _: Time, event: Event, calls: &mut ExecutorCalls) {
        match event {
            // It runs when its application has said what.
            Event::Launch(launch) if launch.task.id.as_str().starts_with("c-") => {
                calls.update_state(&launch.task.id, TaskState::TaskStarting);
                self.containers.insert(launch.task.id, None);
            }
            Event::Launch(launch) => calls.update_state(&launch.task.id, TaskState::TaskRunning),
            Event::Injected(injected) => self.said(Line::decode(&injected.data), calls),
            Event::Message(message) => calls.to_shell(message.data),
            Event::ProcessStarted(started) => {
                if let Some((task, _)) = self.running(started.process) {
                    calls.update_state(&task, TaskState::TaskRunning);
                }
            }
            Event::ProcessExited(exited) => {
                let Some((task, connection)) = self.running(exited.process) else { return };
                let ended = if exited.exit.success() { TaskState::TaskFinished } else { TaskState::TaskFailed };
                calls.to_shell(Line::encode(connection, format!("exit {task} {}", exited.exit.shell_code())));
                self.containers.remove(&task);
                calls.update(TaskStatus { exit: Some(exited.exit), ..TaskStatus::new(task, ended) });
            }
            Event::ProcessFailed(failed) => {
                let Some((task, connection)) = self.running(failed.process) else { return };
                calls.to_shell(Line::encode(connection, format!("exit {task} 127 {}", failed.message)));
                self.containers.remove(&task);
                calls.update_state(&task, TaskState::TaskFailed);
            }
            Event::Kill(kill) => match self.containers.get(&kill.task_id) {
                Some(Some(process)) => calls.signal_group(process.number, SIGKILL),
                _ => {
                    self.containers.remove(&kill.task_id);
                    calls.update_state(&kill.task_id, TaskState::TaskKilled);
                }
            },
            Event::Shutdown(_) => calls.exit(None),
            _ => {}
        }
    }
}

impl Machine {
    /// An application on this machine.
    fn said(&mut self, line: Line, calls: &mut ExecutorCalls) {
        let Some(("run", rest)) = line.text.split_once(' ') else {
            return calls.message(Line::encode(line.connection, line.text));
        };
        let (id, command) = rest.split_once(' ').unwrap_or((rest, "true"));
        let Some(free @ None) = self.containers.get_mut(&TaskId::from(id)) else {
            return calls
                .to_shell(Line::encode(line.connection, format!("error {id} is no container that waits here")));
        };
        self.last_process += 1;
        *free = Some(Process { number: self.last_process, connection: line.connection });
        let command = CommandInfo::shell_line(command);
        let [stdout, stderr] = ["out", "err"].map(|end| Some(format!("{id}.{end}")));
        calls.spawn(Spawn { process: self.last_process, command, stdout, stderr, pipes: Vec::new() });
    }

    fn running(&self, process: u64) -> Option<(TaskId, u64)> {
        let mut containers = self.containers.iter();
        containers.find_map(|(task, running)| {
            running.as_ref().filter(|running| running.number == process).map(|it| (task.clone(), it.connection))
        })
    }
}
