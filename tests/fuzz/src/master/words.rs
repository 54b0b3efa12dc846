//! What agents, schedulers and operators say: mostly sensible, with ids that were right once.

use mesos_host::protocol::{
    AgentCall, ExecutorEnded, ExecutorMessage, ExecutorRecord, KillCall, ListTasks, OperatorCall, Register,
    RequestFramework, StatusUpdate, TaskRecord, TaskSelector, TeardownCall, Why, agent_call, operator_call,
};
use mesos_plugin_api::v1::scheduler::{self, call::Call};
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, CommandInfo, ExecutorInfo, Filters, FrameworkId, FrameworkInfo, GangRequest, OfferId,
    PluginRef, TaskId, TaskInfo, TaskStatus,
};

use super::World;
use crate::input::Input;

const NAMES: &[&str] = &["a", "b", "c", "d"];

impl World {
    // ── an agent ───────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn register(&self, input: &mut Input<'_>) -> AgentCall {
        let id = match input.byte() % 4 {
            0 | 1 => None,
            2 => input.pick(&self.agent_ids).cloned(),
            _ => Some(AgentId::new(input.text())),
        };
        let agent = AgentInfo {
            hostname: name(input),
            address: "127.0.0.1".into(),
            port: 1,
            resources: input.resources(),
            attributes: Vec::new(),
            id,
            ..Default::default()
        };
        let tasks = (0..input.byte() % 4).filter_map(|_| self.record(input)).collect();
        let executors = (0..input.byte() % 2).map(|_| ExecutorRecord {
            framework_id: self.framework_id(input),
            executor: executor(input),
            ..Default::default()
        });
        let executors = executors.collect();
        let frameworks = self.frameworks.iter().filter(|_| !input.seldom()).map(|(id, _)| FrameworkInfo {
            name: format!("of-{id}"),
            user: "u".into(),
            role: "r".into(),
            id: Some(id.clone()),
            ..Default::default()
        });
        let frameworks = frameworks.collect();
        let register = Register {
            agent,
            version: "1".into(),
            secret: vec![1],
            boot_id: None,
            tasks,
            executors,
            frameworks,
            ..Default::default()
        };
        said(agent_call::Call::Register(register))
    }

    fn record(&self, input: &mut Input<'_>) -> Option<TaskRecord> {
        let (framework_id, task) = input.pick(&self.tasks)?.clone();
        let status = status(&task.id, input);
        Some(TaskRecord { framework_id, task, status, gang_id: None, ..Default::default() })
    }

    pub(super) fn report(&self, input: &mut Input<'_>) -> AgentCall {
        let (framework_id, task_id) = self.task(input);
        let mut status = status(&task_id, input);
        status.agent_id = input.pick(&self.agent_ids).cloned();
        status.update_seq = Some(input.number());
        let latest_state = i32::from(input.byte() % 16);
        said(agent_call::Call::Update(StatusUpdate { framework_id, status, latest_state, ..Default::default() }))
    }

    pub(super) fn executor_ended(&self, input: &mut Input<'_>) -> AgentCall {
        let (framework_id, executor_id) = (self.framework_id(input), name(input).into());
        said(agent_call::Call::ExecutorEnded(ExecutorEnded {
            framework_id,
            executor_id,
            exit: None,
            message: None,
            ..Default::default()
        }))
    }

    pub(super) fn message_of_agent(&self, input: &mut Input<'_>) -> AgentCall {
        let message = self.message(input);
        said(agent_call::Call::Message(ExecutorMessage {
            framework_id: self.framework_id(input),
            message,
            ..Default::default()
        }))
    }

    // ── a scheduler ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn scheduler_call(&self, step: u8, input: &mut Input<'_>) -> scheduler::Call {
        let call = match step {
            7 => self.subscribe(input),
            8 | 9 => self.accept(input),
            10 => Call::Decline(scheduler::Decline {
                offer_ids: self.offer_ids(input),
                filters: filters(input),
                ..Default::default()
            }),
            11 => Call::RequestGang(scheduler::RequestGang { request: gang(input) }),
            12 => match input.byte() % 5 {
                0 => Call::Revive(scheduler::Revive {}),
                1 => Call::Suppress(scheduler::Suppress {}),
                2 => Call::CancelGang(scheduler::CancelGang { id: name(input) }),
                3 => Call::Teardown(scheduler::Teardown::default()),
                _ => Call::Reconcile(scheduler::Reconcile { task_ids: vec![self.task(input).1] }),
            },
            13 => Call::Kill(scheduler::Kill {
                task_id: self.task(input).1,
                grace_ms: Some(input.number()),
                ..Default::default()
            }),
            14 => {
                let (task_id, agent_id) = (self.task(input).1, self.agent_id(input));
                Call::Acknowledge(scheduler::Acknowledge {
                    task_id,
                    agent_id,
                    update_seq: input.number(),
                    ..Default::default()
                })
            }
            15 => Call::PutState(scheduler::PutState {
                changes: vec![scheduler::StateChange {
                    key: name(input),
                    value: (!input.seldom()).then(|| input.bytes().to_vec()),
                }],
                seq: Some(input.number()),
            }),
            _ => match input.byte() % 3 {
                0 => Call::Message(self.message(input)),
                1 => {
                    let (agent_id, executor_id) = (self.agent_id(input), name(input).into());
                    Call::ShutdownExecutor(scheduler::ShutdownExecutor { agent_id, executor_id })
                }
                _ => Call::Reply(scheduler::Reply {
                    request_id: input.pick(&self.requests).copied().unwrap_or_default(),
                    data: Some(input.bytes().to_vec()),
                    done: Some(input.seldom()),
                    error: input.seldom().then(|| "no".to_string()),
                    ..Default::default()
                }),
            },
        };
        scheduler::Call { call: Some(call) }
    }

    fn subscribe(&self, input: &mut Input<'_>) -> Call {
        let again = input.pick(&self.frameworks).filter(|_| input.seldom()).cloned();
        let (id, secret) = again.unzip();
        let framework = FrameworkInfo {
            name: name(input),
            user: "u".into(),
            role: name(input),
            id,
            failover_timeout_ms: (!input.seldom()).then(|| input.number()),
            ..FrameworkInfo::default()
        };
        Call::Subscribe(scheduler::Subscribe { framework, secret, incarnation: input.seldom().then(|| input.number()) })
    }

    fn accept(&self, input: &mut Input<'_>) -> Call {
        let offer_ids = self.offer_ids(input);
        let tasks = (0..input.byte() % 4).map(|_| self.new_task(&offer_ids, input)).collect();
        Call::Accept(scheduler::Accept { offer_ids, tasks, filters: filters(input), ..Default::default() })
    }

    /// For an agent of one of the offers, with as much as it offers or with anything.
    fn new_task(&self, offer_ids: &[OfferId], input: &mut Input<'_>) -> TaskInfo {
        let parts: Vec<_> =
            self.offers.iter().filter(|offer| offer_ids.contains(&offer.id)).flat_map(|offer| &offer.parts).collect();
        let part = input.pick(&parts).filter(|_| !input.seldom());
        let agent = part.map_or_else(|| self.agent_id(input), |part| part.agent_id.clone());
        let resources = match part {
            Some(part) if !input.seldom() => part.resources.clone(),
            _ => input.resources(),
        };
        let id = format!("t{}", input.byte() % 8);
        let mut task = TaskInfo::command(id.as_str(), agent.clone(), resources.clone(), CommandInfo::argv(["true"]));
        if input.seldom() {
            task = TaskInfo::executor(id.as_str(), agent, resources, executor(input), Vec::new());
        }
        task.max_duration_ms = input.seldom().then(|| input.number());
        task.kill_grace_ms = input.seldom().then(|| input.number());
        task
    }

    fn message(&self, input: &mut Input<'_>) -> scheduler::Message {
        let (agent_id, executor_id) = (self.agent_id(input), name(input).into());
        scheduler::Message {
            agent_id,
            executor_id,
            data: input.bytes().to_vec(),
            seq: Some(input.number()),
            ..Default::default()
        }
    }

    // ── an operator ────────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn operator_call(&self, input: &mut Input<'_>) -> OperatorCall {
        use operator_call::Call;
        let framework = self.framework_id(input).to_string();
        let task = TaskSelector {
            task: self.task(input).1.to_string(),
            framework: Some(framework.clone()),
            ..Default::default()
        };
        let call = match input.byte() % 9 {
            0 => Call::GetCluster(Default::default()),
            1 => Call::ListAgents(Default::default()),
            2 => Call::ListFrameworks(Default::default()),
            3 => Call::ListTasks(ListTasks { all: Some(true), framework: None }),
            4 => Call::Kill(KillCall { task }),
            5 => Call::Teardown(TeardownCall { framework, ..Default::default() }),
            6 => Call::Why(Why { id: if input.seldom() { framework } else { task.task } }),
            7 => Call::Locate(mesos_host::protocol::Locate {
                task,
                agent_id: input.seldom().then(|| self.agent_id(input)),
            }),
            _ => Call::Request(RequestFramework { framework, data: input.bytes().to_vec() }),
        };
        OperatorCall { call: Some(call) }
    }

    // ── ids ────────────────────────────────────────────────────────────────────────────────────────────────────────────

    fn agent_id(&self, input: &mut Input<'_>) -> AgentId {
        input.pick(&self.agent_ids).cloned().unwrap_or_default()
    }

    fn framework_id(&self, input: &mut Input<'_>) -> FrameworkId {
        input.pick(&self.frameworks).map(|(id, _)| id.clone()).unwrap_or_default()
    }

    fn task(&self, input: &mut Input<'_>) -> (FrameworkId, TaskId) {
        let task = input.pick(&self.tasks).map(|(framework_id, task)| (framework_id.clone(), task.id.clone()));
        task.unwrap_or_default()
    }

    fn offer_ids(&self, input: &mut Input<'_>) -> Vec<OfferId> {
        // The latest first: it is the most likely to be open.
        let latest: Vec<OfferId> = self.offers.iter().rev().map(|offer| offer.id.clone()).collect();
        (0..=input.byte() % 3).filter_map(|_| input.pick(&latest).cloned()).collect()
    }
}

