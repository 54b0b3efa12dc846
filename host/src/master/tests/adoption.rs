//! Masters that end, and what the next one makes of it.

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{AgentId, AgentInfo, ExecutorInfo, FrameworkInfo, OfferId, TaskId, TaskState, TaskStatus};

use super::env::{TestEnv, task};
use crate::master::{Effect, Event, LinkId, Master, MasterConfig};
use crate::protocol::{
    ExecutorEnded, ExecutorRecord, Register, TaskRecord, agent_call, agent_event, operator_call, operator_reply,
};
use crate::registry::{Operation, Presence};

/// What an agent brings to a new master.
#[derive(Default)]
struct Baggage {
    tasks: Vec<TaskRecord>,
    executors: Vec<ExecutorRecord>,
    frameworks: Vec<FrameworkInfo>,
}

fn info(failover_secs: u64) -> FrameworkInfo {
    FrameworkInfo {
        name: "f".into(),
        user: "u".into(),
        role: "r".into(),
        failover_timeout_ms: Some(failover_secs * 1000),
        ..Default::default()
    }
}

fn known(failover_secs: u64) -> FrameworkInfo {
    FrameworkInfo { id: Some("M-F1".into()), ..info(failover_secs) }
}

fn record(id: &str, agent: &str, state: TaskState, seq: u64) -> TaskRecord {
    let mut status = TaskStatus::new(id.into(), state);
    status.update_seq = Some(seq);
    TaskRecord { framework_id: "M-F1".into(), task: task(id, agent, "cpus:1"), status, gang_id: None }
}

fn runs(id: &str, agent: &str) -> TaskRecord {
    record(id, agent, TaskState::TaskRunning, 1)
}

impl TestEnv {
    /// The master dies; the next one has what the registry has.
    pub(super) fn next_master(&mut self) {
        let config = MasterConfig { epoch: self.master.epoch() + 1, ..MasterConfig::default() };
        self.effects.clear();
        self.agents.clear();
        self.master = Master::resume(self.now, config, self.registry.clone());
        self.master.sanity_check();
    }

    fn back(&mut self, hostname: &str, id: &str, baggage: Baggage) -> LinkId {
        let link = self.link();
        self.handle(Event::AgentConnected { link });
        let agent = AgentInfo {
            hostname: hostname.into(),
            resources: "cpus:4;mem:1000".parse().unwrap(),
            id: Some(id.into()),
            ..Default::default()
        };
        let Baggage { tasks, executors, frameworks } = baggage;
        let register = Register { agent, version: "1".into(), tasks, executors, frameworks, ..Default::default() };
        self.agents.push(link);
        self.agent_says(link, agent_call::Call::Register(register));
        link
    }

    fn back_with(&mut self, hostname: &str, id: &str, tasks: Vec<TaskRecord>) -> LinkId {
        self.back(hostname, id, Baggage { tasks, frameworks: vec![known(60)], ..Default::default() })
    }

    /// A framework with a task on each of two agents, whose running was acknowledged; returns its secret.
    fn two_agents_run(&mut self, failover_secs: u64) -> String {
        let agents = [self.agent("h1", "cpus:4;mem:1000"), self.agent("h2", "cpus:4;mem:1000")];
        let scheduler = self.framework_of(info(failover_secs), None);
        let events = self.events(scheduler);
        let secret = secret(&events);
        for event in events {
            let event::Event::Offers(offers) = event else { continue };
            for offer in offers.offers {
                let agent = offer.parts[0].agent_id.clone();
                self.accept(scheduler, &offer, vec![task(&format!("on-{agent}"), agent.as_str(), "cpus:1")]);
            }
        }
        for (link, id) in agents.into_iter().zip(["on-M-A1", "on-M-A2"]) {
            assert_eq!(self.launched(link), [id]);
            self.report(link, id, TaskState::TaskRunning, 1);
            self.acknowledge(scheduler, id, 1);
        }
        secret
    }

