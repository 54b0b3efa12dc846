//! What operators want of agents: drained, deactivated, offered again, gone.
//!
//! ```text
//! operator ──▶ recorded ──▶ withdrawn from offers ──inverse offers──▶ frameworks move away ─┐
//!                                  └──deadline less each task's grace──▶ killed ────────────┴─▶ drained ──▶ gone, if wanted
//! ```
//!
//! What is recorded is the plan alone. All else follows from it and from what runs there, and is looked at after every event:
//! a new master, an agent that comes back and a scheduler that takes over find the drain where it stands.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, event};
use mesos_plugin_api::v1::{
    AgentId, ExecutorId, FrameworkId, InverseOffer, OfferId, Reason, Resources, TaskId, Unavailability,
};

use super::operators::operator;
use super::recording::Pending;
use super::{Caller, Effect, LinkId, Master, Peer, authorise, make_id};
use crate::allocator;
use crate::protocol::operator_call::Call;
use crate::protocol::{DeactivateAgent, DrainAgent, DrainAgentCall, KillTask, MarkGone, ReactivateAgent, agent_event};
use crate::registry::{AgentPlan, Operation, Presence};

/// Between the call and the kills, unless the operator says otherwise.
pub const DRAIN_GRACE: Duration = Duration::from_secs(60);
/// No drain takes longer: a slip of the finger isn't a drain that never ends.
pub const DRAIN_GRACE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// What is wanted of an agent, and how far it has come.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) wanted: AgentPlan,
    /// The inverse offers that are open.
    asked: BTreeMap<FrameworkId, Asked>,
    /// Its executors were told to end.
    executors_ended: bool,
    /// That it is gone is being recorded.
    going: bool,
}

#[derive(Debug)]
struct Asked {
    id: OfferId,
    /// It will have moved in time, or it won't.
    agrees: Option<bool>,
}

impl From<AgentPlan> for Plan {
    fn from(wanted: AgentPlan) -> Self {
        Self { wanted, ..Self::default() }
    }
}

impl Plan {
    fn deadline(&self) -> Option<Time> {
        self.wanted.drain.as_ref().map(|drain| Time(drain.deadline_ns))
    }
}

