//! Output that is followed, and commands that run beside a task.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{CommandInfo, ExitStatus, Resources};

use super::env::{TestEnv, framework_id, shell};
use crate::protocol::agents::{AgentClient, Answers};
use crate::protocol::{ExecStart, FileChunk, ReadFile, ReadFiles, SandboxAccess, exec_input, exec_output, token};

impl TestEnv {
    pub(super) fn access(&self, task: &str) -> SandboxAccess {
        let secret = std::fs::read(self.dir.path().join("work/agent.secret")).expect("a secret");
        let expires = Time(u64::MAX);
        let token = token::sign(&secret, &framework_id(), &task.into(), expires);
        SandboxAccess {
            framework_id: framework_id(),
            task_id: task.into(),
            token,
            token_expires_ns: expires.as_nanos(),
        }
    }

    pub(super) async fn client(&self) -> AgentClient {
        let port = self.agent.as_ref().expect("an agent").port();
        AgentClient::connect("127.0.0.1", port.into()).await.expect("an agent")
    }

    pub(super) fn files(&self, task: &str, files: &[(&str, u64)], follow: bool) -> ReadFiles {
        let file = |(path, offset): &(&str, u64)| ReadFile { path: (*path).into(), offset: Some(*offset) };
        ReadFiles { access: self.access(task), files: files.iter().map(file).collect(), follow: Some(follow) }
    }

    /// What is written to a task's output from now on; returns when the agent follows it.
    pub(super) async fn follow(&self, task: &str) -> Answers<FileChunk> {
        self.client().await.read(self.files(task, &[("stdout", 0), ("stderr", 0)], true)).await.expect("a stream")
    }

    /// All of some files: their bytes from the first offset on, and whether each was said to have ended.
    pub(super) async fn read(&self, files: ReadFiles) -> Vec<(Vec<u8>, bool)> {
        let mut all = vec![(Vec::new(), false); files.files.len()];
        let mut next: Vec<u64> = files.files.iter().map(|file| file.offset.unwrap_or(0)).collect();
        let mut chunks = self.client().await.read(files).await.expect("a stream");
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk.expect("a chunk");
            let index = chunk.file as usize;
            assert!(chunk.offset >= next[index] && !all[index].1, "in order, and nothing after the end");
            let data = chunk.data.unwrap_or_default();
            next[index] = chunk.offset + data.len() as u64;
            all[index].0.extend(data);
            all[index].1 = chunk.end.unwrap_or(false);
        }
        all
    }
}

#[tokio::test]
async fn output_is_followed_to_its_end() {
    let mut env = TestEnv::new().await;
    let line = "echo one; echo err >&2; sleep 0.1; echo two; mkdir d; sleep 0.1; echo late > d/file; sleep 0.1; echo 3";
    env.run(vec![shell("t", line)]).await;
    env.wait_for(|env| env.sandbox("t").exists()).await;
    let files = env.files("t", &[("stdout", 0), ("stderr", 1), ("d/file", 0), ("never", 0)], true);
    let all = env.read(files).await;
    let wanted = ["one\ntwo\n3\n", "rr\n", "late\n", ""];
    let found: Vec<_> = all.iter().map(|(data, _)| String::from_utf8_lossy(data)).collect();
    assert_eq!(found, wanted);
    assert!(all.iter().all(|(_, end)| *end));
    env.stop().await;
}

#[tokio::test]
async fn output_is_there_after_the_end_and_after_it_was_acknowledged() {
    let mut env = TestEnv::new().await;
    env.end_of(shell("t", "head -c 1000000 /dev/zero")).await;
    let all = env.read(env.files("t", &[("stdout", 10)], true)).await;
    assert_eq!((all[0].0.len(), all[0].1), (999_990, true));
    env.stop().await;
}