    fn reconcile(&mut self, scheduler: LinkId, tasks: &[&str]) -> Vec<(String, TaskState)> {
        let task_ids = tasks.iter().map(|id| TaskId::from(*id)).collect();
        self.call(scheduler, Call::Reconcile(scheduler::Reconcile { task_ids }));
        self.updates(scheduler)
    }
}

fn secret(events: &[event::Event]) -> String {
    match events.first() {
        Some(event::Event::Subscribed(subscribed)) => subscribed.secret.clone(),
        other => panic!("{other:?}"),
    }
}

fn fatal(events: &[event::Event]) -> &str {
    match events {
        [event::Event::Error(error)] if error.fatal == Some(true) => &error.message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_new_master_knows_what_agents_bring() {
    let mut env = TestEnv::new();
    let secret = env.two_agents_run(60);
    env.next_master();
    let scheduler = env.framework_of(known(60), Some(secret));
    assert!(matches!(&env.events(scheduler)[..], [event::Event::Subscribed(s)] if s.master_epoch == 2));
    let one = env.back_with("h1", "M-A1", vec![runs("on-M-A1", "M-A1")]);
    env.back_with("h2", "M-A2", vec![runs("on-M-A2", "M-A2")]);
    assert!(matches!(&env.told(one)[..], [agent_event::Event::Registered(r)] if r.master_epoch == 2));
    assert_eq!(env.live_tasks(), 2);
    let offers = env.offers(scheduler);
    let offered: Vec<_> = offers.iter().map(|offer| offer.resources().to_string()).collect();
    assert_eq!(offered, ["cpus:3;mem:1000", "cpus:3;mem:1000"], "the rest of each");
    assert_eq!(offers[0].id, OfferId::from("M-2-O1"), "no id of before");

    env.report(one, "on-M-A1", TaskState::TaskFinished, 2);
    assert_eq!(env.updates(scheduler), [("on-M-A1".into(), TaskState::TaskFinished)]);
    env.acknowledge(scheduler, "on-M-A1", 2);
    assert_eq!(env.live_tasks(), 1);
}

#[test]
fn nobody_is_told_that_a_task_is_unknown_while_an_agent_may_have_it() {
    let mut env = TestEnv::new();
    let secret = env.two_agents_run(60);
    env.next_master();
    let scheduler = env.framework_of(known(60), Some(secret));
    let asked = ["on-M-A1", "on-M-A2", "never-started"];
    env.events(scheduler);
    assert_eq!(env.reconcile(scheduler, &asked), []);
    env.back_with("h1", "M-A1", vec![runs("on-M-A1", "M-A1")]);
    assert_eq!(env.updates(scheduler), [("on-M-A1".into(), TaskState::TaskRunning)]);
    env.back_with("h2", "M-A2", vec![runs("on-M-A2", "M-A2")]);
    let told = env.updates(scheduler);
    assert_eq!(told, [("on-M-A2".into(), TaskState::TaskRunning), ("never-started".into(), TaskState::TaskUnknown)]);
    assert_eq!(env.reconcile(scheduler, &["never-started"]), [("never-started".into(), TaskState::TaskUnknown)]);
}

#[test]
fn who_asks_for_everything_hears_of_what_comes_later() {
    let mut env = TestEnv::new();
    let secret = env.two_agents_run(60);
    env.next_master();
    env.back_with("h1", "M-A1", vec![runs("on-M-A1", "M-A1")]);
    let scheduler = env.framework_of(known(60), Some(secret));
    env.events(scheduler);
    assert_eq!(env.reconcile(scheduler, &[]), [("on-M-A1".into(), TaskState::TaskRunning)]);
    env.back_with("h2", "M-A2", vec![runs("on-M-A2", "M-A2")]);
    assert_eq!(env.updates(scheduler), [("on-M-A2".into(), TaskState::TaskRunning)]);
}

#[test]
fn a_kill_waits_for_the_agent() {
    let mut env = TestEnv::new();
    let secret = env.two_agents_run(60);
    env.next_master();
    let scheduler = env.framework_of(known(60), Some(secret));
    env.call(scheduler, Call::Kill(scheduler::Kill { task_id: "on-M-A1".into(), grace_ms: Some(7) }));
    let agent = env.back_with("h1", "M-A1", vec![runs("on-M-A1", "M-A1")]);
    let told = env.told(agent);
    assert!(
        told.iter().any(|event| matches!(event, agent_event::Event::KillTask(kill) if kill.grace_ms == Some(7))),
        "{told:?}"
    );
}

#[test]
fn an_agent_that_does_not_come_back_is_given_up_and_what_it_ran_is_killed_when_it_is_lost() {
    let mut env = TestEnv::new();
    let secret = env.two_agents_run(60);
    env.next_master();
    env.back_with("h1", "M-A1", vec![runs("on-M-A1", "M-A1")]);
    let scheduler = env.framework_of(known(60), Some(secret));
    env.events(scheduler);
    assert_eq!(env.reconcile(scheduler, &["on-M-A2"]), []);
    env.after(MasterConfig::default().recovery_timeout);
    assert_eq!(env.updates(scheduler), [("on-M-A2".into(), TaskState::TaskUnreachable)]);
    assert!(matches!(env.registry.agents[&AgentId::from("M-A2")].presence, Presence::Unreachable(_)));
    env.after(MasterConfig::default().agent_reregister_timeout);
    assert_eq!(env.updates(scheduler), [("on-M-A2".into(), TaskState::TaskUnknown)]);
    assert!(matches!(env.registry.agents[&AgentId::from("M-A2")].presence, Presence::Lost(_)));

    // For the master after that too.
    env.next_master();
    let late = env.back_with("h2", "M-A2", vec![runs("on-M-A2", "M-A2")]);
    let told = env.told(late);
    assert!(
        told.iter().any(|event| matches!(event, agent_event::Event::ShutdownFramework(_))),
        "its framework isn't known yet, and it was told that the task is gone: {told:?}"
    );
    assert_eq!(env.registry.agents[&AgentId::from("M-A2")].presence, Presence::Admitted, "it is back");
}

#[test]
fn only_who_has_its_secret_takes_a_framework_up_again() {
    let mut env = TestEnv::new();
    let secret = env.two_agents_run(60);
    env.next_master();
    for wrong in [None, Some("guess".to_string()), Some(secret[1..].to_string())] {
        let thief = env.framework_of(known(60), wrong);
        assert!(fatal(&env.events(thief)).contains("belongs to someone else"));
    }
    let other = FrameworkInfo { id: Some("M-F2".into()), ..info(60) };
    let thief = env.framework_of(other, Some(secret.clone()));
    assert!(fatal(&env.events(thief)).contains("belongs to someone else"), "each has one of its own");
    let own = env.framework_of(known(60), Some(secret));
    assert!(matches!(env.events(own)[0], event::Event::Subscribed(_)));
}

#[test]
fn an_id_that_this_master_would_have_given_is_not_believed() {
    let mut env = TestEnv::new();
    let scheduler = env.framework("f");
    let secret = secret(&env.events(scheduler));
    env.call(scheduler, Call::Teardown(scheduler::Teardown {}));
    let late = env.framework_of(known(0), Some(secret));
    assert!(fatal(&env.events(late)).contains("torn down"));
}

#[test]
fn a_framework_that_nobody_takes_up_again_ends() {
    let mut env = TestEnv::new();
    env.two_agents_run(60);
    env.next_master();
    let one = env.back_with("h1", "M-A1", vec![runs("on-M-A1", "M-A1")]);
    env.after(Duration::from_secs(30));
    env.told(one);
    let two = env.back_with("h2", "M-A2", vec![runs("on-M-A2", "M-A2")]);
    env.after(Duration::from_secs(30));
    for (agent, id) in [(one, "on-M-A1"), (two, "on-M-A2")] {
        let told = env.told(agent);
        let killed =
            |event: &agent_event::Event| matches!(event, agent_event::Event::KillTask(k) if k.task_id.as_str() == id);
        assert!(told.iter().any(killed), "{told:?}");
        env.report(agent, id, TaskState::TaskKilled, 2);
    }
    assert!(env.operator(operator_call::Call::ListFrameworks(Default::default())).is_empty());

    // A third agent that still has something of it is told so.
    let late = env.back_with("h3", "M-A3", vec![runs("t", "M-A3")]);
    assert!(env.told(late).iter().any(|event| matches!(event, agent_event::Event::ShutdownFramework(_))));
}

#[test]
fn a_deadline_survives_the_master() {
    let mut env = TestEnv::new();
    let scheduler = env.framework_of(info(3600), None);
    let secret = secret(&env.events(scheduler));
    env.handle(Event::Disconnected { link: scheduler });
    env.after(Duration::from_secs(1800));
    env.next_master();
    env.after(Duration::from_secs(1799));
    let namesake = env.framework_of(info(0), None);
    assert!(fatal(&env.events(namesake)).contains("is waiting for its scheduler"));
    env.after(Duration::from_secs(1));
    let late = env.framework_of(known(3600), Some(secret));
    assert!(fatal(&env.events(late)).contains("torn down"));
    assert!(env.registry.frameworks.is_empty());
}

#[test]
fn a_deadline_that_passed_while_no_master_led_leaves_time_to_come_back() {
    let mut env = TestEnv::new();
    let scheduler = env.framework_of(info(61), None);
    let secret = secret(&env.events(scheduler));
    env.handle(Event::Disconnected { link: scheduler });
    env.now = env.now + Duration::from_secs(1000);
    env.next_master();
    env.after(Duration::from_secs(1));
    let back = env.framework_of(known(61), Some(secret));
    assert!(matches!(env.events(back)[0], event::Event::Subscribed(_)));
}

#[test]
fn what_a_framework_stored_survives_the_master_and_goes_with_the_framework() {
    let mut env = TestEnv::new();
    let scheduler = env.framework_of(info(60), None);
    let secret = secret(&env.events(scheduler));
    assert!(env.registry.frameworks.is_empty(), "a short failover timeout costs no write");
    let put = |seq, value: Option<&str>| {
        let changes = vec![scheduler::StateChange { key: "k".into(), value: value.map(Into::into) }];
        Call::PutState(scheduler::PutState { changes, seq: Some(seq) })
    };
    env.call(scheduler, put(1, Some("old")));
    env.call(scheduler, put(2, Some("new")));
    env.next_master();
    let back = env.framework_of(known(60), Some(secret));
    let events = env.events(back);
    assert!(
        matches!(&events[..], [event::Event::Subscribed(s)] if s.state.len() == 1 && s.state[0].value == b"new"),
        "{events:?}"
    );
    env.call(back, Call::Teardown(scheduler::Teardown {}));
    assert!(env.registry.frameworks.is_empty());
}

#[test]
fn a_teardown_goes_on_under_the_next_master() {
    let mut env = TestEnv::new();
    env.two_agents_run(3600);
    let teardown = crate::protocol::TeardownCall { framework: "f".into() };
    env.operator(operator_call::Call::Teardown(teardown)).remove(0).unwrap();
    env.next_master();
    let agents = [("h1", "M-A1", "on-M-A1"), ("h2", "M-A2", "on-M-A2")].map(|(hostname, id, task)| {
        let link = env.back_with(hostname, id, vec![runs(task, id)]);
        assert!(env.told(link).iter().any(|event| matches!(event, agent_event::Event::KillTask(_))));
        (link, task)
    });
    for (link, task) in agents {
        assert!(!env.registry.frameworks.is_empty());
        env.report(link, task, TaskState::TaskKilled, 2);
    }
    assert!(env.registry.frameworks.is_empty());
}

#[test]
fn a_scheduler_hears_of_its_end_when_no_master_will_take_it_up_again() {
    let mut env = TestEnv::new();
    let scheduler = env.framework_of(info(3600), None);
    env.persists = false;
    env.call(scheduler, Call::Teardown(scheduler::Teardown {}));
    let closed = |env: &TestEnv| env.effects.iter().any(|e| matches!(e, Effect::Close { link } if *link == scheduler));
    assert!(!closed(&env));
    env.call(scheduler, Call::Revive(scheduler::Revive {}));
    env.persist();
    assert!(closed(&env));
}

#[test]
fn a_gang_of_before_still_fails_together_but_not_when_it_ends() {
    let mut env = TestEnv::new();
    let in_gang = |record: TaskRecord| TaskRecord { gang_id: Some("g".into()), ..record };
    env.next_master();
    let ended = record("a", "M-A1", TaskState::TaskFinished, 2);
    let one =
        env.back_with("h1", "M-A1", vec![in_gang(ended), in_gang(record("b", "M-A1", TaskState::TaskStaging, 0))]);
    let two = env.back_with("h2", "M-A2", vec![in_gang(runs("c", "M-A2"))]);
    env.told(two);
    env.report(one, "a", TaskState::TaskFinished, 2);
    assert!(env.told(two).is_empty(), "it had run");
    env.report(one, "b", TaskState::TaskFailed, 1);
    assert!(matches!(&env.told(two)[..], [agent_event::Event::KillTask(kill)] if kill.task_id.as_str() == "c"));
}

#[test]
fn executors_are_taken_over_too() {
    let mut env = TestEnv::new();
    env.next_master();
    let executor = ExecutorInfo { id: "e".into(), resources: "cpus:1".parse().unwrap(), ..Default::default() };
    let executors = vec![ExecutorRecord { framework_id: "M-F1".into(), executor }];
    let baggage = Baggage { executors, frameworks: vec![known(60)], tasks: vec![runs("t", "M-A1")] };
    let agent = env.back("h1", "M-A1", baggage);
    let used = |env: &mut TestEnv| match env.operator(operator_call::Call::ListAgents(Default::default())).remove(0) {
        Ok(operator_reply::Reply::Agent(row)) => row.used.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(used(&mut env), "cpus:2");
    let ended = ExecutorEnded { framework_id: "M-F1".into(), executor_id: "e".into(), exit: None, message: None };
    env.agent_says(agent, agent_call::Call::ExecutorEnded(ended));
    assert_eq!(used(&mut env), "cpus:1");
}

#[test]
fn an_executor_that_nobody_wants_is_shut_down() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4;mem:1000");
    let scheduler = env.framework_of(info(60), None);
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.handle(Event::Disconnected { link: agent });
    let executors = ["M-F1", "M-F7"].map(|framework_id| ExecutorRecord {
        framework_id: framework_id.into(),
        executor: ExecutorInfo { id: "e".into(), ..Default::default() },
    });
    let baggage = Baggage { executors: executors.into(), tasks: vec![runs("t", "M-A1")], ..Default::default() };
    let back = env.back("h1", "M-A1", baggage);
    let told = env.told(back);
    assert!(told.iter().any(|event| matches!(event, agent_event::Event::ShutdownExecutor(_))), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, agent_event::Event::ShutdownFramework(_))), "{told:?}");
}

