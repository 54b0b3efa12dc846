//! Frameworks: subscription, calls, failover, end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{AgentId, FrameworkId, FrameworkInfo, GangRequest, Reason, TaskId};

use super::detached::Detached;
use super::recording::Pending;
use super::tasks::Task;
use super::validation::{check_framework, check_gang};
use super::{Caller, Effect, FRAMEWORK_HISTORY_MAX, LinkId, Master, Peer, authorise, make_id};
use crate::allocator;
use crate::protocol::{
    EndFramework, ForgetFramework, KeepEnded, PutFramework, PutFrameworkState, SchedulerBack, SetDeadline,
    ShutdownFramework, agent_event, token,
};
use crate::registry::{self, Operation, UNRECORDED_FAILOVER_MAX};

/// A value of a framework's state, in bytes.
pub const STATE_VALUE_BYTES_MAX: usize = 64 << 10;
/// What is kept together, in bytes: a record of the registry.
pub const STATE_WRITE_BYTES_MAX: usize = 480 << 10;
/// All of a framework's state, in bytes.
pub const STATE_BYTES_MAX: usize = 1 << 20;

/// One framework, connected or not.
#[derive(Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    pub(super) info: FrameworkInfo,
    pub(super) principal: String,
    /// The one user that its scheduler may act for; see [`Caller`].
    pub(super) acts_for: Option<String>,
    pub(super) link: Option<LinkId>,
    /// Torn down then, unless its scheduler comes back before.
    pub(super) deadline: Option<Time>,
    pub(super) registered: Time,
    pub(super) ended: Option<Time>,
    /// Being torn down, and why: its tasks are killed and their ends acknowledged for it.
    pub(super) ending: Option<String>,
    /// How its work ended, as its scheduler said it.
    pub(super) outcome: Outcome,
    /// The cluster runs its scheduler.
    pub(super) detached: Option<Detached>,
    pub(super) tasks: BTreeMap<TaskId, Box<Task>>,
    /// Agents that ever ran something of it.
    pub(super) touched: BTreeSet<AgentId>,
    pub(super) gangs: BTreeMap<String, GangRequest>,
    /// The registry knows it.
    pub(super) recorded: bool,
    /// It wants no offers until it revives.
    pub(super) suppressed: bool,
    pub(super) state: BTreeMap<String, Vec<u8>>,
    /// Rises with each scheduler that takes it over.
    pub(super) incarnation: u64,
    /// Whether its scheduler takes over from another, where we know.
    pub(super) recovers: Option<bool>,
    /// The last write of this scheduler.
    pub(super) written: u64,
    /// Its scheduler is told of its state when all that was written before is kept.
    pub(super) welcome_waits: bool,
}

/// What is left of a framework's work.
#[derive(Debug, Clone, Default)]
pub(super) struct Outcome {
    pub(super) exit_code: Option<i32>,
    pub(super) message: Option<String>,
}

impl Framework {
    /// One whose scheduler isn't there.
    pub(super) fn new(id: FrameworkId, info: FrameworkInfo, principal: String, registered: Time) -> Self {
        Self {
            id,
            acts_for: Some(info.user.clone()),
            info,
            principal,
            link: None,
            deadline: None,
            registered,
            ended: None,
            ending: None,
            outcome: Outcome::default(),
            detached: None,
            tasks: BTreeMap::new(),
            touched: BTreeSet::new(),
            gangs: BTreeMap::new(),
            recorded: false,
            suppressed: false,
            state: BTreeMap::new(),
            incarnation: 0,
            recovers: None,
            written: 0,
            welcome_waits: false,
        }
    }

    fn failover_timeout(&self) -> Duration {
        Duration::from_millis(self.info.failover_timeout_ms.unwrap_or(0))
    }
}

/// A write of a framework's state on its way.
#[derive(Debug)]
pub(super) struct PendingState {
    pub(super) framework_id: FrameworkId,
    changes: Vec<scheduler::StateChange>,
    seq: u64,
}

