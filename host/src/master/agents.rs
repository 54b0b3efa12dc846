//! Agents: admission, connection, what each side missed.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, ExecutorId, ExecutorInfo, FrameworkId, Reason, Resources, TaskId, TaskState,
};

use super::adoption::Adopted;
use super::recording::{Admission, Pending};
use super::validation::check_agent;
use super::volumes::VolumeKey;
use super::{Effect, LinkId, Master, Peer, make_id};
use crate::allocator;
use crate::protocol::{
    AdmitAgent, AgentCall, KillTask, MarkLost, MarkUnreachable, Refused, Register, ShutdownExecutor, ShutdownFramework,
    agent_call, agent_event,
};
use crate::registry::{Operation, Presence};

/// One agent that was admitted and not lost.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) info: AgentInfo,
    pub(super) version: String,
    /// Signs tokens for its output.
    pub(super) secret: Vec<u8>,
    pub(super) link: Option<LinkId>,
    /// Unreachable then, and lost if it is that already, unless it answers or comes back before.
    pub(super) lost_at: Time,
    /// Since when it has been recorded as out of reach.
    pub(super) unreachable: Option<Time>,
    pub(super) registered: Time,
    pub(super) tasks: BTreeSet<(FrameworkId, TaskId)>,
    pub(super) executors: BTreeMap<(FrameworkId, ExecutorId), ExecutorInfo>,
    pub(super) volumes: BTreeSet<VolumeKey>,
}

impl Agent {
    pub(super) fn total(&self) -> &Resources {
        &self.info.resources
    }

    /// Whether nothing of any framework is left there.
    pub(super) fn is_idle(&self) -> bool {
        self.tasks.is_empty() && self.executors.is_empty()
    }
}

impl Master {
    pub(super) fn agent_connected(&mut self, link: LinkId) {
        self.links.insert(link, Peer::UnknownAgent);
    }

    pub(super) fn agent_called(&mut self, now: Time, link: LinkId, call: AgentCall, effects: &mut Vec<Effect>) {
        let Some(call) = call.call else { return };
        match (self.links.get(&link).cloned(), call) {
            (Some(Peer::UnknownAgent), agent_call::Call::Register(register)) => {
                self.register(now, link, register, effects);
            }
            // An agent registers once on a stream: it has lost count of its connections, and begins with a new one.
            (Some(Peer::Agent(_)), agent_call::Call::Register(_)) => {
                self.disconnected(now, link, effects);
                effects.push(Effect::Close { link });
            }
            (Some(Peer::Agent(id)), call) => {
                self.heard_from(now, &id);
                match call {
                    agent_call::Call::Register(_) => unreachable!("the arm above takes it"),
                    agent_call::Call::Update(update) => self.task_updated(now, &id, update, effects),
                    agent_call::Call::Message(message) => self.message_from_executor(&id, message, effects),
                    agent_call::Call::MessageAcknowledge(acknowledge) => {
                        self.acknowledge_from_executor(&id, acknowledge, effects);
                    }
                    agent_call::Call::ExecutorEnded(ended) => self.executor_ended(now, &id, ended, effects),
                    agent_call::Call::Volume(outcome) => self.volume_outcome(now, &id, outcome, effects),
                    agent_call::Call::Pong(_) => {}
                }
            }
            (Some(Peer::Waiting), _) => {}
            // An agent speaks before it has registered, or after its link was replaced: it will register anew.
            _ => self.close(link, effects),
        }
    }

    /// An agent joins or comes back. One that no registry has is recorded first.
    fn register(&mut self, now: Time, link: LinkId, register: Register, effects: &mut Vec<Effect>) {
        let mut info = match check_agent(register.agent.clone()) {
            Ok(info) => info,
            Err(message) => return self.refuse_agent(link, message, effects),
        };
        let claimed = info.id.take();
        let id = claimed.unwrap_or_else(|| AgentId::new(make_id(&self.config, 'A', &mut self.next_agent)));
        info.id = Some(id.clone());
        if let Some(problem) = TaskId::new(id.as_str()).problem() {
            return self.refuse_agent(link, format!("the agent's id {problem}"), effects);
        }
        if self.losing.contains(&id) {
            // It comes again, and then it is known what it comes back to.
            return self.close(link, effects);
        }
        let presence = self.absent.get(&id).map(|absent| absent.presence);
        if let Some(Presence::Gone(_)) = presence {
            return self.refuse_gone(link, &id, &register, effects);
        }
        let away = self.agents.get(&id).is_some_and(|agent| agent.unreachable.is_some()) || presence.is_some();
        match self.known_agent(&id) {
            Some(known) if known.hostname != info.hostname => {
                let message = format!(
                    "the id {id} belongs to {}, not to {}; remove the work folder that was copied from there",
                    known.hostname, info.hostname
                );
                self.refuse_agent(link, message, effects);
            }
            Some(_) if !away => self.welcome_agent(now, Admission { link, id, info, before: None, register }, effects),
            _ => {
                self.links.insert(link, Peer::Waiting);
                let operation = Operation::AdmitAgent(AdmitAgent { agent: info.clone() });
                let admission = Box::new(Admission { link, id, info, before: presence, register });
                self.record(operation, Pending::Admission(admission), effects);
            }
        }
    }