#[test]
fn an_agent_is_in_when_that_is_durable() {
    let mut env = TestEnv::new();
    env.persists = false;
    let agent = env.agent("h1", "cpus:4");
    assert!(env.told(agent).is_empty());
    env.agent_says(agent, agent_call::Call::Pong(crate::protocol::Pong {}));
    assert!(env.told(agent).is_empty(), "it isn't turned away either");
    env.persist();
    assert!(matches!(&env.told(agent)[..], [agent_event::Event::Registered(_)]));
}

#[test]
fn an_agent_that_tries_twice_is_in_once_and_stays_recorded() {
    let mut env = TestEnv::new();
    env.persists = false;
    let first = env.back("h1", "M-A9", Baggage::default());
    env.handle(Event::Disconnected { link: first });
    let second = env.back("h1", "M-A9", Baggage::default());
    env.persist();
    env.persist();
    assert!(matches!(&env.told(second)[..], [agent_event::Event::Registered(_)]));
    assert!(env.registry.agents.contains_key(&AgentId::from("M-A9")));
    assert_eq!(env.operator(operator_call::Call::ListAgents(Default::default())).len(), 1);

    let left = env.back("h2", "M-A8", Baggage::default());
    env.handle(Event::Disconnected { link: left });
    env.persist();
    env.persist();
    assert!(!env.registry.agents.contains_key(&AgentId::from("M-A8")), "nobody waits for it");
}

