//! Agents that operators drain, deactivate and mark as gone.

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{FrameworkInfo, InverseOffer, Reason, TaskState, TaskStatus};

use super::env::{TestEnv, executor_task, patient, task};
use crate::master::{DRAIN_GRACE, Event, LinkId};
use crate::protocol::{
    AgentState, DeactivateAgentCall, DrainAgentCall, KillTask, ListAgents, MarkAgentGoneCall, ReactivateAgentCall,
    Register, TaskRecord, Why, agent_call, agent_event, operator_call, operator_reply,
};

impl TestEnv {
    fn ask(&mut self, call: operator_call::Call) -> Result<String, String> {
        match self.operator(call).remove(0) {
            Ok(operator_reply::Reply::Done(done)) => Ok(done.message.unwrap_or_default()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        }
    }

    fn drain(&mut self, agent: &str, grace_s: Option<u64>, mark_gone: bool) -> Result<String, String> {
        let (agent, grace_ms) = (agent.to_string(), grace_s.map(|s| s * 1000));
        self.ask(operator_call::Call::DrainAgent(DrainAgentCall { agent, grace_ms, mark_gone: Some(mark_gone) }))
    }

    fn reactivate(&mut self, agent: &str) -> Result<String, String> {
        self.ask(operator_call::Call::ReactivateAgent(ReactivateAgentCall { agent: agent.into() }))
    }

    fn gone(&mut self, agent: &str) -> Result<String, String> {
        self.ask(operator_call::Call::MarkAgentGone(MarkAgentGoneCall { agent: agent.into() }))
    }

    fn inverse_offers(&mut self, to: LinkId) -> Vec<InverseOffer> {
        let offers = self.events(to).into_iter().filter_map(|event| match event {
            event::Event::InverseOffers(offers) => Some(offers.inverse_offers),
            _ => None,
        });
        offers.flatten().collect()
    }

    fn kills(&mut self, on: LinkId) -> Vec<KillTask> {
        let kills = self.told(on).into_iter().filter_map(|event| match event {
            agent_event::Event::KillTask(kill) => Some(kill),
            _ => None,
        });
        kills.collect()
    }

    fn agent_states(&mut self) -> Vec<AgentState> {
        let rows = self.operator(operator_call::Call::ListAgents(ListAgents { all: Some(true) }));
        let state = |row| match row {
            Ok(operator_reply::Reply::Agent(state)) => state,
            other => panic!("{other:?}"),
        };
        rows.into_iter().map(state).collect()
    }
}

#[test]
fn a_drained_agent_is_offered_to_nobody_and_its_tasks_end_in_time() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    let slow = mesos_plugin_api::v1::TaskInfo { kill_grace_ms: Some(20_000), ..task("slow", "M-A1", "cpus:1") };
    env.accept(scheduler, &offer, vec![slow, task("quick", "M-A1", "cpus:1")]);
    env.call(scheduler, Call::Revive(scheduler::Revive {}));
    let open = env.offers(scheduler).remove(0);
    env.told(agent);

    assert!(env.drain("h1", None, false).unwrap().contains("draining M-A1"));
    let events = env.events(scheduler);
    assert!(matches!(&events[0], event::Event::Rescind(rescind) if rescind.offer_id == open.id), "{events:?}");
    let asked = events.iter().find_map(|event| match event {
        event::Event::InverseOffers(offers) => Some(offers.inverse_offers[0].clone()),
        _ => None,
    });
    let asked = asked.expect("it has tasks there");
    assert_eq!(asked.unavailability.start_ns, (env.now + DRAIN_GRACE).as_nanos());
    assert_eq!((asked.agent_id.as_str(), asked.resources), ("M-A1", Some("cpus:2".parse().unwrap())));
    env.accept(scheduler, &open, vec![task("late", "M-A1", "cpus:1")]);
    assert_eq!(env.updates(scheduler), [("late".into(), TaskState::TaskDropped)]);
    env.call(scheduler, Call::Revive(scheduler::Revive {}));
    assert!(env.offers(scheduler).is_empty());

    assert!(env.kills(agent).is_empty());
    env.after(DRAIN_GRACE - Duration::from_secs(20));
    let kills = env.kills(agent);
    assert_eq!(kills.iter().map(|kill| kill.task_id.as_str()).collect::<Vec<_>>(), ["slow"]);
    assert_eq!((kills[0].grace_ms, kills[0].reason), (Some(20_000), Some(Reason::AgentDraining.into())));
    assert!(kills[0].message().contains("the agent M-A1 on h1 is being drained by an operator"), "{:?}", kills[0]);
    env.after(Duration::from_secs(17));
    assert_eq!(env.kills(agent).len(), 1, "the other, with 3 s left");