impl Master {
    pub(super) fn scheduler_called(
        &mut self,
        now: Time,
        link: LinkId,
        call: scheduler::Call,
        effects: &mut Vec<Effect>,
    ) {
        let Some(call) = call.call else { return };
        let id = match (self.links.get(&link).cloned(), call) {
            (Some(Peer::UnknownScheduler(caller)), Call::Subscribe(subscribe)) => {
                return self.subscribe(now, link, &caller, subscribe, effects);
            }
            (Some(Peer::Scheduler(id)), call) => {
                self.framework_called(now, &id, call, effects);
                id
            }
            (Some(Peer::Waiting), _) => return,
            // It speaks before it has subscribed, or after another took over: it will subscribe anew.
            _ => return self.close(link, effects),
        };
        self.finish_teardown(now, &id, effects);
        self.carry_out_allocation(now, effects);
    }

    fn framework_called(&mut self, now: Time, id: &FrameworkId, call: Call, effects: &mut Vec<Effect>) {
        match call {
            Call::Subscribe(_) => {}
            Call::Accept(accept) => self.accept(now, id, accept, effects),
            Call::Decline(decline) => self.decline(now, id, &decline),
            Call::Revive(_) => self.revive(now, id),
            Call::Suppress(_) => self.suppress(now, id),
            Call::RequestGang(gang) => self.request_gang(now, id, gang.request, effects),
            Call::CancelGang(cancel) => self.cancel_gang(now, id, &cancel.id),
            Call::Kill(kill) => self.kill(now, id, &kill, effects),
            Call::ShutdownExecutor(shutdown) => {
                self.shut_executor_down(&shutdown.agent_id, id, &shutdown.executor_id, effects);
            }
            Call::Acknowledge(acknowledge) => self.acknowledge(now, id, &acknowledge, effects),
            Call::Reconcile(reconcile) => self.reconcile(now, id, &reconcile, effects),
            Call::Message(message) => self.message_to_executor(id, message, effects),
            Call::MessageAcknowledge(acknowledge) => self.acknowledge_to_executor(id, acknowledge, effects),
            Call::Reply(reply) => self.framework_replied(id, reply, effects),
            Call::PutState(put) => self.put_state(id, put, effects),
            Call::AcceptInverseOffers(accept) => self.answer_inverse(id, &accept.inverse_offer_ids, true),
            Call::DeclineInverseOffers(decline) => self.answer_inverse(id, &decline.inverse_offer_ids, false),
            Call::DestroyVolume(destroy) => self.destroy_by_framework(now, id, &destroy, effects),
            Call::Teardown(scheduler::Teardown { exit_code, message }) => {
                self.tear_down_with(now, id, Outcome { exit_code, message }, effects);
            }
        }
    }

    fn subscribe(
        &mut self,
        now: Time,
        link: LinkId,
        caller: &Caller,
        subscribe: scheduler::Subscribe,
        effects: &mut Vec<Effect>,
    ) {
        let checked = check_framework(&subscribe.framework);
        let checked = checked.and_then(|()| authorise::subscribe(caller, &subscribe.framework));
        let admitted = checked.and_then(|()| match subscribe.framework.id.clone() {
            Some(id) => self.resubscribe(now, &id, caller, subscribe).map(|()| id),
            None => self.admit_framework(now, caller, subscribe.framework),
        });
        match admitted {
            Ok(id) => self.connect_scheduler(now, &id, link, caller, effects),
            Err(message) => self.turn_away(link, message, effects),
        }
    }

    fn turn_away(&mut self, link: LinkId, message: String, effects: &mut Vec<Effect>) {
        let error = scheduler::Error { message, fatal: Some(true) };
        effects.push(Effect::ToScheduler { link, event: event::Event::Error(error) });
        self.close(link, effects);
    }

    /// From now on its scheduler is at the end of this link, and at no other.
    fn connect_scheduler(
        &mut self,
        now: Time,
        id: &FrameworkId,
        link: LinkId,
        caller: &Caller,
        effects: &mut Vec<Effect>,
    ) {
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        framework.deadline = None;
        framework.principal.clone_from(&caller.principal);
        framework.acts_for.clone_from(&caller.user);
        if let Some(old) = framework.link.replace(link).filter(|old| *old != link) {
            self.turn_away(old, format!("another scheduler took {id} over"), effects);
        }
        // None before it is welcome: it would not hear of them, and they would lie there until they time out.
        self.tell_allocator(now, allocator::Event::DeactivateFramework { id: id.clone() });
        // Its offers of before are void: whoever takes over knows nothing of them.
        self.rescind_of(now, id, effects);
        self.links.insert(link, Peer::Scheduler(id.clone()));
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        framework.welcome_waits = true;
        self.forget_asked(id);
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        if framework.recorded {
            self.record_framework(id, Pending::Nothing, effects);
        } else if framework.failover_timeout() > UNRECORDED_FAILOVER_MAX {
            self.record_framework(id, Pending::Subscription(id.clone()), effects);
        }
        self.scheduler_connected(id, effects);
        self.welcome(now, id, effects);
    }