// ── operators ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// Takes what an operator wants of an agent; it is answered when that is recorded.
    pub(super) fn plan_by_operator(
        &mut self,
        now: Time,
        link: LinkId,
        caller: &Caller,
        call: Call,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        authorise::operate(caller)?;
        let by = operator(caller);
        let (operation, said) = match call {
            Call::DrainAgent(call) => self.drain_wanted(now, &call, by)?,
            Call::DeactivateAgent(call) => {
                let agent_id = self.find_agent(&call.agent)?;
                let said = format!("{agent_id} gets no more tasks; 'mesos agents reactivate' ends that");
                (Operation::DeactivateAgent(DeactivateAgent { agent_id }), said)
            }
            Call::ReactivateAgent(call) => {
                let agent_id = self.find_agent(&call.agent)?;
                if !self.plans.contains_key(&agent_id) {
                    return Err(format!("{agent_id} is neither drained nor deactivated"));
                }
                let said = format!("{agent_id} is offered again");
                (Operation::ReactivateAgent(ReactivateAgent { agent_id }), said)
            }
            Call::MarkAgentGone(call) => {
                let agent_id = self.find_agent(&call.agent)?;
                let said = format!("{agent_id} is gone, and all that ran there");
                let mark = MarkGone { agent_id, since_ns: now.as_nanos(), by: Some(by) };
                (Operation::MarkGone(mark), said)
            }
            other => unreachable!("not about an agent: {other:?}"),
        };
        self.links.insert(link, Peer::Waiter);
        let pending = Pending::Plan { operation: operation.clone(), asker: Some((link, said)) };
        self.record(operation, pending, effects);
        Ok(())
    }

    fn drain_wanted(&self, now: Time, call: &DrainAgentCall, by: String) -> Result<(Operation, String), String> {
        let agent_id = self.find_agent(&call.agent)?;
        let grace = call.grace_ms.map_or(DRAIN_GRACE, Duration::from_millis);
        if grace > DRAIN_GRACE_MAX {
            let days = DRAIN_GRACE_MAX.as_secs() / (24 * 3600);
            return Err(format!("a drain takes {days} days at the most; deactivate {agent_id} instead"));
        }
        let again = self.plans.get(&agent_id).is_some_and(|plan| plan.wanted.drain.is_some());
        let said = format!(
            "{} {agent_id}: what runs there ends in {} s at the latest",
            if again { "still draining" } else { "draining" },
            grace.as_secs_f64()
        );
        let drain = DrainAgent {
            agent_id,
            since_ns: now.as_nanos(),
            deadline_ns: (now + grace).as_nanos(),
            mark_gone: call.mark_gone,
            by: Some(by),
        };
        Ok((Operation::DrainAgent(drain), said))
    }

    /// By id, or by host name.
    fn find_agent(&self, text: &str) -> Result<AgentId, String> {
        let absent = self.absent.iter().map(|(id, absent)| (id, &absent.info));
        let here = self.agents.iter().map(|(id, agent)| (id, &agent.info)).chain(&self.recovering);
        let all: Vec<_> =
            here.chain(absent).filter(|(id, info)| id.as_str() == text || info.hostname == text).collect();
        let is_gone =
            |id: &AgentId| matches!(self.absent.get(id), Some(one) if matches!(one.presence, Presence::Gone(_)));
        let left: Vec<&AgentId> = all.iter().map(|(id, _)| *id).filter(|id| !is_gone(id)).collect();
        match (&left[..], &all[..]) {
            ([id], _) => Ok((*id).clone()),
            ([], []) => Err(format!("no agent {text:?} is known here; 'mesos agents' lists those that are")),
            ([], [(id, _), ..]) => Err(format!("the agent {id} was marked as gone; nothing more can be done with it")),
            ([one, other, ..], _) => Err(format!("{text:?} is the host of {one} and of {other}; say which by its id")),
        }
    }

    pub(super) fn plan_recorded(
        &mut self,
        now: Time,
        operation: Operation,
        asker: Option<(LinkId, String)>,
        effects: &mut Vec<Effect>,
    ) {
        match operation {
            Operation::DrainAgent(drain) => {
                let id = drain.agent_id.clone();
                let plan = self.plans.entry(id.clone()).or_default();
                (plan.wanted.drain, plan.executors_ended) = (Some(drain), false);
                // They are asked anew: the deadline may be another one.
                self.stop_asking(&id, effects);
                self.follow_plan(now, &id, effects);
            }
            Operation::DeactivateAgent(deactivate) => {
                self.plans.entry(deactivate.agent_id.clone()).or_default().wanted.deactivated = true;
                self.follow_plan(now, &deactivate.agent_id, effects);
            }
            Operation::ReactivateAgent(reactivate) => {
                self.stop_asking(&reactivate.agent_id, effects);
                self.plans.remove(&reactivate.agent_id);
                self.follow_plan(now, &reactivate.agent_id, effects);
            }
            Operation::MarkGone(mark) => {
                self.stop_asking(&mark.agent_id, effects);
                self.gone_recorded(now, &mark.agent_id, mark.by.as_deref().unwrap_or("an operator"), effects);
            }
            other => unreachable!("no plan for an agent: {other:?}"),
        }
        if let Some((asker, said)) = asker {
            self.answer_asker(asker, Ok(said), effects);
        }
    }

    /// Offered or not, as it is there and as operators want it.
    pub(super) fn follow_plan(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        if self.is_offered(id) {
            self.tell_allocator(now, allocator::Event::ActivateAgent { id: id.clone() });
            self.volumes_due.extend(self.agents[id].volumes.iter().cloned());
        } else if self.agents.contains_key(id) {
            self.withdraw(now, id, effects);
        }
        self.carry_out_allocation(now, effects);
    }

    /// What its executors were told before, it may not have heard.
    pub(super) fn agent_stands_anew(&mut self, id: &AgentId) {
        if let Some(plan) = self.plans.get_mut(id) {
            plan.executors_ended = false;
        }
    }

    pub(super) fn is_offered(&self, id: &AgentId) -> bool {
        self.agents.get(id).is_some_and(|agent| agent.link.is_some()) && !self.plans.contains_key(id)
    }
}