    pub(super) fn admission_recorded(&mut self, now: Time, admission: Admission, effects: &mut Vec<Effect>) {
        let id = admission.id.clone();
        let is_here = self.links.get(&admission.link) == Some(&Peer::Waiting);
        match self.absent.get(&id).map(|absent| absent.presence) {
            Some(Presence::Gone(_)) if is_here => {
                return self.refuse_gone(admission.link, &id, &admission.register, effects);
            }
            _ if is_here => return self.welcome_agent(now, admission, effects),
            _ if self.agents.contains_key(&id) || self.losing.contains(&id) || self.is_joining(&id) => return,
            Some(Presence::Gone(_)) => return,
            _ => {}
        }
        // It left meanwhile, and is again what it was.
        let (agent_id, since_ns) = (id.clone(), now.as_nanos());
        let again = match admission.before {
            Some(Presence::Unreachable(_)) => Operation::MarkUnreachable(MarkUnreachable { agent_id, since_ns }),
            Some(Presence::Lost(_)) => Operation::MarkLost(MarkLost { agent_id, since_ns }),
            Some(Presence::Admitted | Presence::Gone(_)) | None => return self.forget_agent(&id, effects),
        };
        self.record(again, Pending::Nothing, effects);
    }

    fn welcome_agent(&mut self, now: Time, admission: Admission, effects: &mut Vec<Effect>) {
        let Admission { link, id, info, before, mut register } = admission;
        self.absent.remove(&id);
        let was_lost = matches!(before, Some(Presence::Lost(_)));
        if let Some(old) = self.agents.get(&id).and_then(|agent| agent.link).filter(|old| *old != link) {
            self.close(old, effects);
        }
        self.links.insert(link, Peer::Agent(id.clone()));
        let event = self.registered(&id);
        effects.push(Effect::ToAgent { link, event: agent_event::Event::Registered(event) });
        let was_unreachable = self.agents.get_mut(&id).and_then(|agent| agent.unreachable.take()).is_some();
        let adopted = self.admit(now, &id, link, info, was_lost, &register);
        let volumes = std::mem::take(&mut register.volumes);
        self.compare_with_record(now, &id, register, effects);
        self.compare_volumes(now, &id, volumes, effects);
        if was_unreachable {
            self.volumes_are_back(&id, effects);
        }
        self.answer_held(now, &adopted, effects);
        self.recovered(now, &id, effects);
        self.settle_held(now, effects);
        self.after_agent_change(now, &id, effects);
    }

    pub(super) fn refuse_agent(&mut self, link: LinkId, message: String, effects: &mut Vec<Effect>) {
        effects.push(Effect::ToAgent { link, event: agent_event::Event::Refused(Refused { message }) });
        self.close(link, effects);
    }

    /// Returns the tasks that it brought with it.
    fn admit(
        &mut self,
        now: Time,
        id: &AgentId,
        link: LinkId,
        info: AgentInfo,
        was_lost: bool,
        register: &Register,
    ) -> BTreeSet<(FrameworkId, TaskId)> {
        let mut brought = BTreeSet::new();
        if let Some(agent) = self.agents.get_mut(id) {
            agent.version.clone_from(&register.version);
            agent.secret.clone_from(&register.secret);
            agent.link = Some(link);
            agent.info = info;
        } else {
            // What was lost with it is not taken up again: its frameworks were told.
            let adopted = if was_lost { Adopted::default() } else { self.adopt(now, id, register) };
            brought.clone_from(&adopted.tasks);
            let event = allocator::Event::AddAgent {
                id: id.clone(),
                hostname: info.hostname.clone(),
                total: info.resources.clone(),
                used: adopted.used,
            };
            let agent = Agent {
                info,
                version: register.version.clone(),
                secret: register.secret.clone(),
                link: Some(link),
                lost_at: now,
                unreachable: None,
                registered: now,
                tasks: adopted.tasks,
                executors: adopted.executors,
                volumes: BTreeSet::new(),
            };
            self.agents.insert(id.clone(), agent);
            self.tell_allocator(now, event);
        }
        self.heard_from(now, id);
        self.next_ping.get_or_insert(now + self.config.ping_interval);
        brought
    }

