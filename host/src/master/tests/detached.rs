//! Frameworks whose schedulers the master runs.

use std::time::Duration;

use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{
    AgentId, ExitStatus, FrameworkId, FrameworkInfo, PluginRef, Reason, Source, TaskInfo, TaskState, TaskStatus,
};

use super::adoption::Baggage;
use super::env::{TestEnv, refused};
use crate::master::{Caller, Effect, Event, LinkId};
use crate::protocol::operator_reply::Reply;
use crate::protocol::{
    Detach, FrameworkState, GetScheduler, ListFrameworks, Locate, OperatorCall, SchedulerStart, StatusUpdate,
    TaskRecord, TaskSelector, TeardownCall, WatchFramework, agent_call, agent_event, operator_call,
};

const SCHEDULERS: &str = "M-schedulers";

fn info() -> FrameworkInfo {
    let plugin = PluginRef { name: "p".into(), version: "0.1.0".into(), sha256: "a".repeat(64), size: 1 };
    FrameworkInfo {
        name: "job".into(),
        user: "ann".into(),
        role: "r".into(),
        plugin: Some(plugin),
        ..Default::default()
    }
}

impl TestEnv {
    fn detach(&mut self) -> FrameworkId {
        let call = Detach { framework: info(), config: b"config".to_vec() };
        let replies = self.asked(operator_call::Call::Detach(call));
        let [Ok(Reply::Framework(state))] = &replies[..] else { panic!("{replies:?}") };
        state.framework.id.clone().unwrap()
    }

    /// Answers that come once something is durable too.
    fn asked(&mut self, call: operator_call::Call) -> Vec<Result<Reply, String>> {
        let link = self.link();
        self.ask_on(link, call);
        self.replies(link)
    }

    fn ask_on(&mut self, link: LinkId, call: operator_call::Call) {
        let (caller, call) = (self.caller.clone(), OperatorCall { call: Some(call) });
        self.handle(Event::OperatorCalled { link, caller, call });
    }

    fn replies(&mut self, to: LinkId) -> Vec<Result<Reply, String>> {
        let replies = self.effects.extract_if(.., |effect| matches!(effect, Effect::Reply { link, .. } if *link == to));
        let reply = |effect| match effect {
            Effect::Reply { reply, .. } => reply.map(|reply| reply.reply.unwrap()),
            _ => unreachable!(),
        };
        replies.map(reply).collect()
    }

    fn state(&mut self) -> FrameworkState {
        let replies = self.asked(operator_call::Call::ListFrameworks(ListFrameworks { completed: Some(true) }));
        let [Ok(Reply::Framework(state))] = &replies[..] else { panic!("{replies:?}") };
        state.clone()
    }

    /// The schedulers that an agent was told to start.
    fn schedulers(&mut self, on: LinkId) -> Vec<TaskInfo> {
        let runs = self.told(on).into_iter().filter_map(|event| match event {
            agent_event::Event::RunTasks(run) if run.framework.id.as_ref().unwrap().as_str() == SCHEDULERS => {
                Some(run.tasks)
            }
            _ => None,
        });
        runs.flatten().collect()
    }

    fn scheduler_ends(&mut self, on: LinkId, agent: &str, task: &TaskInfo, state: TaskState, exit: ExitStatus) {
        let mut status =
            TaskStatus::new(task.id.clone(), state).because(Source::Agent, Reason::CommandExited, "it ended");
        (status.update_seq, status.agent_id, status.exit) = (Some(1), Some(AgentId::from(agent)), Some(exit));
        let update = StatusUpdate { framework_id: SCHEDULERS.into(), status, latest_state: state.into() };
        self.agent_says(on, agent_call::Call::Update(update));
    }

    fn start_of(&mut self, id: &FrameworkId) -> SchedulerStart {
        let call = operator_call::Call::GetScheduler(GetScheduler { framework: id.to_string() });
        match self.asked(call).remove(0) {
            Ok(Reply::SchedulerStart(start)) => start,
            other => panic!("{other:?}"),
        }
    }

    /// The scheduler's process subscribes; whether it takes over.
    fn scheduler_comes(&mut self, id: &FrameworkId) -> (LinkId, Option<bool>) {
        let start = self.start_of(id);
        let link = self.framework_of(start.framework, Some(start.secret));
        let recovered = self.events(link).into_iter().find_map(|event| match event {
            event::Event::Subscribed(subscribed) => subscribed.recovered,
            _ => None,
        });
        (link, recovered)
    }
}

