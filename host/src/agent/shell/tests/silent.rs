//! Tasks that write nothing hand their sandboxes on. Whatever happens, nobody sees in one what belongs to another task.

use std::os::unix::fs::MetadataExt;

use mesos_plugin_api::v1::{CommandInfo, TaskState, Uri};

use super::env::{TestEnv, shell};
use crate::protocol::{ExecStart, exec_input};

impl TestEnv {
    fn inode(&self, task: &str) -> u64 {
        self.sandbox(task).metadata().expect("a folder").ino()
    }
}

#[tokio::test]
async fn a_silent_tasks_folder_serves_the_next_and_its_output_stays_empty() {
    let mut env = TestEnv::new().await;
    let end = env.end_of(shell("a", "exit 0")).await;
    assert_eq!((end.state(), end.output_bytes), (TaskState::TaskFinished, Some(0)));
    let inode = env.inode("a");
    let end = env.end_of(shell("b", "echo secret; echo secret >&2; ls -A; pwd")).await;
    assert_eq!(env.inode("b"), inode, "handed on");
    let sandbox = env.sandbox("b").canonicalize().unwrap();
    let output = format!("secret\nstderr\nstdout\n{}\n", sandbox.display());
    assert_eq!(env.output("b"), output);
    assert_eq!(end.output_bytes, Some(output.len() as u64 + 7));
    for follow in [true, false] {
        let all = env.read(env.files("a", &[("stdout", 0), ("stderr", 0)], follow)).await;
        assert!(all.iter().all(|(data, end)| data.is_empty() && *end), "{all:?}");
    }
    let mut chunks = env.client().await.read(env.files("a", &[("other", 0)], false)).await.expect("a stream");
    assert!(chunks.recv().await.expect("an answer").is_err(), "as of any sandbox: there is no such file");
    let all = env.read(env.files("b", &[("stdout", 0)], true)).await;
    assert_eq!(all[0].0, output.as_bytes(), "what was written stays");
    env.end_of(shell("c", "exit 0")).await;
    assert_ne!(env.inode("c"), inode, "and is not handed on");
    env.stop().await;
}

#[tokio::test]
async fn who_follows_a_silent_task_never_reads_on_in_the_next() {
    let mut env = TestEnv::new().await;
    env.run(vec![shell("a", "sleep 100")]).await;
    env.update("a").await;
    let mut following = env.follow("a").await;
    env.kill("a", Some(0)).await;
    env.states("a").await;
    let inode = env.inode("a");
    env.end_of(shell("b", "echo secret")).await;
    assert_ne!(env.inode("b"), inode, "a sandbox that somebody was shown stays");
    while let Some(chunk) = following.recv().await {
        assert_eq!(chunk.expect("a chunk").data, None);
    }
    env.stop().await;
}

#[tokio::test]
async fn what_a_task_leaves_running_never_writes_into_the_next_tasks_output() {
    let mut env = TestEnv::new().await;
    // What hides where it comes from may be of a task that still runs, and is left alone as long as there is one.
    env.run(vec![shell("old", "sleep 1000")]).await;
    env.update("old").await;
    // All would write into the folder's files later: in the task's session, with its environment alone, and with neither.
    let write = "sleep 0.3; while :; do echo intruder; sleep 0.01; done";
    let hidden = format!("env -i /usr/bin/setsid /bin/sh -c '{write}'");
    let ways = [format!("({write})"), format!("setsid /bin/sh -c '{write}'"), hidden];
    for (number, way) in ways.iter().enumerate() {
        let [first, next] = ["first", "next"].map(|name| format!("{name}{number}"));
        // Long enough to hide, and over before it writes.
        env.end_of(shell(&first, &format!("{way} & sleep 0.1; exit 0"))).await;
        env.end_of(shell(&next, "sleep 0.4; echo own")).await;
        assert_eq!(env.output(&next), "own\n", "{way}");
    }
    env.stop().await;
}

