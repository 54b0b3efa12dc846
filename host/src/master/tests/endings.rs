//! Frameworks that are being torn down while something of them is out of reach.

use std::time::Duration;

use mesos_plugin_api::v1::TaskState;
use mesos_plugin_api::v1::scheduler::{Teardown, call::Call};

use super::env::{TestEnv, executor_task, task};
use crate::master::Event;
use crate::protocol::{ListFrameworks, operator_call};

#[test]
fn a_deadline_that_has_passed_does_not_come_again_while_a_teardown_waits() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:1");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.call(scheduler, Call::Teardown(Teardown::default()));
    env.handle(Event::Disconnected { link: scheduler });
    env.now = env.now + Duration::from_secs(1);
    env.handle(Event::DeadlinePassed);
    assert!(env.master.deadline().is_none_or(|at| at > env.now), "the shell would ask again at once, without end");
}

#[test]
fn a_teardown_ends_with_the_agent_that_had_the_last_executor() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let run = executor_task("t", "cpus:1");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![run]);
    env.report(agent, "t", TaskState::TaskRunning, 1);
    env.call(scheduler, Call::Teardown(Teardown::default()));
    env.handle(Event::Disconnected { link: agent });
    env.after(Duration::from_secs(60));
    let left = env.operator(operator_call::Call::ListFrameworks(ListFrameworks::default()));
    assert!(left.is_empty(), "{left:?}");
}
