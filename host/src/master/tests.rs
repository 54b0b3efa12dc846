//! Given / when / then on what the master tells agents, schedulers and operators.

mod endings;
mod env;
mod adoption;
mod detached;
mod partitions;
mod drain;
mod gangs;
mod hostile;
mod volumes;

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{
    CommandInfo, ExecutorInfo, Filters, FrameworkInfo, OfferId, Resources, TaskId, TaskState, TaskStatus,
};

use super::{Caller, Effect, Event, MasterConfig};
use crate::protocol::{ListTasks, TaskRecord, agent_call, agent_event, operator_call, operator_reply};
use env::{TestEnv, executor_task, patient, refused, subscribed, task};

#[test]
fn a_task_goes_from_offer_to_history() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4;mem:1000");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    assert_eq!(offer.resources(), "cpus:4;mem:1000".parse().unwrap());

    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    assert_eq!(env.launched(agent), ["t"]);
    env.report(agent, "t", TaskState::TaskRunning, 1);
    env.report(agent, "t", TaskState::TaskFinished, 2);
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskRunning), ("t".into(), TaskState::TaskFinished)]);

    env.acknowledge(scheduler, "t", 2);
    assert_eq!(env.live_tasks(), 0);
    let all = env.operator(operator_call::Call::ListTasks(ListTasks { all: Some(true), framework: None }));
    assert!(matches!(&all[..], [Ok(operator_reply::Reply::Task(row))] if row.hostname == "h1"));
    let acknowledged = |event: &agent_event::Event| matches!(event, agent_event::Event::UpdateAcknowledge(_));
    assert!(env.told(agent).iter().any(acknowledged));
}

#[test]
fn the_rest_of_an_offer_comes_back_after_its_filter() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    assert!(env.offers(scheduler).is_empty());
    env.after(Filters::default().duration() + Duration::from_millis(1));
    assert_eq!(env.offers(scheduler)[0].resources(), Resources::default().with_cpus(3.0));
}

#[test]
fn terminal_state_returns_resources_before_it_is_acknowledged_and_only_once() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.report(agent, "t", TaskState::TaskFinished, 1);
    assert_eq!(env.offers(scheduler).len(), 1);
    env.report(agent, "t", TaskState::TaskFinished, 1);
    env.acknowledge(scheduler, "t", 1);
    env.acknowledge(scheduler, "t", 1);
    assert!(env.offers(scheduler).is_empty());
}

#[test]
fn nothing_follows_a_terminal_state() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.report(agent, "t", TaskState::TaskFailed, 2);
    env.report(agent, "t", TaskState::TaskRunning, 1);
    let reconcile = scheduler::Reconcile { task_ids: Vec::new() };
    env.events(scheduler);
    env.call(scheduler, Call::Reconcile(reconcile));
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskFailed)]);
}

#[test]
fn an_accept_of_a_rescinded_offer_launches_nothing() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.after(MasterConfig::default().offer_timeout);
    assert!(
        env.events(scheduler).iter().any(|event| matches!(event, event::Event::Rescind(r) if r.offer_id == offer.id))
    );
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskDropped)]);
    assert!(env.launched(agent).is_empty());
}

#[test]
fn a_hoarder_loses_its_offers_to_others() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:4");
    let hoarder = env.framework("hoarder");
    let other = env.framework("other");
    assert_eq!(env.offers(hoarder).len(), 1);
    assert!(env.offers(other).is_empty());
    env.after(MasterConfig::default().offer_timeout);
    assert_eq!(env.offers(other).len(), 1);
}

#[test]
fn one_offer_is_not_used_twice_nor_by_another() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let thief = env.framework("thief");
    let offer = env.offers(scheduler).remove(0);
    env.accept(thief, &offer, vec![task("stolen", "M-A1", "cpus:1")]);
    assert_eq!(env.updates(thief), [("stolen".into(), TaskState::TaskDropped)]);
    env.accept(scheduler, &offer, vec![task("one", "M-A1", "cpus:1")]);
    env.accept(scheduler, &offer, vec![task("two", "M-A1", "cpus:1")]);
    assert_eq!(env.updates(scheduler), [("two".into(), TaskState::TaskDropped)]);
    assert_eq!(env.launched(agent), ["one"]);
}