    /// What an agent that comes back runs, against what it should run: each side learns what it missed.
    fn compare_with_record(&mut self, now: Time, id: &AgentId, register: Register, effects: &mut Vec<Effect>) {
        let link = self.agents[id].link.expect("it has just registered");
        let mut runs = BTreeSet::new();
        let mut unknown_frameworks = BTreeSet::new();
        for record in register.tasks {
            let (framework_id, task_id) = (record.framework_id.clone(), record.task.id.clone());
            runs.insert((framework_id.clone(), task_id.clone()));
            self.task_is_back(now, &record, effects);
            if !self.frameworks.contains_key(&framework_id) {
                unknown_frameworks.insert(framework_id);
            } else if let Some(kill) = self.kill_wanted(id, &framework_id, &task_id) {
                effects.push(Effect::ToAgent { link, event: agent_event::Event::KillTask(kill) });
            }
        }
        let executors = register.executors.into_iter().map(|record| (record.framework_id, record.executor.id));
        let executors: BTreeSet<_> = executors.collect();
        for key in &executors {
            match self.frameworks.get(&key.0) {
                None => drop(unknown_frameworks.insert(key.0.clone())),
                // It was told to end with the agent, or its tasks were.
                Some(framework) if framework.ending.is_some() || !self.agents[id].executors.contains_key(key) => {
                    self.shut_executor_down(id, &key.0, &key.1, effects);
                }
                Some(_) => {}
            }
        }
        for framework_id in unknown_frameworks {
            let event = agent_event::Event::ShutdownFramework(ShutdownFramework { framework_id });
            effects.push(Effect::ToAgent { link, event });
        }
        let missing: Vec<_> = self.agents[id].tasks.difference(&runs).cloned().collect();
        for (framework_id, task_id) in missing {
            let message = format!("the agent {id} never got the task, or forgot it in a restart");
            self.end_task(
                now,
                &framework_id,
                &task_id,
                TaskState::TaskDropped,
                Reason::AgentRestarted,
                message,
                effects,
            );
        }
        let gone: Vec<_> = self.agents[id].executors.keys().filter(|key| !executors.contains(*key)).cloned().collect();
        for (framework_id, executor_id) in gone {
            self.executor_gone(
                now,
                id,
                &framework_id,
                &executor_id,
                None,
                Some("gone when its agent came back".into()),
                effects,
            );
        }
    }

    fn kill_wanted(&self, agent: &AgentId, framework_id: &FrameworkId, task_id: &TaskId) -> Option<KillTask> {
        let framework = &self.frameworks[framework_id];
        let kill = |grace_ms| KillTask {
            framework_id: framework_id.clone(),
            task_id: task_id.clone(),
            grace_ms,
            reason: None,
            message: None,
        };
        match framework.tasks.get(task_id).filter(|task| task.info.agent_id == *agent) {
            None => Some(kill(None)),
            Some(task) => {
                task.kill_wanted.as_deref().cloned().or_else(|| framework.ending.is_some().then(|| kill(None)))
            }
        }
    }

    fn after_agent_change(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        self.tell_allocator(
            now,
            allocator::Event::UpdateAgent { id: id.clone(), total: self.agents[id].total().clone() },
        );
        self.agent_stands_anew(id);
        self.follow_plan(now, id, effects);
    }

    /// Sends to an agent if it is connected; if not, what it missed is compared when it comes back.
    pub(super) fn tell_agent(&self, id: &AgentId, event: agent_event::Event, effects: &mut Vec<Effect>) {
        if let Some(link) = self.agents.get(id).and_then(|agent| agent.link) {
            effects.push(Effect::ToAgent { link, event });
        }
    }

    pub(super) fn shut_executor_down(
        &self,
        agent: &AgentId,
        framework_id: &FrameworkId,
        executor_id: &ExecutorId,
        effects: &mut Vec<Effect>,
    ) {
        let event = ShutdownExecutor { framework_id: framework_id.clone(), executor_id: executor_id.clone() };
        self.tell_agent(agent, agent_event::Event::ShutdownExecutor(event), effects);
    }

    /// What tasks and executors use of an agent.
    pub(super) fn used_on(&self, id: &AgentId) -> Resources {
        let agent = &self.agents[id];
        let executors: Resources = agent.executors.values().map(|executor| &executor.resources).sum();
        let live = agent.tasks.iter().filter_map(|(framework_id, task_id)| self.task(framework_id, task_id));
        live.filter(|task| !task.resources_returned).map(|task| &task.info.resources).sum::<Resources>() + &executors
    }
}