#[test]
fn a_loss_is_told_when_it_is_durable() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.handle(Event::Disconnected { link: agent });
    env.persists = false;
    let config = MasterConfig::default();
    env.after(config.ping_interval * config.pings_missed_max);
    assert!(env.updates(scheduler).is_empty());
    let early = env.back("h1", "M-A1", Baggage { tasks: vec![runs("t", "M-A1")], ..Default::default() });
    assert!(env.told(early).is_empty());
    assert!(env.effects.iter().any(|effect| matches!(effect, Effect::Close { link } if *link == early)));
    env.persist();
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskUnreachable)]);
}

#[test]
fn an_old_master_does_nothing_once_it_has_heard_of_a_newer_one() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.effects.clear();
    env.handle(Event::EpochHeard { epoch: 1 });
    assert!(env.effects.is_empty());
    env.handle(Event::EpochHeard { epoch: 2 });
    assert!(matches!(&env.effects[..], [Effect::StepDown { epoch: 2 }]));
    env.effects.clear();
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.handle(Event::Disconnected { link: agent });
    env.after(Duration::from_secs(3600));
    assert!(env.effects.is_empty(), "{:?}", env.effects);
    assert_eq!(env.master.deadline(), None);
}

#[test]
fn a_busy_cluster_costs_few_records() {
    let mut env = TestEnv::new();
    env.persists = false;
    env.agent("h1", "cpus:4;mem:1000");
    env.persist();
    let scheduler = env.framework_of(info(60), None);
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.call(scheduler, Call::Teardown(scheduler::Teardown {}));
    assert!(!env.effects.iter().any(|effect| matches!(effect, Effect::Persist { .. })));
    let admitted = env.registry.operations();
    assert!(matches!(&admitted[..], [Operation::Lead(_), Operation::AdmitAgent(_)]), "{admitted:?}");
}