    for id in ["slow", "quick"] {
        assert!(!env.agent_states()[0].drained());
        env.report(agent, id, TaskState::TaskKilled, 1);
        env.acknowledge(scheduler, id, 1);
    }
    assert!(env.agent_states()[0].drained());
    assert!(env.events(scheduler).iter().any(|event| matches!(event, event::Event::RescindInverseOffer(_))));
    assert!(env.offers(scheduler).is_empty());
    env.reactivate("M-A1").unwrap();
    assert_eq!(env.offers(scheduler).len(), 1);
}

#[test]
fn a_drain_that_is_taken_back_kills_nothing() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.drain("M-A1", None, false).unwrap();
    let asked = env.inverse_offers(scheduler).remove(0);
    let ids = vec![asked.id.clone()];
    env.call(
        scheduler,
        Call::DeclineInverseOffers(scheduler::DeclineInverseOffers { inverse_offer_ids: ids, filters: None }),
    );
    let why = env.operator(operator_call::Call::Why(Why { id: "h1".into() })).remove(0);
    assert!(
        matches!(&why, Ok(operator_reply::Reply::Why(text)) if text.contains("does not move by itself")),
        "{why:?}"
    );
    env.reactivate("h1").unwrap();
    let events = env.events(scheduler);
    let rescinds =
        |event: &event::Event| matches!(event, event::Event::RescindInverseOffer(r) if r.inverse_offer_id == asked.id);
    assert!(events.iter().any(rescinds), "{events:?}");
    env.after(DRAIN_GRACE);
    assert!(env.kills(agent).is_empty());
    assert!(env.reactivate("h1").unwrap_err().contains("neither drained nor deactivated"));
}

#[test]
fn to_drain_again_moves_the_end() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.drain("M-A1", Some(3600), false).unwrap();
    env.drain("M-A1", Some(0), false).unwrap();
    assert_eq!(env.inverse_offers(scheduler).len(), 2);
    let kills = env.kills(agent);
    assert_eq!(kills.iter().map(|kill| kill.grace_ms).collect::<Vec<_>>(), [Some(0)]);
}

#[test]
fn what_cannot_be_drained_is_refused_in_a_line() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:1");
    env.agent("twin", "cpus:1");
    env.agent("twin", "cpus:1");
    assert!(env.drain("M-A9", None, false).unwrap_err().contains("no agent \"M-A9\" is known here"));
    assert!(env.drain("twin", None, false).unwrap_err().contains("M-A2 and of M-A3"));
    assert!(env.drain("h1", Some(u64::MAX / 1000), false).unwrap_err().contains("30 days"));
    env.gone("h1").unwrap();
    assert!(env.drain("h1", None, false).unwrap_err().contains("was marked as gone"));
    env.caller.user = Some("somebody".into());
    assert!(env.drain("M-A2", None, false).unwrap_err().contains("somebody may not do that"));
}

#[test]
fn a_deactivated_agent_keeps_its_tasks() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.ask(operator_call::Call::DeactivateAgent(DeactivateAgentCall { agent: "h1".into() })).unwrap();
    env.after(DRAIN_GRACE);
    assert!(env.inverse_offers(scheduler).is_empty() && env.kills(agent).is_empty());
    env.call(scheduler, Call::Revive(scheduler::Revive {}));
    assert!(env.offers(scheduler).is_empty());
    assert!(env.agent_states()[0].deactivated());
    env.reactivate("h1").unwrap();
    assert_eq!(env.offers(scheduler).len(), 1);
}

/// It is neither forgotten when it goes, nor offered when it comes back, under this master or the next one.
#[test]
fn a_drain_survives_the_agent_and_the_master() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    env.drain("h1", None, false).unwrap();
    env.handle(Event::Disconnected { link: agent });
    assert!(env.agent_states()[0].drained());
    for _ in 0..2 {
        let back = env.link();
        env.handle(Event::AgentConnected { link: back });
        env.register(back, "h1", "cpus:4", Some("M-A1"), Vec::new());
        let scheduler = env.framework("f");
        assert!(env.offers(scheduler).is_empty());
        env.next_master();
    }
    assert!(env.agent_states()[0].drain_deadline_ns.is_some(), "while it is waited for too");
    env.reactivate("M-A1").unwrap();
    let back = env.link();
    env.handle(Event::AgentConnected { link: back });
    env.register(back, "h1", "cpus:4", Some("M-A1"), Vec::new());
    let scheduler = env.framework("g");
    assert_eq!(env.offers(scheduler).len(), 1);
}

