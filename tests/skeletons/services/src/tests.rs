//! The framework half before a fake master.

use mesos_plugin_api::FakeMaster;
use mesos_plugin_api::prelude::*;
use mesos_plugin_api::v1::TaskId;
use mesos_plugin_api::v1::framework::call::Call;
use mesos_plugin_api::v1::scheduler::{Reply, Request};

use crate::framework::Services;
use crate::{Ask, Wanted};

fn wanted(instances: usize) -> Box<Services> {
    Box::new(Services::new(Wanted { instances, line: "serve".into() }))
}

fn ready(instances: usize) -> FakeMaster {
    let mut master = FakeMaster::new(wanted(instances));
    master.add_agent("A1", "cpus:4;mem:1000");
    settle(&mut master);
    master
}

/// Offers, starts and ends until nothing changes.
fn settle(master: &mut FakeMaster) {
    for _ in 0..20 {
        master.offer();
        let killed = |call: &Call| if let Call::Kill(kill) = call { Some(kill.task_id.clone()) } else { None };
        let killed: Vec<TaskId> = master.calls.iter().filter_map(killed).collect();
        for task in master.live_tasks().into_iter().map(|task| task.id.clone()).collect::<Vec<_>>() {
            let state = if killed.contains(&task) { TaskState::TaskKilled } else { TaskState::TaskRunning };
            master.update(&task, state);
        }
        assert!(master.live_tasks().len() <= 5, "one more than wanted at the most");
    }
}

fn ask(master: &mut FakeMaster, request_id: u64, ask: &Ask) {
    let data = serde_json::to_vec(ask).unwrap();
    master.send(Event::Request(Request { request_id, data, principal: None }));
}

fn replies(master: &FakeMaster, request: u64) -> Vec<Reply> {
    let reply = |call: &Call| if let Call::Reply(reply) = call { Some(reply.clone()) } else { None };
    master.calls.iter().filter_map(reply).filter(|reply| reply.request_id == request).collect()
}

#[test]
fn scaling_is_streamed_until_it_is_done() {
    let mut master = ready(1);
    ask(&mut master, 7, &Ask::Scale(4));
    settle(&mut master);
    let replies = replies(&master, 7);
    assert!(replies.len() > 2 && replies.last().unwrap().done == Some(true), "{replies:?}");
    assert_eq!(master.live_tasks().len(), 4);
}

#[test]
fn an_update_replaces_one_after_the_other() {
    let mut master = ready(4);
    ask(&mut master, 1, &Ask::Watch);
    ask(&mut master, 2, &Ask::Update("serve better".into()));
    settle(&mut master);
    assert!(master.live_tasks().iter().all(|task| task.id.as_str().starts_with("v2-")));
    assert_eq!(replies(&master, 2).last().unwrap().done, Some(true));
    assert!(replies(&master, 1).len() > 4 && replies(&master, 1).iter().all(|reply| reply.done.is_none()));
}

#[test]
fn a_newer_request_ends_the_wait_of_an_older_one() {
    let mut master = ready(1);
    ask(&mut master, 1, &Ask::Scale(100));
    ask(&mut master, 2, &Ask::Scale(2));
    assert!(replies(&master, 1).last().unwrap().error.as_ref().unwrap().contains("newer"));
    settle(&mut master);
    assert_eq!(replies(&master, 2).last().unwrap().done, Some(true));
}

#[test]
fn the_next_scheduler_keeps_what_runs() {
    let mut master = ready(3);
    let before: Vec<TaskId> = master.live_tasks().iter().map(|task| task.id.clone()).collect();
    master.replace(wanted(9));
    settle(&mut master);
    assert_eq!(master.live_tasks().iter().map(|task| task.id.clone()).collect::<Vec<_>>(), before);
}