// ── while it drains ─────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    pub(super) fn drain_deadline(&self) -> Option<Time> {
        self.plans.iter().filter_map(|(id, plan)| self.next_kill(id, plan)).min()
    }

    /// When the next of its tasks has to be told to end, so that its own grace is over by the deadline.
    fn next_kill(&self, id: &AgentId, plan: &Plan) -> Option<Time> {
        let (deadline, agent) = (plan.deadline()?, self.agents.get(id)?);
        agent.link?;
        let tasks = agent.tasks.iter().filter_map(|(framework_id, task_id)| self.task(framework_id, task_id));
        let tasks = tasks.filter(|task| !task.status.state().is_terminal() && !task.is_drained());
        let executors = (!plan.executors_ended && !agent.executors.is_empty()).then_some(deadline);
        tasks.map(|task| deadline - task.info.kill_grace()).chain(executors).min()
    }

    /// Goes on with every drain: asks, kills, and marks as gone.
    pub(super) fn go_on_draining(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let draining = self.plans.iter().filter(|(_, plan)| plan.wanted.drain.is_some());
        for id in draining.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.ask_to_move(&id, effects);
            let due = self.next_kill(&id, &self.plans[&id]).is_some_and(|due| due <= now);
            if due {
                self.end_what_runs_on(now, &id, effects);
            }
            self.mark_drained_as_gone(now, &id, effects);
        }
    }

    fn end_what_runs_on(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        let deadline = self.plans[id].deadline().expect("it is being drained");
        let message = self.why_drained(id);
        for (framework_id, task_id) in self.agents[id].tasks.clone() {
            self.kill_for_drain(now, &framework_id, &task_id, deadline, &message, effects);
        }
        if deadline <= now {
            self.plans.get_mut(id).expect("the caller has it").executors_ended = true;
            let executors: Vec<(FrameworkId, ExecutorId)> = self.agents[id].executors.keys().cloned().collect();
            for (framework_id, executor_id) in executors {
                self.shut_executor_down(id, &framework_id, &executor_id, effects);
            }
        }
    }

    /// If its own grace reaches to the deadline by now.
    fn kill_for_drain(
        &mut self,
        now: Time,
        framework_id: &FrameworkId,
        task_id: &TaskId,
        deadline: Time,
        message: &str,
        effects: &mut Vec<Effect>,
    ) {
        let framework = self.frameworks.get_mut(framework_id);
        let Some(task) = framework.and_then(|framework| framework.tasks.get_mut(task_id)) else { return };
        let grace = task.info.kill_grace();
        if task.status.state().is_terminal() || task.is_drained() || now < deadline - grace {
            return;
        }
        let left = grace.min(deadline.since(now));
        let kill = KillTask {
            framework_id: framework_id.clone(),
            task_id: task_id.clone(),
            grace_ms: Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
            reason: Some(Reason::AgentDraining.into()),
            message: Some(message.to_string()),
        };
        task.kill_wanted = Some(Box::new(kill.clone()));
        let agent = task.info.agent_id.clone();
        self.tell_agent(&agent, agent_event::Event::KillTask(kill), effects);
    }

    fn why_drained(&self, id: &AgentId) -> String {
        let by = self.plans.get(id).and_then(|plan| plan.wanted.drain.as_ref()).and_then(|drain| drain.by.as_deref());
        let hostname = self.known_agent(id).map_or("", |info| info.hostname.as_str());
        format!("the agent {id} on {hostname} is being drained by {}", by.unwrap_or("an operator"))
    }

    /// Whether nothing runs any more on an agent that was to be drained.
    pub(super) fn is_drained(&self, id: &AgentId) -> bool {
        let idle = match self.agents.get(id) {
            Some(agent) => agent.is_idle(),
            None => matches!(self.absent.get(id), Some(absent) if matches!(absent.presence, Presence::Lost(_))),
        };
        idle && self.plans.get(id).is_some_and(|plan| plan.wanted.drain.is_some())
    }

    fn mark_drained_as_gone(&mut self, now: Time, id: &AgentId, effects: &mut Vec<Effect>) {
        if !self.is_drained(id) {
            return;
        }
        let plan = self.plans.get_mut(id).expect("it was drained");
        let drain = plan.wanted.drain.as_ref().expect("it was drained");
        if drain.mark_gone == Some(true) && !std::mem::replace(&mut plan.going, true) {
            let mark = MarkGone { agent_id: id.clone(), since_ns: now.as_nanos(), by: drain.by.clone() };
            let operation = Operation::MarkGone(mark);
            self.record(operation.clone(), Pending::Plan { operation, asker: None }, effects);
        }
    }
}