fn name(input: &mut Input<'_>) -> String {
    match input.byte() {
        255 => input.text(),
        at => NAMES[usize::from(at) % NAMES.len()].to_string(),
    }
}

fn said(call: agent_call::Call) -> AgentCall {
    AgentCall { call: Some(call) }
}

fn status(task_id: &TaskId, input: &mut Input<'_>) -> TaskStatus {
    let mut status = TaskStatus::new(task_id.clone(), mesos_plugin_api::v1::TaskState::TaskRunning);
    status.state = i32::from(input.byte() % 16);
    status
}

fn executor(input: &mut Input<'_>) -> ExecutorInfo {
    let plugin = PluginRef { name: "p".into(), version: "1".into(), sha256: "0".repeat(64), size: 1 };
    let (id, resources) = (name(input).into(), input.resources());
    ExecutorInfo { id, plugin, resources, config: None, command: None, shutdown_grace_ms: None, ..Default::default() }
}

fn filters(input: &mut Input<'_>) -> Option<Filters> {
    input.seldom().then(|| Filters { refuse_ms: Some(input.number()), ..Default::default() })
}

fn gang(input: &mut Input<'_>) -> GangRequest {
    GangRequest {
        id: name(input),
        slots: if input.seldom() { input.number() as u32 } else { u32::from(input.byte() % 8) },
        per_slot: input.resources(),
        per_agent: input.seldom().then(|| input.resources()),
        agents: input.seldom().then(|| u32::from(input.byte())),
        max_slots_per_agent: input.seldom().then(|| u32::from(input.byte())),
        include_hosts: (0..input.byte() % 2).map(|_| name(input)).collect(),
        exclude_hosts: (0..input.byte() % 2).map(|_| name(input)).collect(),
        within_ms: input.seldom().then(|| input.number()),
        max_duration_ms: input.seldom().then(|| input.number()),
        spread: Some(input.seldom()),
    }
}