#[test]
fn the_next_master_goes_on_with_a_drain() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:4");
    let scheduler = env.framework_of(patient(), None);
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![executor_task("t", "cpus:1")]);
    env.drain("h1", None, false).unwrap();
    env.next_master();
    let back = env.link();
    env.handle(Event::AgentConnected { link: back });
    let executor = executor_task("t", "cpus:1").executor.expect("it has one");
    let status = TaskStatus::new("t".into(), TaskState::TaskRunning);
    let framework_id = || "M-F1".into();
    let record = TaskRecord { framework_id: framework_id(), task: executor_task("t", "cpus:1"), status, gang_id: None };
    let agent = mesos_plugin_api::v1::AgentInfo {
        hostname: "h1".into(),
        address: "127.0.0.1".into(),
        port: 1,
        resources: "cpus:4".parse().unwrap(),
        id: Some("M-A1".into()),
        ..Default::default()
    };
    let register = Register {
        agent,
        version: "1".into(),
        secret: vec![1],
        tasks: vec![record],
        executors: vec![crate::protocol::ExecutorRecord { framework_id: framework_id(), executor }],
        frameworks: vec![FrameworkInfo { id: Some(framework_id()), ..patient() }],
        ..Default::default()
    };
    env.agents.push(back);
    env.agent_says(back, agent_call::Call::Register(register));
    env.told(back);
    env.after(DRAIN_GRACE);
    let told = env.told(back);
    let killed = told.iter().any(|event| matches!(event, agent_event::Event::KillTask(_)));
    let shut_down = told.iter().any(|event| matches!(event, agent_event::Event::ShutdownExecutor(_)));
    assert!(killed && shut_down, "{told:?}");
}

#[test]
fn an_agent_that_is_gone_loses_its_tasks_and_is_not_let_in_again() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.told(agent);
    env.gone("h1").unwrap();
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskGoneByOperator)]);
    assert!(matches!(env.told(agent)[..], [agent_event::Event::ShutdownFramework(_)]));
    for master in 1..=2 {
        let back = env.link();
        env.handle(Event::AgentConnected { link: back });
        let status = TaskStatus::new("t".into(), TaskState::TaskRunning);
        let (framework_id, task) = ("M-F1".into(), task("t", "M-A1", "cpus:1"));
        env.register(
            back,
            "h1",
            "cpus:4",
            Some("M-A1"),
            vec![TaskRecord { framework_id, task, status, gang_id: None }],
        );
        let told = env.told(back);
        assert!(
            matches!(told[..], [agent_event::Event::Registered(_), agent_event::Event::ShutdownFramework(_)]),
            "master {master}: {told:?}"
        );
        let again = env.link();
        env.handle(Event::AgentConnected { link: again });
        env.register(again, "h1", "cpus:4", Some("M-A1"), Vec::new());
        let told = env.told(again);
        assert!(matches!(&told[..], [agent_event::Event::Refused(r)] if r.message.contains("as gone")), "{told:?}");
        env.next_master();
    }
}

#[test]
fn an_agent_may_be_marked_as_gone_when_it_is_drained() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.drain("h1", Some(10), true).unwrap();
    env.report(agent, "t", TaskState::TaskFinished, 1);
    assert!(env.agent_states()[0].absence.is_none(), "the end isn't acknowledged");
    env.acknowledge(scheduler, "t", 1);
    assert_eq!(env.agent_states()[0].absence(), crate::protocol::AgentAbsence::AgentGone);
}

#[test]
fn a_scheduler_that_connects_anew_is_asked_anew() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:4");
    let scheduler = env.framework_of(patient(), None);
    let events = env.events(scheduler);
    let [event::Event::Subscribed(subscribed), event::Event::Offers(offers)] = &events[..] else {
        panic!("{events:?}")
    };
    env.accept(scheduler, &offers.offers[0], vec![task("t", "M-A1", "cpus:1")]);
    env.drain("h1", None, false).unwrap();
    assert_eq!(env.inverse_offers(scheduler).len(), 1);
    env.handle(Event::Disconnected { link: scheduler });
    let again =
        env.framework_of(FrameworkInfo { id: Some("M-F1".into()), ..patient() }, Some(subscribed.secret.clone()));
    assert_eq!(env.inverse_offers(again).len(), 1);
}