#[test]
fn a_scheduler_is_started_when_it_is_kept_that_it_should_be() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1;mem:100");
    env.persists = false;
    let asker = env.link();
    env.ask_on(asker, operator_call::Call::Detach(Detach { framework: info(), config: b"config".to_vec() }));
    assert!(env.replies(asker).is_empty() && env.schedulers(agent).is_empty());
    env.persists = true;
    env.persist();
    assert_eq!(env.replies(asker).len(), 1);

    let scheduler = env.schedulers(agent).remove(0);
    let command = scheduler.command.unwrap();
    assert_eq!(command.user.as_deref(), Some("ann"));
    assert_eq!(command.uris[0].value, format!("blob:{}", "a".repeat(64)));
    assert!(scheduler.resources.is_empty(), "it needs no place among the tasks");
    assert_eq!(env.start_of(&"M-F1".into()).config, b"config");
    assert_eq!(env.scheduler_comes(&"M-F1".into()).1, Some(false));
    assert!(env.state().scheduler.unwrap().confirmed);
}

#[test]
fn a_scheduler_that_dies_is_started_elsewhere_and_takes_over() {
    let mut env = TestEnv::new();
    let agents = [env.agent("h1", "cpus:1"), env.agent("h2", "cpus:1")];
    let id = env.detach();
    let first = env.schedulers(agents[0]).remove(0);
    let (link, _) = env.scheduler_comes(&id);
    env.handle(Event::Disconnected { link });
    env.scheduler_ends(agents[0], "M-A1", &first, TaskState::TaskFailed, ExitStatus::signal(9));
    assert!(env.schedulers(agents[1]).is_empty(), "not before a while");
    env.after(Duration::from_millis(250));
    let second = env.schedulers(agents[1]).remove(0);
    assert_ne!(first.id, second.id);
    assert_eq!(env.scheduler_comes(&id).1, Some(true));
    // However long nobody was there.
    env.after(Duration::from_secs(3600));
    assert_eq!(env.state().ended_ns, None);
}

#[test]
fn a_lost_agent_is_no_failure_of_its_scheduler() {
    let mut env = TestEnv::new();
    let agents = [env.agent("h1", "cpus:1"), env.agent("h2", "cpus:1")];
    let id = env.detach();
    assert_eq!(env.schedulers(agents[0]).len(), 1);
    env.scheduler_comes(&id);
    env.handle(Event::Disconnected { link: agents[0] });
    env.after(Duration::from_secs(60));
    assert_eq!(env.schedulers(agents[1]).len(), 1, "at once when it is known to be lost");
    assert_eq!(env.state().scheduler.unwrap().restarts, 1);
}

#[test]
fn one_that_can_not_start_is_given_up_with_its_words() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let id = env.detach();
    let watcher = env.link();
    env.ask_on(watcher, operator_call::Call::Watch(WatchFramework { framework: id.to_string() }));
    let scheduler = env.schedulers(agent).remove(0);
    env.scheduler_ends(agent, "M-A1", &scheduler, TaskState::TaskFailed, ExitStatus::code(1));
    let heard = env.replies(watcher);
    let Some(Ok(Reply::Framework(last))) = heard.last() else { panic!("{heard:?}") };
    assert!(last.ended_ns.is_some());
    assert_eq!(last.end_message.as_deref(), Some("its scheduler could not start on h1: it ended"));
}

#[test]
fn one_that_dies_again_and_again_is_given_up_after_a_while() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let id = env.detach();
    for _ in 0..10 {
        let scheduler = env.schedulers(agent).remove(0);
        let (link, _) = env.scheduler_comes(&id);
        env.handle(Event::Disconnected { link });
        env.scheduler_ends(agent, "M-A1", &scheduler, TaskState::TaskFailed, ExitStatus::signal(6));
        env.jump(Duration::from_secs(50));
        env.jump(Duration::from_secs(50));
    }
    let state = env.state();
    assert!(state.ended_ns.is_some() && state.end_message.unwrap().contains("10 times"));
}

#[test]
fn how_it_ended_is_kept_over_masters() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:1");
    let id = env.detach();
    let (scheduler, _) = env.scheduler_comes(&id);
    env.call(scheduler, Call::Teardown(scheduler::Teardown { exit_code: Some(7), message: Some("so".into()) }));
    for _ in 0..2 {
        let state = env.state();
        assert_eq!((state.exit_code, state.end_message.as_deref()), (Some(7), Some("so")));
        let mut told = env.asked(operator_call::Call::Watch(WatchFramework { framework: "job".into() }));
        assert!(matches!(told.remove(0), Ok(Reply::Framework(state)) if state.ended_ns.is_some()));
        env.next_master();
    }
    // Its id is nobody else's, its name is anybody's.
    assert_ne!(env.detach(), id);
}

