//! What no sound agent or scheduler says: each was found by fuzzing (`tests/fuzz/src/master`).

use super::env::{TestEnv, executor_task, refused};
use crate::master::Effect;
use crate::protocol::operator_call;

#[test]
fn a_port_is_not_given_to_a_task_and_its_executor_alike() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1;ports:[31000-31001]");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![executor_task("t", "ports:[31000]")]);
    let message = refused(env.events(scheduler));
    assert!(message.contains("[31000] ports asked, [31001] available"), "{message}");
    assert!(env.launched(agent).is_empty());
}

#[test]
fn an_agent_that_registers_again_on_its_stream_begins_with_a_new_one() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    env.register(agent, "h2", "cpus:1", None, Vec::new());
    assert!(env.effects.iter().any(|effect| matches!(effect, Effect::Close { link } if *link == agent)));
    let agents = env.operator(operator_call::Call::ListAgents(Default::default()));
    assert!(agents.is_empty(), "{agents:?}");
}
