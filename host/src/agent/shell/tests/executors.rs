//! Executors: their process, its plugin half (one of these tests' own), and what is said between them and their scheduler.

use std::path::Path;

use mesos_plugin_api::v1::executor::{
    AnswerKnock, Message, Pipe, SetTimer, SignalProcess, Spawn, UpdateTask, Write, call::Call, event::Event,
};
use mesos_plugin_api::v1::{
    CommandInfo, ExecutorInfo, ExitStatus, PluginRef, Reason, Resources, TaskId, TaskInfo, TaskState, TaskStatus,
    scheduler,
};
use mesos_plugin_api::{Injector, Time};
use sha2::{Digest, Sha256};

use super::env::{TestEnv, agent, framework_id};
use crate::executor::Half;
use crate::hex::hex;
use crate::protocol::{
    ExecutorMessage, ExecutorMessageAcknowledge, ShutdownExecutor, ShutdownFramework, agent_call, agent_event,
};

/// Stands in for a plugin's: a file with the right words is one.
pub(super) fn half(plugin: &Path, config: &[u8], injector: Injector) -> Result<Box<dyn Half>, String> {
    match std::fs::read(plugin).map_err(|error| error.to_string())?.as_slice() {
        b"plugin" => Ok(Box::new(TestHalf {
            config: config.to_vec(),
            injector,
            tasks: Vec::new(),
            heard: Vec::new(),
            written: Vec::new(),
        })),
        _ => Err("not a plugin".into()),
    }
}

struct TestHalf {
    config: Vec<u8>,
    injector: Injector,
    /// The number of a task is the number of its process.
    tasks: Vec<TaskId>,
    heard: Vec<Vec<u8>>,
    written: Vec<u64>,
}

impl Half for TestHalf {
    fn handle(&mut self, now: Time, event: Event) -> Result<Vec<Call>, String> {
        Ok(match event {
            Event::Started(started) => {
                let program = started.knock_program.expect("a program");
                let text = format!("started with {} {program}", String::from_utf8_lossy(&self.config));
                vec![message(text.as_bytes())]
            }
            Event::Launch(launch) => return self.launch(launch.task),
            Event::ProcessStarted(started) => vec![self.update(started.process, TaskState::TaskRunning, None)],
            Event::StreamData(data) if data.stream == 0 => Vec::new(),
            Event::StreamData(data) => {
                self.heard[data.process as usize].extend(data.data);
                Vec::new()
            }
            Event::ProcessFailed(failed) => {
                vec![self.update(failed.process, TaskState::TaskFailed, Some(&failed.message))]
            }
            Event::ProcessExited(exited) => {
                let heard = String::from_utf8_lossy(&self.heard[exited.process as usize]).into_owned();
                let state = if exited.exit.success() { TaskState::TaskFinished } else { TaskState::TaskFailed };
                vec![self.update(exited.process, state, Some(&heard))]
            }
            Event::Kill(kill) => {
                let process = self.tasks.iter().position(|task| *task == kill.task_id).expect("a task") as u64;
                vec![Call::SignalProcess(SignalProcess { process, signal: 15, group: Some(true) })]
            }
            Event::Message(said) => self.on_message(now, &said.data)?,
            Event::Timer(timer) => vec![message(format!("timer {}", timer.id).as_bytes())],
            Event::Injected(injected) => vec![message(&injected.data)],
            Event::Knock(knock) => {
                let words: Vec<_> = knock.argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
                let message = Some(format!("heard {}", words.join(" ")));
                vec![Call::AnswerKnock(AnswerKnock { knock: knock.knock, exit_code: 7, message })]
            }
            Event::KnockClosed(_) => Vec::new(),
            Event::Written(written) => {
                self.written[written.process as usize] += written.bytes;
                Vec::new()
            }
            Event::Shutdown(_) => vec![message(b"bye"), Call::Exit(Default::default())],
        })
    }
}

impl TestHalf {
    /// What is on stream 3 is echoed as the message of the last state.
    fn launch(&mut self, task: TaskInfo) -> Result<Vec<Call>, String> {
        let process = self.tasks.len() as u64;
        self.tasks.push(task.id.clone());
        self.heard.push(Vec::new());
        self.written.push(0);
        let line = String::from_utf8_lossy(task.data()).into_owned();
        if line == "panic" {
            return Err("the plugin panicked: oh no".into());
        }
        let spawn = Spawn {
            process,
            command: CommandInfo::shell_line(line).with_env("PATH", "/usr/local/bin:/usr/bin:/bin"),
            stdout: Some(format!("{}.out", task.id)),
            stderr: Some(format!("{}.err", task.id)),
            pipes: vec![
                Pipe { stream: 0, fd: Some(0), env: None },
                Pipe { stream: 3, fd: None, env: Some("PMI_FD".into()) },
            ],
        };
        let hello = Write { process, stream: 0, data: b"hello\n".to_vec() };
        Ok(vec![Call::Spawn(spawn), Call::Write(hello)])
    }