#[test]
fn each_wrong_task_is_refused_with_its_reason() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let mut both = task("both", "M-A1", "cpus:1");
    both.executor = Some(ExecutorInfo { id: "e".into(), ..Default::default() });
    let mut none = task("none", "M-A1", "cpus:1");
    none.command = Some(CommandInfo::default());
    let wrong = [
        (task("big", "M-A1", "cpus:5"), "5 cpus asked, 4 available"),
        (task("else", "M-A2", "cpus:1"), "not in the offer"),
        (task("a/b", "M-A1", "cpus:1"), "slash"),
        (task("free", "M-A1", ""), "no resources"),
        (both, "exactly one of a command and an executor"),
        (none, "exactly one of argv and shell"),
    ];
    for (wrong, problem) in wrong {
        env.call(scheduler, Call::Revive(scheduler::Revive {}));
        let offer = env.offers(scheduler).remove(0);
        env.accept(scheduler, &offer, vec![wrong]);
        let message = refused(env.events(scheduler));
        assert!(message.contains(problem), "{message}");
    }
    assert!(env.launched(agent).is_empty());
}

#[test]
fn a_task_id_is_not_used_twice_at_once() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1"), task("t", "M-A1", "cpus:1")]);
    assert_eq!(env.updates(scheduler), [("t".into(), TaskState::TaskError)]);
    assert_eq!(env.launched(agent), ["t"]);
}

#[test]
fn an_executor_counts_once_and_until_it_ends() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let run = |id: &str| executor_task(id, "cpus:1");
    let executor = run("e").executor.expect("it has one");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![run("a"), run("b")]);
    env.report(agent, "a", TaskState::TaskFinished, 1);
    env.report(agent, "b", TaskState::TaskFinished, 1);
    env.acknowledge(scheduler, "a", 1);
    env.acknowledge(scheduler, "b", 1);
    let agents = env.operator(operator_call::Call::ListAgents(Default::default()));
    assert!(matches!(&agents[..], [Ok(operator_reply::Reply::Agent(row))] if row.used == executor.resources));
    let ended = crate::protocol::ExecutorEnded {
        framework_id: "M-F1".into(),
        executor_id: "e".into(),
        exit: None,
        message: None,
    };
    env.agent_says(agent, agent_call::Call::ExecutorEnded(ended));
    let agents = env.operator(operator_call::Call::ListAgents(Default::default()));
    assert!(matches!(&agents[..], [Ok(operator_reply::Reply::Agent(row))] if row.used.is_empty()));
}

#[test]
fn a_lost_agent_loses_its_tasks_once() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.handle(Event::Disconnected { link: agent });
    assert!(env.updates(scheduler).is_empty());
    let config = MasterConfig::default();
    env.after(config.ping_interval * config.pings_missed_max + config.agent_reregister_timeout);
    let events = env.events(scheduler);
    let lost =
        |event: &event::Event| matches!(event, event::Event::Update(u) if u.status.state() == TaskState::TaskLost);
    let failure = |event: &event::Event| matches!(event, event::Event::Failure(f) if f.executor_id.is_none());
    assert_eq!(events.iter().filter(|event| lost(event)).count(), 1);
    assert_eq!(events.iter().filter(|event| failure(event)).count(), 1);
    assert_eq!(env.live_tasks(), 0);
}

#[test]
fn a_master_that_was_stopped_itself_blames_no_agent_for_the_silence() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    // Its pongs were lost, or wait in a queue that is read after the timers.
    env.agents.clear();
    env.jump(Duration::from_secs(3600));
    assert!(env.updates(scheduler).is_empty());
    env.after(MasterConfig::default().ping_interval);
    let updates = env.updates(scheduler);
    let unreachable = [("t".into(), TaskState::TaskUnreachable)];
    assert_eq!(updates, unreachable, "an agent that stays silent is given up at the next ping");
}