#[test]
fn the_next_master_knows_which_scheduler_runs_and_starts_no_other() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let id = env.detach();
    let scheduler = env.schedulers(agent).remove(0);
    env.scheduler_comes(&id);
    env.next_master();
    let other = env.agent("h2", "cpus:1");
    assert!(env.schedulers(other).is_empty(), "its agent may come back");
    let status = TaskStatus::new(scheduler.id.clone(), TaskState::TaskRunning);
    let record = TaskRecord { framework_id: SCHEDULERS.into(), task: scheduler.clone(), status, gang_id: None };
    let baggage = Baggage { tasks: vec![record], ..Default::default() };
    let agent = env.back("h1", "M-A1", baggage);
    assert!(env.schedulers(agent).is_empty() && env.schedulers(other).is_empty());
    assert_eq!(env.scheduler_comes(&id).1, Some(true));
    env.scheduler_ends(agent, "M-A1", &scheduler, TaskState::TaskFailed, ExitStatus::signal(9));
    env.after(Duration::from_secs(1));
    assert_eq!(env.schedulers(other).len(), 1);
}

#[test]
fn the_next_master_starts_one_that_nobody_brings() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:1");
    env.detach();
    env.next_master();
    let agent = env.back("h1", "M-A1", Baggage::default());
    assert_eq!(env.schedulers(agent).len(), 1);
}

#[test]
fn with_its_framework_a_scheduler_ends() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    let id = env.detach();
    let scheduler = env.schedulers(agent).remove(0);
    let (link, _) = env.scheduler_comes(&id);
    env.operator(operator_call::Call::Teardown(TeardownCall { framework: "job".into(), ..Default::default() }));
    assert!(refused(env.events(link)).contains("tore the framework down"));
    let killed = |event: &agent_event::Event| matches!(event, agent_event::Event::KillTask(kill) if kill.task_id == scheduler.id);
    assert!(env.told(agent).iter().any(killed));
    env.scheduler_ends(agent, "M-A1", &scheduler, TaskState::TaskFailed, ExitStatus::code(1));
    assert!(env.schedulers(agent).is_empty());
    assert_eq!(env.live_tasks(), 0);
    assert_eq!(env.state().exit_code, None);
}

#[test]
fn another_user_may_not_touch_it() {
    let mut env = TestEnv::new();
    let agent = env.agent("h1", "cpus:1");
    env.caller = Caller { principal: "bob".into(), user: Some("bob".into()) };
    let call = operator_call::Call::Detach(Detach { framework: info(), config: Vec::new() });
    assert!(env.asked(call).remove(0).unwrap_err().contains("bob may not"));
    env.caller.user = Some("ann".into());
    let id = env.detach();
    let scheduler = env.schedulers(agent).remove(0).id;
    let task = TaskSelector { task: scheduler.to_string(), framework: None };
    let locate = || operator_call::Call::Locate(Locate { task: task.clone(), agent_id: None });
    assert!(env.operator(locate()).remove(0).is_ok());
    env.caller.user = Some("bob".into());
    let framework = id.to_string();
    for call in [
        locate(),
        operator_call::Call::Watch(WatchFramework { framework: framework.clone() }),
        operator_call::Call::GetScheduler(GetScheduler { framework: framework.clone() }),
        operator_call::Call::Teardown(TeardownCall { framework, ..Default::default() }),
    ] {
        assert!(env.asked(call).remove(0).unwrap_err().contains("bob may not"));
    }
}

#[test]
fn where_its_output_lies_is_said_by_a_master_that_never_knew_its_tasks() {
    let mut env = TestEnv::new();
    env.agent("h1", "cpus:1");
    let id = env.detach();
    let (scheduler, _) = env.scheduler_comes(&id);
    env.call(scheduler, Call::Teardown(scheduler::Teardown::default()));
    env.next_master();
    env.back("h1", "M-A1", Baggage::default());
    let locate = |framework: &str, task: &str, agent: Option<&str>| {
        let task = TaskSelector { task: task.into(), framework: Some(framework.into()) };
        operator_call::Call::Locate(Locate { task, agent_id: agent.map(AgentId::from) })
    };
    for (call, known) in [
        (locate("M-F1", "job.0", Some("M-A1")), true),
        (locate(SCHEDULERS, "M-F1.scheduler.1-1", Some("M-A1")), true),
        (locate(SCHEDULERS, "M-F2.scheduler.1-1", Some("M-A1")), false),
        (locate("M-F1", "job.0", None), false),
        (locate("M-F1", "job.0", Some("M-A2")), false),
        (locate("M-F9", "job.0", Some("M-A1")), false),
        (locate("M-F1", "../job", Some("M-A1")), false),
    ] {
        let said = env.asked(call.clone()).remove(0);
        assert_eq!(said.is_ok(), known, "{call:?}: {said:?}");
    }
}