// ── inverse offers ──────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// Each framework that has something there and hears us is asked once; those that have left are asked no more.
    fn ask_to_move(&mut self, id: &AgentId, effects: &mut Vec<Effect>) {
        let there = self.frameworks_on(id);
        let plan = &self.plans[id];
        let left: Vec<FrameworkId> = plan.asked.keys().filter(|asked| !there.contains(*asked)).cloned().collect();
        for framework_id in left {
            self.rescind_inverse(id, &framework_id, effects);
        }
        for framework_id in there {
            let hears = |framework: &super::frameworks::Framework| framework.link.is_some() && !framework.welcome_waits;
            let hears = self.frameworks.get(&framework_id).is_some_and(|state| hears(state) && state.ending.is_none());
            if hears && !self.plans[id].asked.contains_key(&framework_id) {
                self.make_inverse_offer(id, framework_id, effects);
            }
        }
    }

    fn make_inverse_offer(&mut self, agent: &AgentId, framework_id: FrameworkId, effects: &mut Vec<Effect>) {
        let id = OfferId::new(make_id(&self.config, 'I', &mut self.next_offer));
        let message = self.why_drained(agent);
        let plan = self.plans.get_mut(agent).expect("it is being drained");
        let start_ns = plan.deadline().expect("it is being drained").as_nanos();
        plan.asked.insert(framework_id.clone(), Asked { id: id.clone(), agrees: None });
        let offer = InverseOffer {
            id,
            framework_id: framework_id.clone(),
            agent_id: agent.clone(),
            unavailability: Unavailability { start_ns, duration_ms: None },
            resources: Some(self.used_there(&framework_id, agent)),
            hostname: self.agents.get(agent).map(|agent| agent.info.hostname.clone()),
            message: Some(message),
        };
        let offers = scheduler::InverseOffers { inverse_offers: vec![offer] };
        self.tell(&framework_id, event::Event::InverseOffers(offers), effects);
    }

    fn used_there(&self, framework_id: &FrameworkId, agent: &AgentId) -> Resources {
        let row = &self.agents[agent];
        let tasks = row.tasks.iter().filter(|(owner, _)| owner == framework_id);
        let tasks = tasks.filter_map(|(owner, id)| self.task(owner, id)).filter(|task| !task.resources_returned);
        let executors = row.executors.iter().filter(|((owner, _), _)| owner == framework_id);
        tasks.map(|task| &task.info.resources).chain(executors.map(|(_, executor)| &executor.resources)).sum()
    }

    fn rescind_inverse(&mut self, agent: &AgentId, framework_id: &FrameworkId, effects: &mut Vec<Effect>) {
        let asked = self.plans.get_mut(agent).and_then(|plan| plan.asked.remove(framework_id));
        if let Some(Asked { id, .. }) = asked {
            let rescind = scheduler::RescindInverseOffer { inverse_offer_id: id };
            self.tell(framework_id, event::Event::RescindInverseOffer(rescind), effects);
        }
    }

    fn stop_asking(&mut self, agent: &AgentId, effects: &mut Vec<Effect>) {
        let Some(plan) = self.plans.get(agent) else { return };
        for framework_id in plan.asked.keys().cloned().collect::<Vec<_>>() {
            self.rescind_inverse(agent, &framework_id, effects);
        }
    }

    /// Whoever takes it over knows nothing of what it was asked.
    pub(super) fn forget_asked(&mut self, framework_id: &FrameworkId) {
        for plan in self.plans.values_mut() {
            plan.asked.remove(framework_id);
        }
    }

    pub(super) fn answer_inverse(&mut self, framework_id: &FrameworkId, ids: &[OfferId], agrees: bool) {
        for plan in self.plans.values_mut() {
            if let Some(asked) = plan.asked.get_mut(framework_id).filter(|asked| ids.contains(&asked.id)) {
                asked.agrees = Some(agrees);
            }
        }
    }

    /// How the drain of an agent stands, for people.
    pub(super) fn why_planned(&self, now: Time, id: &AgentId) -> Vec<String> {
        let Some(plan) = self.plans.get(id) else { return Vec::new() };
        let mut lines = Vec::new();
        if plan.wanted.deactivated {
            lines.push("is deactivated and offers nothing; 'mesos agents reactivate' ends that".to_string());
        }
        let Some(drain) = &plan.wanted.drain else { return lines };
        let by = drain.by.as_deref().unwrap_or("an operator");
        if self.is_drained(id) {
            lines.push(format!("was drained by {by} and offers nothing; 'mesos agents undrain' ends that"));
            return lines;
        }
        let left = Time(drain.deadline_ns).since(now).as_secs_f64();
        lines.push(format!("is being drained by {by}: offers nothing, and what runs there is killed in {left:.0} s"));
        lines.extend(plan.asked.iter().map(|(framework_id, asked)| match asked.agrees {
            Some(true) => format!("{framework_id} moves away by itself"),
            Some(false) => format!("{framework_id} has said that it does not move by itself"),
            None => format!("{framework_id} was asked to move and has not answered"),
        }));
        lines
    }

    pub(super) fn check_plans(&self) {
        for (id, plan) in &self.plans {
            assert!(!plan.wanted.is_active(), "a plan for {id} wants something");
            assert!(self.known_agent(id).is_some(), "agent {id} has a plan and is unknown");
            let offered = self.offers.values().flat_map(|offer| &offer.parts).any(|part| part.agent_id == *id);
            assert!(!offered, "agent {id} is offered and should not be");
        }
    }
}