#[test]
fn an_agent_that_comes_back_in_time_keeps_its_tasks() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("kept", "M-A1", "cpus:1"), task("lost", "M-A1", "cpus:1")]);
    env.handle(Event::Disconnected { link: agent });
    let back = env.link();
    env.handle(Event::AgentConnected { link: back });
    let record = TaskRecord {
        framework_id: "M-F1".into(),
        task: task("kept", "M-A1", "cpus:1"),
        status: TaskStatus::new("kept".into(), TaskState::TaskRunning),
        gang_id: None,
    };
    env.register(back, "h1", "cpus:4", Some("M-A1"), vec![record]);
    assert_eq!(env.updates(scheduler), [("lost".into(), TaskState::TaskDropped)]);
    env.after(Duration::from_secs(20));
    assert_eq!(env.live_tasks(), 1);
}

#[test]
fn a_copied_work_folder_is_refused() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:4");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    let copy = env.link();
    env.handle(Event::AgentConnected { link: copy });
    env.register(copy, "h2", "cpus:4", Some("M-A1"), Vec::new());
    assert!(matches!(&env.told(copy)[..], [agent_event::Event::Refused(r)] if r.message.contains("belongs to h1")));
    assert_eq!(env.launched(agent), ["t"]);
}

#[test]
fn teardown_waits_for_the_tasks_to_end() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.told(agent);
    env.call(scheduler, Call::Teardown(scheduler::Teardown::default()));
    assert!(matches!(&env.told(agent)[..], [agent_event::Event::KillTask(_)]));
    let next = env.framework("next");
    assert!(env.offers(next).is_empty(), "the task still has the resources");
    env.report(agent, "t", TaskState::TaskKilled, 1);
    assert_eq!(env.offers(next).len(), 1);
    let told = env.told(agent);
    assert!(matches!(&told[..], [agent_event::Event::UpdateAcknowledge(_), agent_event::Event::ShutdownFramework(_)]));
    assert!(env.effects.iter().any(|effect| matches!(effect, Effect::Close { link } if *link == scheduler)));
}

#[test]
fn a_framework_outlives_its_connection_for_its_failover_timeout() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let info = patient();
    let scheduler = env.framework_of(info.clone(), None);
    let secret = match &env.events(scheduler)[..] {
        [event::Event::Subscribed(subscribed), event::Event::Offers(_)] => subscribed.secret.clone(),
        other => panic!("{other:?}"),
    };
    env.handle(Event::Disconnected { link: scheduler });
    env.after(Duration::from_secs(59));
    let same = FrameworkInfo { id: Some("M-F1".into()), ..info.clone() };
    let thief = env.framework_of(same.clone(), Some("guess".into()));
    assert!(refused(env.events(thief)).contains("belongs to someone else"));
    let namesake = env.framework_of(info, None);
    assert!(refused(env.events(namesake)).contains("is waiting for its scheduler"));
    let back = env.framework_of(same, Some(secret));
    assert_eq!(env.offers(back).len(), 1);
    env.handle(Event::Disconnected { link: back });
    env.told(agent);
    env.after(Duration::from_secs(60));
    assert!(env.operator(operator_call::Call::ListFrameworks(Default::default())).is_empty());
}

#[test]
fn state_is_answered_when_it_is_durable_and_bounded() {
    let mut env = TestEnv::new();
    let scheduler = env.framework("f");
    let put = |size: usize| {
        let change = scheduler::StateChange { key: "k".into(), value: Some(vec![0; size]) };
        scheduler::PutState { changes: vec![change], seq: Some(3) }
    };
    env.events(scheduler);
    env.persists = false;
    env.call(scheduler, Call::PutState(put(10)));
    assert!(env.events(scheduler).is_empty());
    env.persist();
    assert!(matches!(&env.events(scheduler)[..], [event::Event::StateStored(s)] if s.seq == 3 && s.error.is_none()));
    env.call(scheduler, Call::PutState(put(70_000)));
    assert!(matches!(&env.events(scheduler)[..], [event::Event::StateStored(s)] if s.error.is_some()));
}

