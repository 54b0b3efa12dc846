//! Command tasks.

use mesos_plugin_api::v1::{CommandInfo, ExitStatus, Range, Reason, Resources, TaskInfo, TaskState};

use super::env::{TestEnv, shell};

#[tokio::test]
async fn a_task_runs_and_its_end_is_told() {
    let mut env = TestEnv::new().await;
    let mut task = shell("t", "echo $MESOS_TASK_ID $MESOS_FRAMEWORK_ID $MESOS_AGENT_ID $PORT0 $PORT1; pwd; exit 3");
    task.resources = Resources::new(1.0, 16.0).with_ports([Range { begin: 31001, end: 31002 }]);
    env.run(vec![task]).await;
    let (states, end) = env.states("t").await;
    assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskFailed]);
    assert_eq!((end.exit, end.reason()), (Some(ExitStatus::code(3)), Reason::CommandExited));
    let sandbox = env.sandbox("t").canonicalize().unwrap();
    assert_eq!(end.sandbox(), sandbox.to_str().unwrap());
    assert_eq!(env.output("t"), format!("t f-1 a-1 31001 31002\n{}\n", sandbox.display()));
    env.stop().await;
}

#[tokio::test]
async fn states_are_told_in_order_and_again_until_acknowledged() {
    let mut env = TestEnv::new().await;
    env.run(vec![shell("t", "exit 0")]).await;
    // Nothing is acknowledged before the link breaks.
    env.wait_for(|env| env.sandbox("t").join("stdout").exists()).await;
    env.hang_up();
    let register = env.register(2).await;
    assert_eq!(register.tasks.len(), 1);
    assert_eq!(register.agent.id, Some(super::env::agent()));
    let (states, _) = env.states("t").await;
    assert_eq!(states, [TaskState::TaskRunning, TaskState::TaskFinished]);
    env.stop().await;
}

#[tokio::test]
async fn what_ignores_term_is_killed_after_its_grace() {
    let mut env = TestEnv::new().await;
    env.run(vec![shell("t", "trap '' TERM; (trap '' TERM; sleep 100) & echo up; while :; do sleep 1; done")]).await;
    env.wait_for(|env| env.sandbox("t").join("stdout").metadata().is_ok_and(|file| file.len() > 0)).await;
    // It may have said something before the agent heard that it runs.
    assert_eq!(env.update("t").await.state(), TaskState::TaskRunning);
    env.kill("t", Some(50)).await;
    let (states, end) = env.states("t").await;
    assert_eq!(states, [TaskState::TaskKilling, TaskState::TaskKilled]);
    assert_eq!((end.exit, end.reason()), (Some(ExitStatus::signal(9)), Reason::KilledByFramework));
    env.stop().await;
}

#[tokio::test]
async fn a_task_that_runs_too_long_is_ended() {
    let mut env = TestEnv::new().await;
    let task = TaskInfo { max_duration_ms: Some(100), ..shell("t", "sleep 100") };
    let end = env.end_of(task).await;
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::MaxDurationReached));
    env.stop().await;
}

#[tokio::test]
async fn a_program_that_is_not_there_fails_with_a_line() {
    let mut env = TestEnv::new().await;
    let mut task = shell("t", "");
    task.command = Some(CommandInfo::argv(["/no/such/program"]));
    let end = env.end_of(task).await;
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::CommandNotLaunched));
    assert!(end.message().contains("/no/such/program"), "{}", end.message());
    env.stop().await;
}

#[tokio::test]
async fn an_unknown_user_fails_with_a_line() {
    let mut env = TestEnv::new().await;
    let mut task = shell("t", "true");
    task.command.as_mut().unwrap().user = Some("nobody-of-that-name".into());
    let end = env.end_of(task).await;
    assert_eq!(end.state(), TaskState::TaskFailed);
    assert!(end.message().contains("there is no user nobody-of-that-name"), "{}", end.message());
    env.stop().await;
}

#[tokio::test]
async fn a_task_runs_as_its_user_in_a_sandbox_of_its_own() {
    if !nix::unistd::Uid::effective().is_root() {
        return eprintln!("skipped: only root becomes another user");
    }
    let mut env = TestEnv::new().await;
    let mut task = shell("t", "id -u; echo $HOME; touch made; cat ../other/stdout");
    env.end_of(shell("other", "echo secret")).await;
    task.command.as_mut().unwrap().user = Some("nobody".into());
    let end = env.end_of(task).await;
    assert_eq!(end.state(), TaskState::TaskFailed, "another user's sandbox is closed");
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    assert_eq!(env.output("t"), format!("{}\n{}\n", nobody.uid, nobody.dir.display()));
    env.stop().await;
}

#[tokio::test]
async fn many_tasks_at_once_all_end() {
    let mut env = TestEnv::with(|config| config.resources = Resources::new(1000.0, 100_000.0)).await;
    let count = 200;
    env.run((0..count).map(|number| shell(&format!("t{number}"), "exit 0")).collect()).await;
    for number in 0..count {
        assert_eq!(env.states(&format!("t{number}")).await.1.state(), TaskState::TaskFinished);
    }
    env.stop().await;
}

#[tokio::test]
async fn two_agents_on_one_folder_are_refused_in_one_line() {
    let env = TestEnv::new().await;
    let (connect, _connects) = tokio::sync::mpsc::channel(1);
    let master =
        crate::agent::Master::Local(crate::protocol::client::LocalMaster { connect, blobs: env.blobs.clone() });
    let error = crate::agent::start(super::env::config(&env.dir.path().join("work")), master).await.unwrap_err();
    assert!(error.to_string().contains(&format!("another agent (pid {})", std::process::id())), "{error}");
    env.stop().await;
}

#[tokio::test]
async fn nothing_is_left_of_an_agent_that_is_stopped() {
    let mut env = TestEnv::with(|config| config.remove_at_end = true).await;
    env.run(vec![shell("t", "trap '' TERM; setsid sleep 100 & echo up; sleep 100")]).await;
    env.wait_for(|env| env.sandbox("t").join("stdout").metadata().is_ok_and(|file| file.len() > 0)).await;
    let work = env.dir.path().join("work");
    let folder = env.dir.path().to_owned();
    env.agent.take().unwrap().stop().await;
    assert!(!work.exists());
    super::env::nothing_runs(&folder).await;
}

#[tokio::test]
async fn old_sandboxes_make_room() {
    let mut env = TestEnv::with(|config| config.bounds.sandboxes_max = 1).await;
    for id in ["a", "b", "c"] {
        env.end_of(shell(id, "true")).await;
    }
    env.wait_for(|env| !env.sandbox("a").exists() && !env.sandbox("b").exists()).await;
    assert!(env.sandbox("c").exists());
    env.stop().await;
}
