//! The scheduler half before a fake master.

use mesos_plugin_api::FakeMaster;
use mesos_plugin_api::prelude::*;
use mesos_plugin_api::v1::TaskId;
use mesos_plugin_api::v1::framework::call::Call;

use crate::Line;
use crate::scheduler::Scheduler;

fn ready() -> (FakeMaster, TaskId) {
    let mut master = FakeMaster::new(Box::new(Scheduler::default()));
    master.add_agent("A1", "cpus:1;mem:1000");
    master.offer();
    let machine = master.live_tasks()[0].id.clone();
    master.update(&machine, TaskState::TaskRunning);
    (master, machine)
}

fn say(master: &mut FakeMaster, machine: &TaskId, text: &str) -> Vec<String> {
    master.calls.clear();
    master.message(machine, Line::encode(1, text));
    answers(master)
}

fn answers(master: &FakeMaster) -> Vec<String> {
    let answer = |call: &Call| if let Call::Message(to) = call { Some(Line::decode(&to.data).text) } else { None };
    master.calls.iter().filter_map(answer).collect()
}

#[test]
fn a_container_is_launched_where_it_was_asked_for_and_gets_no_command() {
    let (mut master, machine) = ready();
    assert!(say(&mut master, &machine, "container").is_empty());
    master.offer();
    assert_eq!(answers(&master), ["container c-1"]);
    let container = master.live_tasks().into_iter().find(|task| task.id.as_str() == "c-1").unwrap();
    assert!(container.command.is_none() && container.agent_id.as_str() == "A1");
}

#[test]
fn the_next_scheduler_goes_on_where_the_last_one_was() {
    let (mut master, machine) = ready();
    say(&mut master, &machine, "count");
    say(&mut master, &machine, "container");
    master.replace(Box::new(Scheduler::default()));
    assert_eq!(say(&mut master, &machine, "count"), ["counted 2"]);
    master.offer();
    assert_eq!(answers(&master), ["counted 2", "container c-1"]);
    assert_eq!(master.live_tasks().len(), 2, "the machine's task was not launched again");
}