#[test]
fn a_scheduler_that_takes_over_is_told_of_all_that_was_written_and_shuts_the_old_one_out() {
    let mut env = TestEnv::new();
    let info = FrameworkInfo { name: "f".into(), user: "user".into(), role: "default".into(), ..Default::default() };
    let old = env.framework_of(info.clone(), None);
    let first = subscribed(&env.events(old)).unwrap();
    let put = |seq, value: u8| {
        let change = scheduler::StateChange { key: "k".into(), value: Some(vec![value]) };
        Call::PutState(scheduler::PutState { changes: vec![change], seq: Some(seq) })
    };
    env.persists = false;
    env.call(old, put(1, 1));
    env.call(old, put(2, 2));
    let same = FrameworkInfo { id: Some(first.framework_id.clone()), ..info };
    let new = env.framework_of(same.clone(), Some(first.secret.clone()));
    // The framework itself, and the first write.
    env.persist_first(2);
    assert!(subscribed(&env.events(new)).is_none(), "one write is still on its way");
    env.persist();
    let second = subscribed(&env.events(new)).unwrap();
    assert_eq!((second.state[0].value.as_slice(), second.incarnation), (&[2][..], Some(2)));

    let again = env.link();
    env.handle(Event::SchedulerConnected { link: again, caller: env.caller.clone() });
    let (secret, incarnation) = (Some(first.secret), first.incarnation);
    env.call(again, Call::Subscribe(scheduler::Subscribe { framework: same, secret, incarnation }));
    assert!(refused(env.events(again)).contains("took"));
}

#[test]
fn a_write_that_is_said_again_is_not_carried_out_again() {
    let mut env = TestEnv::new();
    let scheduler = env.framework("f");
    let put = |seq| Call::PutState(scheduler::PutState { changes: Vec::new(), seq: Some(seq) });
    env.persists = false;
    env.call(scheduler, put(1));
    env.call(scheduler, put(2));
    env.persist_first(2);
    env.events(scheduler);
    env.effects.clear();
    env.call(scheduler, put(1));
    env.call(scheduler, put(2));
    assert!(!env.effects.iter().any(|effect| matches!(effect, Effect::Persist { .. })));
    assert!(matches!(&env.events(scheduler)[..], [event::Event::StateStored(stored)] if stored.seq == 1));
}

#[test]
fn a_request_is_answered_by_its_framework() {
    let mut env = TestEnv::new();
    let scheduler = env.framework("f");
    let request = |name: &str| {
        operator_call::Call::Request(crate::protocol::RequestFramework { framework: name.into(), data: vec![1] })
    };
    assert!(matches!(&env.operator(request("g"))[..], [Err(error)] if error.contains("no framework \"g\"")));
    env.events(scheduler);
    assert!(env.operator(request("f")).is_empty());
    let id = match &env.events(scheduler)[..] {
        [event::Event::Request(request)] => request.request_id,
        other => panic!("{other:?}"),
    };
    let reply = |data, done| scheduler::Reply { request_id: id, data, done, error: None };
    env.effects.clear();
    env.call(scheduler, Call::Reply(reply(Some(vec![2]), None)));
    env.call(scheduler, Call::Reply(reply(None, Some(true))));
    env.call(scheduler, Call::Reply(reply(Some(vec![3]), None)));
    assert!(matches!(&env.effects[..], [Effect::Reply { reply: Ok(_), .. }, Effect::Close { .. }]));
}

#[test]
fn why_names_the_reason() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:1");
    let scheduler = env.framework("f");
    env.call(scheduler, Call::Suppress(scheduler::Suppress {}));
    let why = |env: &mut TestEnv, id: &str| match env
        .operator(operator_call::Call::Why(crate::protocol::Why { id: id.into() }))
        .remove(0)
    {
        Ok(operator_reply::Reply::Why(text)) => text,
        other => panic!("{other:?}"),
    };
    assert!(why(&mut env, "f").contains("suppressed"));
    assert!(why(&mut env, "h1").contains("cpus:1"));
    let unknown = env.operator(operator_call::Call::Why(crate::protocol::Why { id: "x".into() })).remove(0);
    assert!(unknown.unwrap_err().contains("no framework, task or agent"));
}