    pub(super) fn record_framework(&mut self, id: &FrameworkId, pending: Pending, effects: &mut Vec<Effect>) {
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        framework.recorded = true;
        let put = PutFramework {
            framework: framework.info.clone(),
            principal: Some(framework.principal.clone()),
            registered_ns: framework.registered.as_nanos(),
            incarnation: Some(framework.incarnation),
            written: Some(framework.written),
        };
        self.record(Operation::PutFramework(put), pending, effects);
    }

    /// A scheduler that takes over must know all that the one before it has stored. One whose framework was torn down while it
    /// waited isn't welcome any more: it would be offered resources of a framework that is about to be removed.
    pub(super) fn welcome(&mut self, now: Time, id: &FrameworkId, effects: &mut Vec<Effect>) {
        let writing = self.persisting.values().any(|pending| pending.holds_back(id));
        let is_due = |framework: &&mut Framework| framework.welcome_waits && framework.ending.is_none() && !writing;
        let Some(framework) = self.frameworks.get_mut(id).filter(is_due) else { return };
        framework.welcome_waits = false;
        let state = framework.state.iter();
        let subscribed = scheduler::Subscribed {
            framework_id: id.clone(),
            secret: token::framework_secret(&self.config.key, id),
            master_epoch: self.config.epoch,
            state: state.map(|(key, value)| scheduler::StateEntry { key: key.clone(), value: value.clone() }).collect(),
            incarnation: Some(framework.incarnation),
            recovered: framework.recovers,
        };
        self.tell(id, event::Event::Subscribed(subscribed), effects);
        self.tell_of_volumes(id, effects);
        self.show_volumes(id);
        for agent in &self.frameworks[id].touched {
            let event = agent_event::Event::SchedulerBack(SchedulerBack { framework_id: id.clone() });
            self.tell_agent(agent, event, effects);
        }
        self.tell_allocator(now, allocator::Event::ActivateFramework { id: id.clone() });
        self.carry_out_allocation(now, effects);
    }

    pub(super) fn admit_framework(
        &mut self,
        now: Time,
        caller: &Caller,
        mut info: FrameworkInfo,
    ) -> Result<FrameworkId, String> {
        if let Some(other) = self.frameworks.values().find(|framework| framework.info.name == info.name) {
            let problem = if other.link.is_some() { "runs already" } else { "is waiting for its scheduler" };
            return Err(format!(
                "a framework named {:?} {problem} as {}; choose another name, or end it with 'mesos teardown {}'",
                info.name, other.id, other.id
            ));
        }
        let id = FrameworkId::new(make_id(&self.config, 'F', &mut self.next_framework));
        info.id = Some(id.clone());
        let incarnation = self.next_incarnation(0);
        let framework = Framework::new(id.clone(), info, caller.principal.clone(), now);
        self.insert_framework(now, Framework { incarnation, ..framework });
        Ok(id)
    }

    /// Higher than any that another master has given.
    fn next_incarnation(&self, last: u64) -> u64 {
        (last + 1).max((self.config.epoch.saturating_sub(1) << 32) + 1)
    }