#[tokio::test]
async fn a_command_beside_a_task_keeps_its_folder() {
    let mut env = TestEnv::new().await;
    env.run(vec![shell("a", "sleep 100")]).await;
    env.update("a").await;
    let command = CommandInfo::shell_line("read line; while :; do echo intruder >> stdout; done");
    let start = ExecStart { access: env.access("a"), command, rows: None, columns: None };
    let (input, _outputs) = env.client().await.exec(start).await.expect("a stream");
    env.kill("a", Some(0)).await;
    env.states("a").await;
    env.run(vec![shell("b", "sleep 0.3; echo own")]).await;
    input.send(exec_input::Input::Stdin(b"go\n".to_vec())).await.expect("a command that reads");
    env.states("b").await;
    assert_eq!(env.output("b"), "own\n");
    env.stop().await;
}

#[tokio::test]
async fn what_is_fetched_stays_with_its_task() {
    let mut env = TestEnv::new().await;
    let file = env.dir.path().join("file");
    std::fs::write(&file, "text").unwrap();
    let mut task = shell("a", "exit 0");
    task.command.as_mut().unwrap().uris = vec![Uri { value: format!("file://{}", file.display()), ..Uri::default() }];
    env.end_of(task).await;
    let end = env.end_of(shell("b", "ls -A")).await;
    assert_eq!(end.state(), TaskState::TaskFinished);
    assert_eq!(env.output("b"), "stderr\nstdout\n");
    assert_eq!(std::fs::read_to_string(env.sandbox("a").join("file")).unwrap(), "text");
    env.stop().await;
}

#[tokio::test]
async fn another_users_task_gets_another_folder() {
    if !nix::unistd::Uid::effective().is_root() {
        return eprintln!("skipped: only root becomes another user");
    }
    let mut env = TestEnv::new().await;
    env.end_of(shell("a", "exit 0")).await;
    let inode = env.inode("a");
    let mut task = shell("b", "touch made; stat -c %U . stdout");
    task.command.as_mut().unwrap().user = Some("nobody".into());
    assert_eq!(env.end_of(task).await.state(), TaskState::TaskFinished);
    assert_eq!(env.output("b"), "nobody\nnobody\n");
    assert_ne!(env.inode("b"), inode);
    env.stop().await;
}

#[tokio::test]
async fn a_name_that_is_used_again_is_a_new_task() {
    let mut env = TestEnv::new().await;
    env.end_of(shell("a", "exit 0")).await;
    env.end_of(shell("a", "echo second")).await;
    assert_eq!(env.output("a"), "second\n");
    // The folder that lay under that name is nobody's spare one any more.
    for name in ["b", "c"] {
        env.end_of(shell(name, "exit 0")).await;
    }
    let all = env.read(env.files("a", &[("stdout", 0)], true)).await;
    assert_eq!(all[0].0, b"second\n");
    env.stop().await;
}

#[tokio::test]
async fn many_silent_tasks_share_few_folders_and_those_that_write_keep_theirs() {
    let mut env = TestEnv::with(|config| config.resources = "cpus:1000;mem:100000".parse().expect("resources")).await;
    let count = 300;
    let line = |number: u32| if number.is_multiple_of(10) { format!("echo {number}") } else { "exit 0".to_string() };
    env.run((0..count).map(|number| shell(&format!("t{number}"), &line(number))).collect()).await;
    for number in 0..count {
        assert_eq!(env.states(&format!("t{number}")).await.1.state(), TaskState::TaskFinished);
    }
    for number in 0..count {
        let all = env.read(env.files(&format!("t{number}"), &[("stdout", 0), ("stderr", 0)], true)).await;
        let wanted = if number.is_multiple_of(10) { format!("{number}\n") } else { String::new() };
        assert_eq!((String::from_utf8_lossy(&all[0].0).as_ref(), all[1].0.len()), (wanted.as_str(), 0), "t{number}");
    }
    let folders = std::fs::read_dir(env.sandbox("t0").parent().unwrap()).unwrap().count();
    assert!(folders < count as usize, "{folders} folders");
    env.stop().await;
}
