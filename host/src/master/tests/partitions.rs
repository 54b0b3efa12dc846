//! Agents that fall silent, and those that come back.

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{FrameworkInfo, TaskState, TaskStatus};

use super::env::{TestEnv, patient, subscribed, task};
use crate::master::{Event, LinkId, MasterConfig};
use crate::protocol::{AgentAbsence, ListAgents, TaskRecord, agent_event, operator_call, operator_reply};
use crate::registry::Presence;

fn silence() -> Duration {
    let config = MasterConfig::default();
    config.ping_interval * config.pings_missed_max
}

fn record(id: &str, state: TaskState, seq: u64) -> TaskRecord {
    let mut status = TaskStatus::new(id.into(), state);
    status.update_seq = Some(seq);
    TaskRecord { framework_id: "M-F1".into(), task: task(id, "M-A1", "cpus:1"), status, gang_id: None }
}

impl TestEnv {
    /// One agent with these tasks, and its scheduler.
    fn runs(&mut self, tasks: &[&str]) -> (LinkId, LinkId) {
        let agent = self.agent("h1", "cpus:4");
        let scheduler = self.framework_of(patient(), None);
        let offer = self.offers(scheduler).remove(0);
        self.accept(scheduler, &offer, tasks.iter().map(|id| task(id, "M-A1", "cpus:1")).collect());
        tasks.iter().for_each(|id| self.report(agent, id, TaskState::TaskRunning, 1));
        tasks.iter().for_each(|id| self.acknowledge(scheduler, id, 1));
        self.events(scheduler);
        (agent, scheduler)
    }

    fn falls_silent(&mut self, agent: LinkId) {
        self.agents.retain(|link| *link != agent);
        self.after(silence());
    }

    fn is_back(&mut self, tasks: Vec<TaskRecord>) -> LinkId {
        let link = self.link();
        self.handle(Event::AgentConnected { link });
        self.register(link, "h1", "cpus:4", Some("M-A1"), tasks);
        link
    }

    fn absences(&mut self) -> Vec<AgentAbsence> {
        let rows = self.operator(operator_call::Call::ListAgents(ListAgents { all: Some(true) }));
        let rows = rows.into_iter().filter_map(|row| match row {
            Ok(operator_reply::Reply::Agent(state)) => state.absence.map(|_| state.absence()),
            _ => None,
        });
        rows.collect()
    }
}

#[test]
fn tasks_of_a_silent_agent_are_unreachable_and_run_again_when_it_is_back() {
    let mut env = TestEnv::new();
    let (agent, scheduler) = env.runs(&["t", "ends"]);
    env.falls_silent(agent);
    let unreachable = |id: &str| (id.to_string(), TaskState::TaskUnreachable);
    assert_eq!(env.updates(scheduler), [unreachable("ends"), unreachable("t")]);
    assert_eq!(env.absences(), [AgentAbsence::AgentUnreachable]);
    assert_eq!(env.live_tasks(), 2);

    env.after(MasterConfig::default().agent_reregister_timeout / 2);
    let back = env.is_back(vec![record("t", TaskState::TaskRunning, 1), record("ends", TaskState::TaskFinished, 2)]);
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskRunning)]);
    let killed = env.told(back).into_iter().any(|event| matches!(event, agent_event::Event::KillTask(_)));
    assert!(!killed, "what it runs is wanted");
    env.report(back, "ends", TaskState::TaskFinished, 2);
    assert_eq!(env.updates(scheduler), [("ends".into(), TaskState::TaskFinished)], "its true end");
    assert_eq!(env.absences(), []);
    env.after(MasterConfig::default().agent_reregister_timeout);
    assert_eq!(env.live_tasks(), 1);
    assert!(env.updates(scheduler).is_empty(), "nothing of it is lost");
}

