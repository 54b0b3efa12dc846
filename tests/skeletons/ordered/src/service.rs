//! The executor half of one service: its task runs when the process says that it is ready, and is drained when it is killed.

use mesos_plugin_api::executor::Event;
use mesos_plugin_api::prelude::{CommandInfo, Executor, ExecutorCalls, TaskState, TaskStatus, Time};
use mesos_plugin_api::v1::TaskId;
use mesos_plugin_api::v1::executor::{Pipe, Spawn};

const PROCESS: u64 = 1;
const TO: u32 = 0;
const FROM: u32 = 1;

/// Says how often it was here before, writes what it does onto its volume, and ends when it is told to.
const SCRIPT: &str = r#"
before=$(wc -l < data/log 2>/dev/null || echo 0)
echo "up on $2" >> data/log
echo "ready on port $2 with $before lines of $1"
while read word; do
  case $word in drain) echo "drained" >> data/log; echo "drained with $(wc -l < data/log) lines"; exit 0;; esac
done
"#;

/// See the module.
#[derive(Default)]
pub(crate) struct Service {
    task: Option<TaskId>,
    said: String,
    killed: bool,
}

impl Executor for Service {
    fn on_event(&mut self, _: Time, event: Event, calls: &mut ExecutorCalls) {
        match event {
            Event::Launch(launch) => {
                calls.update_state(&launch.task.id, TaskState::TaskStarting);
                let name_and_port = String::from_utf8_lossy(launch.task.data()).into_owned();
                self.task = Some(launch.task.id);
                let argv = ["/bin/sh", "-c", SCRIPT, "service"].map(str::to_string).into_iter();
                let command = CommandInfo::argv(argv.chain(name_and_port.split(' ').map(str::to_string)));
                let pipe = |stream| Pipe { stream, fd: Some(stream), env: None };
                let (stdout, stderr) = (None, Some("stderr".to_string()));
                calls.spawn(Spawn { process: PROCESS, command, stdout, stderr, pipes: vec![pipe(TO), pipe(FROM)] });
            }
            Event::StreamData(piece) if piece.stream == FROM => self.hear(&piece.data, calls),
            Event::Kill(_) => {
                self.killed = true;
                calls.write(PROCESS, TO, b"drain\n".to_vec());
            }
            Event::ProcessExited(exited) => {
                let state = match (self.killed, exited.exit.success()) {
                    (true, true) => TaskState::TaskKilled,
                    _ => TaskState::TaskFailed,
                };
                self.tell(state, calls);
            }
            Event::ProcessFailed(failed) => {
                self.said = failed.message;
                self.tell(TaskState::TaskFailed, calls);
            }
            Event::Shutdown(_) => calls.exit(None),
            _ => {}
        }
    }
}

impl Service {
    fn hear(&mut self, data: &[u8], calls: &mut ExecutorCalls) {
        for line in String::from_utf8_lossy(data).lines() {
            self.said = line.to_string();
            if line.starts_with("ready") {
                self.tell(TaskState::TaskRunning, calls);
            }
        }
    }

    /// With what the process said last.
    fn tell(&self, state: TaskState, calls: &mut ExecutorCalls) {
        let Some(task) = self.task.clone() else { return };
        calls.update(TaskStatus { message: Some(self.said.clone()), ..TaskStatus::new(task, state) });
    }
}