    /// The same framework again: a reconnect, or a scheduler that takes over from another one.
    fn resubscribe(
        &mut self,
        now: Time,
        id: &FrameworkId,
        caller: &Caller,
        subscribe: scheduler::Subscribe,
    ) -> Result<(), String> {
        let unknown = || format!("the framework {id} is not known here, or has been torn down");
        let secret = token::framework_secret(&self.config.key, id);
        let proven = subscribe.secret.is_some_and(|given| token::same(given.as_bytes(), secret.as_bytes()));
        let info = FrameworkInfo { id: Some(id.clone()), ..subscribe.framework };
        match self.frameworks.get(id) {
            Some(framework) if framework.ending.is_some() => return Err(unknown()),
            None if !self.may_be_earlier(id) => return Err(unknown()),
            _ if !proven => {
                return Err(format!("the framework {id} belongs to someone else: its secret is another one"));
            }
            Some(framework) => keeps_identity(id, &framework.info, &info)?,
            // An earlier master gave it its secret, and none of its tasks is known yet.
            None => self.insert_framework(now, Framework::new(id.clone(), info.clone(), caller.principal.clone(), now)),
        }
        let next = self.next_incarnation(self.frameworks[id].incarnation);
        let framework = self.frameworks.get_mut(id).expect("it is there by now");
        match subscribe.incarnation {
            None => {
                framework.recovers = framework.detached.as_ref().map(|detached| detached.state.confirmed);
                (framework.incarnation, framework.written) = (next, 0);
            }
            Some(incarnation) if incarnation < framework.incarnation => {
                return Err(format!("another scheduler took {id} over"));
            }
            // An earlier master gave it, and kept it to itself.
            Some(incarnation) if incarnation > framework.incarnation => {
                (framework.incarnation, framework.written) = (incarnation, 0);
            }
            Some(_) => {}
        }
        framework.info = info;
        Ok(())
    }

    pub(super) fn scheduler_disconnected(
        &mut self,
        now: Time,
        id: &FrameworkId,
        link: LinkId,
        effects: &mut Vec<Effect>,
    ) {
        let Some(framework) = self.frameworks.get_mut(id).filter(|framework| framework.link == Some(link)) else {
            return;
        };
        (framework.link, framework.welcome_waits) = (None, false);
        // Another scheduler of one that was handed to the cluster is on its way.
        if framework.ending.is_none() && framework.detached.is_none() {
            let deadline = now + framework.failover_timeout();
            framework.deadline = Some(deadline);
            if framework.recorded {
                let set = SetDeadline { framework_id: id.clone(), deadline_ns: deadline.as_nanos() };
                self.record(Operation::SetDeadline(set), Pending::Nothing, effects);
            }
        }
        self.rescind_of(now, id, effects);
        self.cancel_gangs(now, id);
        self.tell_allocator(now, allocator::Event::DeactivateFramework { id: id.clone() });
        let lost: Vec<u64> =
            self.requests.iter().filter(|(_, request)| request.framework_id == *id).map(|(id, _)| *id).collect();
        for request in lost {
            self.end_request(
                request,
                Err(format!("the framework {id} went away before it answered; ask again")),
                effects,
            );
        }
        self.carry_out_allocation(now, effects);
    }

    pub(super) fn expire_frameworks(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let due = |framework: &&Framework| framework.deadline.is_some_and(|deadline| deadline <= now);
        let due: Vec<FrameworkId> =
            self.frameworks.values().filter(due).map(|framework| framework.id.clone()).collect();
        for id in due {
            self.tear_down(now, &id, "its scheduler did not come back in time".to_string(), effects);
            self.finish_teardown(now, &id, effects);
        }
    }

    /// Its scheduler says that its work is done.
    pub(super) fn tear_down_with(&mut self, now: Time, id: &FrameworkId, outcome: Outcome, effects: &mut Vec<Effect>) {
        if let Some(framework) = self.frameworks.get_mut(id).filter(|framework| framework.ending.is_none()) {
            framework.outcome = outcome;
        }
        self.tear_down(now, id, "its scheduler ended it".to_string(), effects);
    }

    /// Kills what it runs; [`finish_teardown`](Self::finish_teardown) removes it when all has ended.
    pub(super) fn tear_down(&mut self, now: Time, id: &FrameworkId, why: String, effects: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get_mut(id).filter(|framework| framework.ending.is_none()) else {
            return;
        };
        framework.deadline = None;
        framework.ending = Some(why.clone());
        let Outcome { exit_code, message } = framework.outcome.clone();
        let tasks: Vec<TaskId> = framework.tasks.keys().cloned().collect();
        if framework.recorded {
            let end = EndFramework { framework_id: id.clone(), why: why.clone(), exit_code, message };
            self.record(Operation::EndFramework(end), Pending::Nothing, effects);
        }
        self.rescind_of(now, id, effects);
        self.cancel_gangs(now, id);
        self.tell_allocator(now, allocator::Event::DeactivateFramework { id: id.clone() });
        for task_id in tasks {
            self.kill_because(id, &task_id, Reason::FrameworkRemoved, &why, effects);
            self.acknowledge_if_ended(now, id, &task_id);
        }
        let executors =
            self.agents.iter().flat_map(|(agent, state)| state.executors.keys().map(move |key| (agent, key)));
        let executors: Vec<_> =
            executors.filter(|(_, key)| key.0 == *id).map(|(a, key)| (a.clone(), key.1.clone())).collect();
        for (agent, executor_id) in executors {
            self.shut_executor_down(&agent, id, &executor_id, effects);
        }
        let away = self.agents.iter().filter(|(_, agent)| agent.unreachable.is_some()).map(|(id, _)| id.clone());
        for agent in away.collect::<Vec<_>>() {
            self.abandon(now, id, &agent, effects);
        }
    }

