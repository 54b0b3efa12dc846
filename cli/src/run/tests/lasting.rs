//! A job whose scheduler dies and is started again.

use std::collections::BTreeMap;

use super::*;

fn begin(job: Job) -> FakeMaster {
    FakeMaster::new(Box::new(RunFramework::lasting(job)))
}

/// The scheduler dies; the next one starts with what is kept.
fn next_scheduler(master: &mut FakeMaster, job: Job) {
    master.calls.clear();
    master.replace(Box::new(RunFramework::lasting(job)));
}

fn live(master: &FakeMaster) -> Vec<String> {
    master.live_tasks().iter().map(|task| task.id.to_string()).collect()
}

#[test]
fn a_job_is_the_same_in_another_process() {
    let whole = Job { max_duration: Some(Duration::from_millis(1500)), label: true, max_fail: Some(2), ..job(3) };
    let read = Job::from_bytes(&whole.to_bytes()).expect("a job");
    assert_eq!(format!("{read:?}"), format!("{whole:?}"));
    assert!(Job::from_bytes(b"nonsense").is_err() && Job::from_bytes(&[]).is_err());
}

#[test]
fn what_was_launched_or_has_ended_is_not_launched_again() {
    let mut master = begin(job(5));
    master.add_agent("A1", "cpus:3;mem:1000");
    master.offer();
    master.update_with(ended("test.0", ExitStatus::code(4)));
    assert_eq!(live(&master), ["test.1", "test.2"]);

    next_scheduler(&mut master, job(5));
    let asked = master.calls.iter().find_map(|call| match call {
        Call::Reconcile(reconcile) => Some(reconcile.task_ids.clone()),
        _ => None,
    });
    assert_eq!(asked, Some(vec![id("test.1"), id("test.2")]));
    master.offer();
    assert_eq!(live(&master), ["test.1", "test.2", "test.3"]);
    for task in ["test.1", "test.2"] {
        master.update_with(ended(task, ExitStatus::code(0)));
    }
    next_scheduler(&mut master, job(5));
    master.offer();
    for task in ["test.3", "test.4"] {
        master.update_with(ended(task, ExitStatus::code(0)));
    }
    let (code, line) = master.finished.clone().expect("it has ended");
    assert_eq!((code, line.as_deref()), (4, Some("1 of 5 tasks failed")), "the first failure is kept");
}

#[test]
fn a_task_is_noted_before_it_is_launched() {
    let mut framework = RunFramework::lasting(job(1));
    let mut calls = Calls::default();
    let part = OfferPart { agent_id: "A1".into(), resources: Resources::new(4.0, 400.0), ..OfferPart::default() };
    let offer = Offer { id: OfferId::new("O1"), parts: vec![part], ..Offer::default() };
    let offers = mesos_plugin_api::v1::scheduler::Offers { offers: vec![offer] };
    framework.on_event(Time(1), Event::Offers(offers), &mut calls);
    let made = calls.take();
    let seq = made.iter().find_map(|call| if let Call::PutState(put) = call { put.seq } else { None });
    assert!(!made.iter().any(|call| matches!(call, Call::Accept(_))));
    framework.on_event(Time(2), Event::StateStored(StateStored { seq: seq.expect("noted"), error: None }), &mut calls);
    assert!(calls.take().iter().any(|call| matches!(call, Call::Accept(_))));
}

#[test]
fn a_task_that_is_launched_again_keeps_its_other_name() {
    let mut master = begin(job(1));
    master.add_agent("A1", "cpus:3;mem:1000");
    master.offer();
    master.update(&id("test.0"), TaskState::TaskDropped);
    master.offer();
    assert_eq!(live(&master), ["test.0-2"]);
    next_scheduler(&mut master, job(1));
    master.offer();
    assert_eq!(live(&master), ["test.0-2"]);
    master.update_with(ended("test.0-2", ExitStatus::code(0)));
    assert_eq!(master.finished, Some((0, None)));
}

#[test]
fn output_of_before_is_followed_again_because_its_journal_may_be_lost() {
    let mut master = begin(job(2));
    master.add_agent("A1", "cpus:3;mem:1000");
    master.offer();
    master.update_with(ended("test.0", ExitStatus::code(0)));
    next_scheduler(&mut master, job(2));
    assert_eq!(follows(&master).iter().map(|follow| follow.task_id.as_str()).collect::<Vec<_>>(), ["test.0"]);
}

#[test]
fn a_job_that_was_being_ended_is_ended_by_the_next_scheduler() {
    let strict = || Job { max_fail: Some(1), ..job(3) };
    let mut master = begin(strict());
    master.add_agent("A1", "cpus:2;mem:1000");
    master.offer();
    master.update_with(ended("test.0", ExitStatus::code(5)));
    next_scheduler(&mut master, strict());
    assert_eq!(kills(&master), [("test.1".to_string(), None)]);
    master.offer();
    assert_eq!(live(&master), ["test.1"]);
    master.update(&id("test.1"), TaskState::TaskKilled);
    assert_eq!(master.finished.as_ref().map(|(code, _)| *code), Some(5));
}

#[test]
fn damaged_state_is_passed_over() {
    let state = [("launched", vec![1]), ("again/x", vec![]), ("ended/0", vec![]), ("failed", vec![9, 9])];
    let state: BTreeMap<String, Vec<u8>> = state.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    let mut master = FakeMaster::with_state(Box::new(RunFramework::lasting(job(1))), state);
    master.add_agent("A1", "cpus:2;mem:1000");
    master.offer();
    assert_eq!(live(&master), ["test.0"]);
}