/// Messages are numbered anew by each scheduler that takes over: no master may give an incarnation that another one gave.
#[test]
fn a_scheduler_that_takes_over_under_a_new_master_is_newer_than_all_before_it() {
    let mut env = TestEnv::new();
    let secret = env.two_agents_run(60);
    env.next_master();
    let subscribe = |env: &mut TestEnv, incarnation| {
        let link = env.link();
        env.handle(Event::SchedulerConnected { link, caller: env.caller.clone() });
        let (framework, secret) = (known(60), Some(secret.clone()));
        env.call(link, Call::Subscribe(scheduler::Subscribe { framework, secret, incarnation }));
        env.events(link)
    };
    let given = |events: &[event::Event]| match &events[..1] {
        [event::Event::Subscribed(subscribed)] => subscribed.incarnation.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(given(&subscribe(&mut env, Some(5))), 5, "an earlier master gave it");
    let next = given(&subscribe(&mut env, None));
    assert!(next > u64::from(u32::MAX), "{next}");
    assert!(fatal(&subscribe(&mut env, Some(5))).contains("another scheduler took"));
    assert_eq!(given(&subscribe(&mut env, Some(next))), next);
}

#[test]
fn a_write_that_was_lost_with_the_master_is_not_taken_for_kept() {
    let mut env = TestEnv::new();
    let scheduler = env.framework_of(info(60), None);
    let secret = secret(&env.events(scheduler));
    env.persists = false;
    let put = || {
        let changes = vec![scheduler::StateChange { key: "k".into(), value: Some(vec![1]) }];
        Call::PutState(scheduler::PutState { changes, seq: Some(1) })
    };
    env.call(scheduler, put());
    // The framework's own record.
    env.persist_first(1);
    env.persists = true;
    env.next_master();
    let link = env.link();
    env.handle(Event::SchedulerConnected { link, caller: env.caller.clone() });
    let subscribe = scheduler::Subscribe { framework: known(60), secret: Some(secret), incarnation: Some(1) };
    env.call(link, Call::Subscribe(subscribe));
    env.call(link, put());
    assert_eq!(env.registry.frameworks.values().next().unwrap().state["k"], [1]);
}