    pub(super) fn finish_teardown(&mut self, now: Time, id: &FrameworkId, effects: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get(id).filter(|framework| framework.ending.is_some()) else { return };
        let runs_executors = |agent: &AgentId| {
            self.agents
                .get(agent)
                .is_some_and(|agent| agent.executors.keys().any(|(framework_id, _)| framework_id == id))
        };
        // Tasks of one that an earlier master knew may be on agents that aren't back yet.
        let unseen = framework.recorded && self.may_be_earlier(id) && !self.recovering.is_empty();
        if unseen || !framework.tasks.is_empty() || framework.touched.iter().any(runs_executors) {
            return;
        }
        let mut framework = self.frameworks.remove(id).expect("it was found above");
        for agent in &framework.touched {
            let event = ShutdownFramework { framework_id: id.clone() };
            self.tell_agent(agent, agent_event::Event::ShutdownFramework(event), effects);
        }
        let link = framework.link.take();
        framework.ended = Some(now);
        if framework.recorded {
            // Its scheduler waits until no master will take it up again.
            link.map(|link| self.links.insert(link, Peer::Waiting));
            let operation = match &framework.detached {
                Some(_) => Operation::KeepEnded(KeepEnded { framework: self.framework_state(&framework) }),
                None => Operation::ForgetFramework(ForgetFramework { framework_id: id.clone() }),
            };
            self.record(operation, Pending::End { link, id: id.clone() }, effects);
        } else if let Some(link) = link {
            self.close(link, effects);
        }
        if self.may_be_earlier(id) {
            self.ended_before.insert(id.clone());
        }
        self.held.remove(id);
        self.detached.remove(id);
        self.ended_frameworks.push_back(framework);
        if self.ended_frameworks.len() > FRAMEWORK_HISTORY_MAX
            && let Some(oldest) = self.ended_frameworks.pop_front()
        {
            self.forget_ended(&oldest, effects);
        }
        self.tell_allocator(now, allocator::Event::RemoveFramework { id: id.clone() });
        self.carry_out_allocation(now, effects);
    }

    fn revive(&mut self, now: Time, id: &FrameworkId) {
        self.frameworks.get_mut(id).expect("the caller has it").suppressed = false;
        self.show_volumes(id);
        self.tell_allocator(now, allocator::Event::Revive { framework: id.clone() });
    }

    fn suppress(&mut self, now: Time, id: &FrameworkId) {
        self.frameworks.get_mut(id).expect("the caller has it").suppressed = true;
        self.tell_allocator(now, allocator::Event::Suppress { framework: id.clone() });
    }

    fn request_gang(&mut self, now: Time, id: &FrameworkId, request: GangRequest, effects: &mut Vec<Effect>) {
        let gang = request.id.clone();
        match check_gang(request) {
            Ok(request) => {
                let framework = self.frameworks.get_mut(id).expect("the caller has it");
                framework.gangs.insert(request.id.clone(), request.clone());
                self.tell_allocator(now, allocator::Event::RequestGang { framework: id.clone(), request });
            }
            Err(problem) => {
                let status = scheduler::GangStatus { id: gang, refused: Some(problem), ..Default::default() };
                self.tell(id, event::Event::GangStatus(status), effects);
            }
        }
    }

    fn cancel_gang(&mut self, now: Time, id: &FrameworkId, gang: &str) {
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        if framework.gangs.remove(gang).is_some() {
            self.tell_allocator(now, allocator::Event::CancelGang { framework: id.clone(), id: gang.to_string() });
        }
    }