    fn update(&self, process: u64, state: TaskState, text: Option<&str>) -> Call {
        let mut status = TaskStatus::new(self.tasks[process as usize].clone(), state);
        status.message = text.map(str::to_string);
        Call::UpdateTask(UpdateTask { status })
    }

    fn on_message(&mut self, now: Time, data: &[u8]) -> Result<Vec<Call>, String> {
        Ok(match data {
            b"timer" => vec![Call::SetTimer(SetTimer { id: 5, at_ns: now.as_nanos() + 1_000_000 })],
            b"written" => vec![message(format!("written {:?}", self.written).as_bytes())],
            b"inject" => {
                let injector = self.injector.clone();
                std::thread::spawn(move || injector.inject(b"injected".to_vec()));
                Vec::new()
            }
            b"die" => return Err("the plugin panicked: oh no".into()),
            data => vec![message(&[b"echo ", data].concat())],
        })
    }
}

fn message(data: &[u8]) -> Call {
    Call::Message(Message { data: data.to_vec() })
}

impl TestEnv {
    fn executor(&self, content: &[u8]) -> ExecutorInfo {
        let sha256 = hex(&Sha256::digest(content));
        let mut upload = self.blobs.upload(&sha256).expect("a folder");
        upload.write(content).expect("room");
        upload.finish().expect("the right hash");
        let (name, version, size) = ("test".into(), "1.0.0".into(), content.len() as u64);
        ExecutorInfo {
            id: "e".into(),
            plugin: PluginRef { name, version, sha256, size },
            resources: Resources::new(0.1, 16.0),
            config: Some(b"config".to_vec()),
            command: None,
            shutdown_grace_ms: Some(5000),
        }
    }

    fn task(&self, id: &str, line: &str) -> TaskInfo {
        let executor = self.executor(b"plugin");
        TaskInfo::executor(id, agent(), Resources::new(0.1, 16.0), executor, line.into())
    }

    /// The next message of the executor, acknowledged.
    async fn heard(&mut self) -> String {
        let message = self.take(|call| match call {
            agent_call::Call::Message(message) => Some(message.message.clone()),
            _ => None,
        });
        let message = message.await;
        let (framework_id, executor_id) = (framework_id(), "e".into());
        let seq = message.seq.expect("a number");
        let acknowledge = scheduler::MessageAcknowledge { agent_id: agent(), executor_id, seq, incarnation: None };
        let acknowledge = ExecutorMessageAcknowledge { framework_id, acknowledge };
        self.tell(agent_event::Event::MessageAcknowledge(acknowledge)).await;
        String::from_utf8(message.data).expect("text")
    }

    async fn say(&mut self, seq: u64, text: &str) {
        let (agent_id, executor_id) = (agent(), "e".into());
        let message =
            scheduler::Message { agent_id, executor_id, data: text.into(), seq: Some(seq), ..Default::default() };
        self.tell(agent_event::Event::Message(ExecutorMessage { framework_id: framework_id(), message })).await;
    }

    async fn acknowledged(&mut self) -> u64 {
        self.take(|call| match call {
            agent_call::Call::MessageAcknowledge(acknowledge) => Some(acknowledge.acknowledge.seq),
            _ => None,
        })
        .await
    }

    async fn executor_ended(&mut self) -> (Option<ExitStatus>, String) {
        self.take(|call| match call {
            agent_call::Call::ExecutorEnded(ended) => Some((ended.exit, ended.message().to_string())),
            _ => None,
        })
        .await
    }

    async fn shut_down(&mut self) {
        let shutdown = ShutdownExecutor { framework_id: framework_id(), executor_id: "e".into() };
        self.tell(agent_event::Event::ShutdownExecutor(shutdown)).await;
    }
}

#[tokio::test]
async fn an_executor_runs_tasks_with_pipes() {
    let mut env = TestEnv::new().await;
    let line = "read word; echo got $word; echo $word over $PMI_FD >&$PMI_FD; echo err >&2";
    env.run(vec![env.task("t", line), env.task("u", "exit 3")]).await;
    let (states, end) = env.states("t").await;
    assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskFinished]);
    assert_eq!(end.message(), "hello over 3\n");
    assert_eq!(env.states("u").await.1.state(), TaskState::TaskFailed);
    let started = env.heard().await;
    assert!(started.starts_with("started with config /"), "{started}");
    env.say(1, "written").await;
    assert_eq!(env.heard().await, "written [6, 6]");
    let output = std::fs::read_to_string(env.sandbox("t").join("t.out")).unwrap();
    assert_eq!(output, "got hello\n", "found by the task's name");
    env.shut_down().await;
    assert_eq!(env.heard().await, "bye");
    assert_eq!(env.executor_ended().await.0, Some(ExitStatus::code(0)));
    env.stop().await;
}