#[test]
fn kill_reaches_an_agent_that_was_away() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    assert_eq!(offer.id, OfferId::from("M-O1"));
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.handle(Event::Disconnected { link: agent });
    env.call(scheduler, Call::Kill(scheduler::Kill { task_id: TaskId::from("t"), grace_ms: None }));
    let back = env.link();
    env.handle(Event::AgentConnected { link: back });
    let record = TaskRecord {
        framework_id: "M-F1".into(),
        task: task("t", "M-A1", "cpus:1"),
        status: TaskStatus::new("t".into(), TaskState::TaskRunning),
        gang_id: None,
    };
    env.register(back, "h1", "cpus:1", Some("M-A1"), vec![record]);
    assert!(env.told(back).iter().any(|event| matches!(event, agent_event::Event::KillTask(_))));
}

/// An agent tells an executor's end only after its last message was acknowledged: a torn-down framework must not hold that up.
#[test]
fn messages_to_a_framework_that_ends_are_acknowledged_for_it() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    env.accept(scheduler, &offer, vec![task("t", "M-A1", "cpus:1")]);
    let message = |seq| {
        let message = scheduler::Message {
            agent_id: "M-A1".into(),
            executor_id: "e".into(),
            seq: Some(seq),
            ..Default::default()
        };
        agent_call::Call::Message(crate::protocol::ExecutorMessage { framework_id: "M-F1".into(), message })
    };
    env.agent_says(agent, message(1));
    assert!(matches!(&env.events(scheduler)[..], [event::Event::Message(m)] if m.seq == Some(1)));
    env.call(scheduler, Call::Teardown(scheduler::Teardown::default()));
    env.told(agent);
    env.agent_says(agent, message(2));
    assert!(
        matches!(&env.told(agent)[..], [agent_event::Event::MessageAcknowledge(a)] if a.acknowledge.seq == 2),
        "nobody else will"
    );
}

#[test]
fn a_user_acts_for_nobody_else() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let of_u = env.framework("of-u");
    let offer = env.offers(of_u).remove(0);
    env.accept(of_u, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.told(agent);

    env.caller = Caller { principal: "eve".into(), user: Some("eve".into()) };
    let refused_as_u = env.framework("as-u");
    assert!(refused(env.events(refused_as_u)).contains("eve may not run tasks as u"));
    let selector = || crate::protocol::TaskSelector { task: "t".into(), framework: None };
    for call in [
        operator_call::Call::Kill(crate::protocol::KillCall { task: selector() }),
        operator_call::Call::Teardown(crate::protocol::TeardownCall { framework: "of-u".into(), ..Default::default() }),
        operator_call::Call::Locate(crate::protocol::Locate { task: selector(), agent_id: None }),
        operator_call::Call::Request(crate::protocol::RequestFramework { framework: "of-u".into(), data: vec![1] }),
    ] {
        let answer = env.operator(call).remove(0);
        assert!(answer.unwrap_err().contains("eve may not do that"));
    }
    assert!(env.told(agent).is_empty() && env.events(of_u).is_empty());

    env.caller = Caller { principal: "u".into(), user: Some("u".into()) };
    let located = env
        .operator(operator_call::Call::Locate(crate::protocol::Locate { task: selector(), agent_id: None }))
        .remove(0);
    assert!(located.is_ok());
}