#[tokio::test]
async fn a_sandbox_opens_only_to_its_token_and_leads_nowhere_else() {
    let mut env = TestEnv::new().await;
    env.end_of(shell("t", "ln -s /etc/passwd link; mkfifo pipe; ln -s stdout own; echo out")).await;
    let mut wrong = env.files("t", &[("stdout", 0)], false);
    wrong.access.token[0] ^= 1;
    let error = env.client().await.read(wrong).await.unwrap_err();
    assert!(error.to_string().contains("token"), "{error}");
    for path in ["../other/stdout", "/etc/passwd", "link", "pipe", ""] {
        let mut chunks = env.client().await.read(env.files("t", &[(path, 0)], false)).await.expect("a stream");
        let first = chunks.recv().await.expect("an answer");
        assert!(first.is_err(), "{path}: {first:?}");
    }
    let own = env.read(env.files("t", &[("own", 0)], false)).await;
    assert_eq!(own[0].0, b"out\n", "links within the sandbox are good");
    env.stop().await;
}

#[tokio::test]
async fn the_size_of_output_is_bounded() {
    let mut env = TestEnv::with(|config| config.bounds.output_bytes_max = 64 << 10).await;
    env.run(vec![shell("t", "head -c 3000000 /dev/zero | tr '\\0' x; echo end; sleep 100")]).await;
    use std::os::unix::fs::MetadataExt;
    let is_bounded = |env: &TestEnv| {
        let file = env.sandbox("t").join("stdout").metadata();
        file.is_ok_and(|file| file.len() == 3_000_004 && file.blocks() * 512 <= 128 << 10)
    };
    env.wait_for(is_bounded).await;
    env.kill("t", Some(0)).await;
    let all = env.read(env.files("t", &[("stdout", 0)], true)).await;
    assert!(all[0].0.ends_with(b"xend\n") && all[0].0.len() < 128 << 10, "{}", all[0].0.len());
    assert!(!all[0].0.contains(&0), "holes are passed over");
    env.stop().await;
}

#[tokio::test]
async fn a_command_runs_beside_its_task() {
    let mut env = TestEnv::new().await;
    let mut task = shell("t", "sleep 100");
    task.resources = Resources::new(0.1, 1.0);
    env.run(vec![task]).await;
    env.update("t").await;
    let command = CommandInfo::shell_line("echo $MESOS_TASK_ID $MINE; pwd; read line; echo got $line >&2; exit 5");
    let command = command.with_env("MINE", "mine");
    let start = ExecStart { access: env.access("t"), command, rows: None, columns: None };
    let (input, mut outputs) = env.client().await.exec(start).await.expect("a stream");
    input.send(exec_input::Input::Stdin(b"a line\n".to_vec())).await.unwrap();
    let (mut out, mut err, mut exit) = (Vec::new(), Vec::new(), None);
    while let Some(output) = outputs.recv().await {
        match output.expect("an output").output {
            Some(exec_output::Output::Stdout(data)) => out.extend(data),
            Some(exec_output::Output::Stderr(data)) => err.extend(data),
            Some(exec_output::Output::Exit(status)) => exit = Some(status),
            None => {}
        }
    }
    let sandbox = env.sandbox("t").canonicalize().unwrap();
    assert_eq!(String::from_utf8_lossy(&out), format!("t mine\n{}\n", sandbox.display()));
    assert_eq!((String::from_utf8_lossy(&err).as_ref(), exit), ("got a line\n", Some(ExitStatus::code(5))));
    env.stop().await;
}

#[tokio::test]
async fn a_command_gets_a_terminal_and_ends_with_its_client() {
    let mut env = TestEnv::new().await;
    env.run(vec![shell("t", "sleep 100")]).await;
    env.update("t").await;
    let command = CommandInfo::shell_line("tty > /dev/tty; stty size; touch up; sleep 1000");
    let start = ExecStart { access: env.access("t"), command, rows: Some(30), columns: Some(100) };
    let (_input, mut outputs) = env.client().await.exec(start).await.expect("a stream");
    let mut out = Vec::new();
    while !String::from_utf8_lossy(&out).contains("30 100") {
        match outputs.recv().await.expect("more").expect("an output").output {
            Some(exec_output::Output::Stdout(data)) => out.extend(data),
            other => panic!("{other:?}"),
        }
    }
    assert!(String::from_utf8_lossy(&out).starts_with("/dev/pts/"), "{out:?}");
    drop(outputs);
    let runs = |env: &TestEnv| super::env::processes_of(env.dir.path()).iter().any(|line| line.contains("sleep 1000"));
    env.wait_for(|env| !runs(env)).await;
    env.stop().await;
}