#[tokio::test]
async fn messages_go_both_ways_once_and_in_order() {
    let mut env = TestEnv::new().await;
    env.run(vec![env.task("t", "sleep 100")]).await;
    for (seq, text) in [(1, "one"), (2, "two"), (2, "two"), (1, "one"), (4, "gap"), (3, "three")] {
        env.say(seq, text).await;
    }
    env.heard().await;
    for text in ["echo one", "echo two", "echo three"] {
        assert_eq!(env.heard().await, text);
    }
    while env.acknowledged().await < 3 {}
    env.say(4, "timer").await;
    assert_eq!(env.heard().await, "timer 5");
    env.say(5, "inject").await;
    assert_eq!(env.heard().await, "injected");
    env.stop().await;
}

#[tokio::test]
async fn a_process_knocks_and_ends_with_the_answer() {
    let mut env = TestEnv::new().await;
    let line = "$(dirname $MESOS_KNOCK)/mesos-knock some words; echo $? >&$PMI_FD";
    env.run(vec![env.task("t", line)]).await;
    let (_, end) = env.states("t").await;
    let said = std::fs::read_to_string(env.sandbox("t").join("t.err")).unwrap();
    assert_eq!((end.message(), said.as_str()), ("7\n", "heard some words\n"));
    env.stop().await;
}

#[tokio::test]
async fn tasks_of_an_executor_whose_plugin_dies_fail_with_its_last_line() {
    let mut env = TestEnv::new().await;
    env.run(vec![env.task("t", "sleep 100")]).await;
    assert_eq!(env.update("t").await.state(), TaskState::TaskRunning);
    env.say(1, "die").await;
    let end = env.update("t").await;
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::ExecutorTerminated));
    assert!(end.message().ends_with("exit code 1: the plugin panicked: oh no"), "{}", end.message());
    env.heard().await;
    assert!(env.executor_ended().await.1.contains("oh no"));
    env.stop().await;
}

#[tokio::test]
async fn a_plugin_that_is_none_or_not_there_fails_its_tasks() {
    let mut env = TestEnv::new().await;
    let mut task = env.task("t", "true");
    task.executor = Some(env.executor(b"other"));
    env.run(vec![task.clone()]).await;
    let end = env.states("t").await.1;
    assert_eq!(end.state(), TaskState::TaskFailed);
    assert!(end.message().contains("not a plugin"), "{}", end.message());
    env.executor_ended().await;
    task.id = "u".into();
    task.executor.as_mut().unwrap().plugin.sha256 = "0".repeat(64);
    env.run(vec![task]).await;
    let end = env.states("u").await.1;
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::PluginRefused));
    env.stop().await;
}

#[tokio::test]
async fn a_kill_goes_through_the_executor() {
    let mut env = TestEnv::new().await;
    env.run(vec![env.task("t", "sleep 100")]).await;
    assert_eq!(env.update("t").await.state(), TaskState::TaskRunning);
    env.kill("t", None).await;
    assert_eq!(env.update("t").await.state(), TaskState::TaskFailed, "as the half says");
    env.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_a_framework_that_is_shut_down() {
    let mut env = TestEnv::new().await;
    env.run(vec![env.task("t", "trap '' TERM; setsid sleep 100"), super::env::shell("u", "sleep 100")]).await;
    assert_eq!(env.update("t").await.state(), TaskState::TaskRunning);
    env.tell(agent_event::Event::ShutdownFramework(ShutdownFramework { framework_id: framework_id() })).await;
    env.wait_for(|env| !super::env::processes_of(env.dir.path()).iter().any(|line| line.contains("sleep"))).await;
    env.hang_up();
    let register = env.register(2).await;
    assert!(register.tasks.is_empty() && register.executors.is_empty(), "{register:?}");
    env.stop().await;
}

#[tokio::test]
async fn output_of_an_executors_processes_is_bounded() {
    let mut env = TestEnv::with(|config| config.bounds.output_bytes_max = 64 << 10).await;
    env.run(vec![env.task("t", "head -c 3000000 /dev/zero | tr '\\0' x; sleep 100")]).await;
    use std::os::unix::fs::MetadataExt;
    env.wait_for(|env| {
        let file = env.sandbox("t").join("t.out").metadata();
        file.is_ok_and(|file| file.len() == 3_000_000 && file.blocks() * 512 <= 128 << 10)
    })
    .await;
    env.stop().await;
}
