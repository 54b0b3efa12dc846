//! What no sound master or executor says: each was found by fuzzing (`tests/fuzz/src/agent.rs`).

use mesos_plugin_api::v1::{Resources, TaskState};

use super::env::{TestEnv, executor_task};
use crate::agent::Settings;

fn with_resources(resources: &str) -> TestEnv {
    let mut env = TestEnv::apart();
    let settings: Settings = env.agent.settings.clone();
    let resources: Resources = resources.parse().expect("resources");
    let info = mesos_plugin_api::v1::AgentInfo { resources, ..settings.info };
    env.agent = crate::agent::Agent::new(Settings { info, ..settings });
    env.registered(1);
    env.effects.clear();
    env
}

#[test]
fn a_port_is_not_given_to_a_task_and_its_executor_alike() {
    let mut env = with_resources("cpus:4;mem:1024;ports:[31000-31001]");
    let mut task = executor_task("t");
    task.resources = "ports:[31000]".parse().expect("resources");
    task.executor.as_mut().expect("it has one").resources = "ports:[31000]".parse().expect("resources");
    env.run(vec![task]);
    let last = env.last();
    assert_eq!(last.state(), TaskState::TaskDropped);
    assert!(last.message().contains("[31000] ports asked, [31001] available"), "{last:?}");
}