#[test]
fn an_agent_that_stays_away_for_too_long_is_lost_and_what_it_runs_is_killed_when_it_comes() {
    let mut env = TestEnv::new();
    let (agent, scheduler) = env.runs(&["t"]);
    env.falls_silent(agent);
    env.events(scheduler);
    env.persists = false;
    env.after(MasterConfig::default().agent_reregister_timeout);
    assert!(env.events(scheduler).is_empty(), "nothing is said before it is recorded");
    env.persist();
    env.persists = true;
    let events = env.events(scheduler);
    let lost =
        |event: &&event::Event| matches!(event, event::Event::Update(u) if u.status.state() == TaskState::TaskLost);
    let failure = |event: &&event::Event| matches!(event, event::Event::Failure(_));
    assert_eq!((events.iter().filter(lost).count(), events.iter().filter(failure).count()), (1, 1));
    assert_eq!(env.absences(), [AgentAbsence::AgentLost]);
    let back = env.is_back(vec![record("t", TaskState::TaskRunning, 1)]);
    let told = env.told(back);
    assert!(told.iter().any(|event| matches!(event, agent_event::Event::KillTask(_))), "{told:?}");
}

#[test]
fn agents_become_unreachable_at_a_limited_rate() {
    let mut env = TestEnv::new();
    let scheduler = env.framework_of(patient(), None);
    let rate = MasterConfig::default().agent_removal_rate;
    for number in 1..=rate.count + 3 {
        let (host, id) = (format!("h{number}"), format!("M-A{number}"));
        env.agent(&host, "cpus:1");
        let offer = env.offers(scheduler).remove(0);
        env.accept(scheduler, &offer, vec![task(&format!("t{number}"), &id, "cpus:1")]);
    }
    env.agents.clear();
    env.after(silence());
    assert_eq!(env.updates(scheduler).len(), rate.count as usize);
    env.after(rate.per - Duration::from_secs(5));
    assert_eq!(env.updates(scheduler).len(), 0);
    env.after(Duration::from_secs(5));
    assert_eq!(env.updates(scheduler).len(), 3, "the rest");
}

#[test]
fn a_framework_that_ends_does_not_wait_for_an_unreachable_agent() {
    let mut env = TestEnv::new();
    let (agent, scheduler) = env.runs(&["t"]);
    env.falls_silent(agent);
    env.call(scheduler, Call::Teardown(scheduler::Teardown::default()));
    assert_eq!(env.live_tasks(), 0);
    assert!(env.operator(operator_call::Call::ListFrameworks(Default::default())).is_empty());
    let back = env.is_back(vec![record("t", TaskState::TaskRunning, 1)]);
    let told = env.told(back);
    assert!(told.iter().any(|event| matches!(event, agent_event::Event::ShutdownFramework(_))), "{told:?}");
}

#[test]
fn a_kill_waits_for_the_agent() {
    let mut env = TestEnv::new();
    let (agent, scheduler) = env.runs(&["t"]);
    env.falls_silent(agent);
    env.call(scheduler, Call::Kill(scheduler::Kill { task_id: "t".into(), grace_ms: Some(7) }));
    let back = env.is_back(vec![record("t", TaskState::TaskRunning, 1)]);
    let told = env.told(back);
    assert!(
        told.iter().any(|event| matches!(event, agent_event::Event::KillTask(kill) if kill.grace_ms == Some(7))),
        "{told:?}"
    );
}

/// It must not take a task for unknown that may run on.
#[test]
fn the_next_master_takes_an_unreachable_agent_up_and_knows_that_its_tasks_may_run() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework_of(patient(), None);
    let events = env.events(scheduler);
    let secret = subscribed(&events).map(|subscribed| subscribed.secret);
    let offer = events.iter().find_map(|event| match event {
        event::Event::Offers(offers) => Some(offers.offers[0].clone()),
        _ => None,
    });
    env.accept(scheduler, &offer.expect("one"), vec![task("t", "M-A1", "cpus:1")]);
    env.falls_silent(agent);
    env.next_master();
    assert!(matches!(env.registry.agents[&"M-A1".into()].presence, Presence::Unreachable(_)));
    let scheduler = env.framework_of(FrameworkInfo { id: Some("M-F1".into()), ..patient() }, secret);
    env.events(scheduler);
    env.call(scheduler, Call::Reconcile(scheduler::Reconcile { task_ids: vec!["t".into()] }));
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskUnreachable)]);
    let back = env.is_back(vec![record("t", TaskState::TaskRunning, 1)]);
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskRunning)]);
    assert!(!env.told(back).iter().any(|event| matches!(event, agent_event::Event::KillTask(_))));

    env.falls_silent(back);
    env.next_master();
    env.after(MasterConfig::default().agent_reregister_timeout + Duration::from_secs(5));
    assert!(matches!(env.registry.agents[&"M-A1".into()].presence, Presence::Lost(_)), "nobody waits for ever");
}