    fn cancel_gangs(&mut self, now: Time, id: &FrameworkId) {
        for gang in self.frameworks[id].gangs.keys().cloned().collect::<Vec<_>>() {
            self.cancel_gang(now, id, &gang);
        }
    }

    fn put_state(&mut self, id: &FrameworkId, put: scheduler::PutState, effects: &mut Vec<Effect>) {
        let seq = put.seq.unwrap_or(0);
        let too_large = too_large(&self.frameworks[id].state, &put.changes);
        if too_large.is_some() {
            return self.tell(id, event::Event::StateStored(scheduler::StateStored { seq, error: too_large }), effects);
        }
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        // Said again after a lost connection: a write that is carried out twice could undo one that came after it.
        if seq <= framework.written {
            let is_this = |state: &PendingState| state.framework_id == *id && state.seq == seq;
            if !self.persisting.values().any(|pending| matches!(pending, Pending::State(state) if is_this(state))) {
                self.tell(id, event::Event::StateStored(scheduler::StateStored { seq, error: None }), effects);
            }
            return;
        }
        if !framework.recorded {
            // Without this write: it isn't kept before its own record is.
            self.record_framework(id, Pending::Nothing, effects);
        }
        let framework = self.frameworks.get_mut(id).expect("the caller has it");
        framework.written = seq;
        let incarnation = framework.incarnation;
        let (framework_id, changes) = (id.clone(), put.changes.clone());
        let operation = PutFrameworkState { framework_id, incarnation, seq, changes };
        let pending = PendingState { framework_id: id.clone(), changes: put.changes, seq };
        self.record(Operation::PutState(operation), Pending::State(pending), effects);
    }

    pub(super) fn state_recorded(&mut self, now: Time, pending: PendingState, effects: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get_mut(&pending.framework_id) else { return };
        registry::change(&mut framework.state, pending.changes);
        let stored = scheduler::StateStored { seq: pending.seq, error: None };
        self.tell(&pending.framework_id, event::Event::StateStored(stored), effects);
        self.welcome(now, &pending.framework_id, effects);
    }

    /// Sends to a framework if it is connected and has been welcomed; what it misses before comes again or is asked for.
    pub(super) fn tell(&self, id: &FrameworkId, event: event::Event, effects: &mut Vec<Effect>) {
        let framework = self.frameworks.get(id).filter(|framework| !framework.welcome_waits);
        if let Some(link) = framework.and_then(|framework| framework.link) {
            effects.push(Effect::ToScheduler { link, event });
        }
    }
}

/// What a framework is stays what it was.
fn keeps_identity(id: &FrameworkId, was: &FrameworkInfo, would_be: &FrameworkInfo) -> Result<(), String> {
    let FrameworkInfo { name, user, role, .. } = was;
    if (name, user, role) == (&would_be.name, &would_be.user, &would_be.role) {
        return Ok(());
    }
    Err(format!("the framework {id} is {name} of {user} in role {role}; to change that, start a new one"))
}

/// Why these changes can't be kept, if they can't.
fn too_large(state: &BTreeMap<String, Vec<u8>>, changes: &[scheduler::StateChange]) -> Option<String> {
    let size = |change: &scheduler::StateChange| change.value.as_ref().map_or(0, Vec::len);
    if let Some(large) = changes.iter().find(|change| size(change) > STATE_VALUE_BYTES_MAX) {
        let (key, size) = (&large.key, size(large));
        return Some(format!("the value of {key:?} has {size} bytes; at most {STATE_VALUE_BYTES_MAX} are kept"));
    }
    let changed = |key: &str| changes.iter().any(|change| change.key == key);
    let kept: usize = state.iter().filter(|(key, _)| !changed(key)).map(|(key, value)| key.len() + value.len()).sum();
    let new: usize = changes.iter().map(|change| change.key.len() + size(change)).sum();
    if new > STATE_WRITE_BYTES_MAX {
        return Some(format!("one write of state has {new} bytes; at most {STATE_WRITE_BYTES_MAX} are kept at once"));
    }
    let last = changes.last().map_or("", |change| change.key.as_str());
    (kept + new > STATE_BYTES_MAX)
        .then(|| format!("the framework's state would pass {STATE_BYTES_MAX} bytes with {last:?}"))
}