#[test]
fn a_task_runs_as_nobody_whom_its_scheduler_may_not_act_for() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:2");
    env.caller = Caller { principal: "u".into(), user: Some("u".into()) };
    let scheduler = env.framework("f");
    let offer = env.offers(scheduler).remove(0);
    let as_user = |id: &str, user: &str| {
        let mut task = task(id, "M-A1", "cpus:1");
        task.command.as_mut().unwrap().user = Some(user.into());
        task
    };
    env.accept(scheduler, &offer, vec![as_user("mine", "u"), as_user("roots", "root")]);
    assert_eq!(env.launched(agent), ["mine"]);
    assert!(refused(env.events(scheduler)).contains("u may not run it as root"));
}

#[test]
fn a_framework_keeps_its_name_user_and_role() {
    let mut env = TestEnv::new();
    let info = patient();
    let link = env.framework_of(info.clone(), None);
    let secret = subscribed(&env.events(link)).map(|subscribed| subscribed.secret);
    let other = FrameworkInfo { name: "g".into(), id: Some("M-F1".into()), ..info };
    let again = env.framework_of(other, secret);
    assert!(refused(env.events(again)).contains("is f of u in role r"));
}

#[test]
fn an_agent_is_told_which_executors_it_has_by_the_masters_count() {
    let mut env = TestEnv::new();
    let (agent, scheduler) = (env.agent("here", "cpus:8"), env.framework("f"));
    let mut counted = |id: &str| {
        let offer = env.offers(scheduler).pop().unwrap();
        env.accept(scheduler, &offer, vec![executor_task(id, "cpus:1")]);
        let told = env.told(agent).into_iter().find_map(|event| match event {
            agent_event::Event::RunTasks(run) => Some(run.running_executors),
            _ => None,
        });
        env.call(scheduler, Call::Revive(scheduler::Revive {}));
        told.unwrap()
    };
    assert!(counted("t").is_empty());
    assert_eq!(counted("u"), ["e".into()]);
}

#[test]
fn no_offers_are_made_before_the_welcome() {
    let mut env = TestEnv::new();
    let first = env.framework_of(patient(), None);
    env.agent("here", "cpus:8");
    env.persists = false;
    let put = scheduler::PutState { changes: Vec::new(), seq: Some(1) };
    env.call(first, Call::PutState(put));
    let secret = subscribed(&env.events(first)).map(|subscribed| subscribed.secret);
    // It takes over while a write of the one before isn't durable: it has to wait.
    let second = env.framework_of(FrameworkInfo { id: Some("M-F1".into()), ..patient() }, secret);
    env.persist();
    let mut told = env.events(second);
    told.retain(|event| !matches!(event, event::Event::Rescind(_)));
    assert!(matches!(&told[0], event::Event::Subscribed(_)), "{told:?}");
    assert!(told.iter().any(|event| matches!(event, event::Event::Offers(_))), "they come after it: {told:?}");
}

/// Found by the simulation, seed 3680: its offers outlived it, and their resources were offered twice.
#[test]
fn a_scheduler_whose_framework_was_torn_down_while_it_waited_is_offered_nothing() {
    let mut env = TestEnv::new();
    let first = env.framework_of(patient(), None);
    let secret = subscribed(&env.events(first)).map(|subscribed| subscribed.secret);
    let agent = env.agent("here", "cpus:8");
    let offer = env.offers(first).remove(0);
    env.accept(first, &offer, vec![task("t", "M-A1", "cpus:1")]);
    env.report(agent, "t", TaskState::TaskRunning, 1);
    env.persists = false;
    env.call(first, Call::PutState(scheduler::PutState { changes: Vec::new(), seq: Some(1) }));
    let second = env.framework_of(FrameworkInfo { id: Some("M-F1".into()), ..patient() }, secret);
    let framework = "M-F1".to_string();
    env.operator(operator_call::Call::Teardown(crate::protocol::TeardownCall { framework, ..Default::default() }));
    env.persist();
    let told = env.events(second);
    assert!(
        !told.iter().any(|event| matches!(event, event::Event::Offers(_) | event::Event::Subscribed(_))),
        "{told:?}"
    );
    env.report(agent, "t", TaskState::TaskKilled, 2);
    env.persist();
    assert!(env.effects.iter().any(|effect| matches!(effect, Effect::Close { link } if *link == second)));
}
