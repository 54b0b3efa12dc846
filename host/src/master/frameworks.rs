//! Frameworks: subscription, calls, failover, end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, call::Call, event};
use mesos_plugin_api::v1::{AgentId, FrameworkId, FrameworkInfo, GangRequest, Reason, TaskId};

use super::tasks::Task;
use super::validation::{check_framework, check_gang};
use super::{Caller, Effect, FRAMEWORK_HISTORY_MAX, LinkId, Master, Operation, Peer, authorise, make_id};
use crate::allocator;
use crate::protocol::{SchedulerBack, ShutdownFramework, agent_event};

/// A value of a framework's state, in bytes.
pub const STATE_VALUE_BYTES_MAX: usize = 64 << 10;
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
    secret: String,
    pub(super) link: Option<LinkId>,
    /// Torn down then, unless its scheduler comes back before.
    pub(super) deadline: Option<Time>,
    pub(super) registered: Time,
    pub(super) ended: Option<Time>,
    /// Being torn down, and why: its tasks are killed and their ends acknowledged for it.
    pub(super) ending: Option<String>,
    pub(super) tasks: BTreeMap<TaskId, Task>,
    /// Agents that ever ran something of it.
    pub(super) touched: BTreeSet<AgentId>,
    pub(super) gangs: BTreeMap<String, GangRequest>,
    /// It wants no offers until it revives.
    pub(super) suppressed: bool,
    state: BTreeMap<String, Vec<u8>>,
    /// Counts the schedulers that took it over.
    incarnation: u64,
    /// The last write of this scheduler.
    written: u64,
    /// Its scheduler is told of its state when all that was written before is kept.
    pub(super) welcome_waits: bool,
}

/// A write of a framework's state on its way.
#[derive(Debug)]
pub(super) struct PendingState {
    framework_id: FrameworkId,
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
            (Some(Peer::UnknownScheduler { caller, nonce }), Call::Subscribe(subscribe)) => {
                return self.subscribe(now, link, caller, nonce, subscribe, effects);
            }
            (Some(Peer::Scheduler(id)), call) => {
                self.framework_called(now, &id, call, effects);
                id
            }
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
            Call::DestroyVolume(destroy) => self.destroy_by_framework(now, id, &destroy, effects),
            Call::Teardown(_) => self.tear_down(now, id, "its scheduler ended it".to_string(), effects),
        }
    }

    fn subscribe(
        &mut self,
        now: Time,
        link: LinkId,
        caller: Caller,
        nonce: [u8; 16],
        subscribe: scheduler::Subscribe,
        effects: &mut Vec<Effect>,
    ) {
        let checked = check_framework(&subscribe.framework);
        let checked = checked.and_then(|()| authorise::subscribe(&caller, &subscribe.framework));
        let admitted = checked.and_then(|()| match subscribe.framework.id.clone() {
            Some(id) => self.resubscribe(now, &id, link, &caller, &subscribe, effects).map(|()| id),
            None => self.admit_framework(now, link, caller, nonce, subscribe.framework),
        });
        match admitted {
            Ok(id) => {
                self.links.insert(link, Peer::Scheduler(id.clone()));
                self.frameworks.get_mut(&id).expect("it was admitted").welcome_waits = true;
                self.welcome(now, &id, effects);
            }
            Err(message) => {
                let error = scheduler::Error { message, fatal: Some(true) };
                effects.push(Effect::ToScheduler { link, event: event::Event::Error(error) });
                self.close(link, effects);
            }
        }
    }

    /// A scheduler that takes over must know all that the one before it has stored.
    fn welcome(&mut self, now: Time, id: &FrameworkId, effects: &mut Vec<Effect>) {
        let writing = self.persisting.values().any(|pending| pending.framework_id == *id);
        let Some(framework) = self.frameworks.get_mut(id).filter(|framework| framework.welcome_waits && !writing)
        else {
            return;
        };
        framework.welcome_waits = false;
        let state = framework.state.iter();
        let subscribed = scheduler::Subscribed {
            framework_id: id.clone(),
            secret: framework.secret.clone(),
            master_epoch: self.config.epoch,
            state: state.map(|(key, value)| scheduler::StateEntry { key: key.clone(), value: value.clone() }).collect(),
            incarnation: Some(framework.incarnation),
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

    fn admit_framework(
        &mut self,
        now: Time,
        link: LinkId,
        caller: Caller,
        nonce: [u8; 16],
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
        let event = allocator::Event::AddFramework { id: id.clone(), role: info.role.clone() };
        self.tell_allocator(now, event);
        let framework = Framework {
            id: id.clone(),
            info,
            principal: caller.principal,
            acts_for: caller.user,
            secret: super::shell::hex(&nonce),
            link: Some(link),
            deadline: None,
            registered: now,
            ended: None,
            ending: None,
            tasks: BTreeMap::new(),
            touched: BTreeSet::new(),
            gangs: BTreeMap::new(),
            suppressed: false,
            state: BTreeMap::new(),
            incarnation: 1,
            written: 0,
            welcome_waits: false,
        };
        self.frameworks.insert(id.clone(), framework);
        Ok(id)
    }

    /// The same framework again: a reconnect, or a scheduler that takes over from another one.
    fn resubscribe(
        &mut self,
        now: Time,
        id: &FrameworkId,
        link: LinkId,
        caller: &Caller,
        subscribe: &scheduler::Subscribe,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let framework = self.frameworks.get_mut(id).filter(|framework| framework.ending.is_none());
        let framework =
            framework.ok_or_else(|| format!("the framework {id} is not known here, or has been torn down"))?;
        if subscribe.secret.as_deref() != Some(&framework.secret) {
            return Err(format!("the framework {id} belongs to someone else: its secret is another one"));
        }
        let same = |info: &FrameworkInfo| (info.name.clone(), info.user.clone(), info.role.clone());
        let (was, would_be) = (same(&framework.info), same(&subscribe.framework));
        if was != would_be {
            let (name, user, role) = was;
            return Err(format!(
                "the framework {id} is {name} of {user} in role {role}; to change that, start a new one"
            ));
        }
        match subscribe.incarnation {
            None => (framework.incarnation, framework.written) = (framework.incarnation + 1, 0),
            Some(incarnation) if incarnation < framework.incarnation => {
                return Err(format!("another scheduler took {id} over"));
            }
            Some(_) => {}
        }
        if let Some(old) = framework.link.replace(link).filter(|old| *old != link) {
            let error = scheduler::Error { message: format!("another scheduler took {id} over"), fatal: Some(true) };
            effects.push(Effect::ToScheduler { link: old, event: event::Event::Error(error) });
            self.close(old, effects);
        }
        let framework = self.frameworks.get_mut(id).expect("it was found above");
        framework.deadline = None;
        framework.acts_for.clone_from(&caller.user);
        framework.info = FrameworkInfo { id: Some(id.clone()), ..subscribe.framework.clone() };
        // Its offers of before are void: whoever takes over knows nothing of them.
        self.rescind_of(now, id, effects);
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
        let patience = Duration::from_millis(framework.info.failover_timeout_ms.unwrap_or(0));
        if framework.ending.is_none() {
            framework.deadline = Some(now + patience);
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

    /// Kills what it runs; [`finish_teardown`](Self::finish_teardown) removes it when all has ended.
    pub(super) fn tear_down(&mut self, now: Time, id: &FrameworkId, why: String, effects: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get_mut(id).filter(|framework| framework.ending.is_none()) else {
            return;
        };
        framework.deadline = None;
        framework.ending = Some(why.clone());
        let tasks: Vec<TaskId> = framework.tasks.keys().cloned().collect();
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
    }

    pub(super) fn finish_teardown(&mut self, now: Time, id: &FrameworkId, effects: &mut Vec<Effect>) {
        let Some(framework) = self.frameworks.get(id).filter(|framework| framework.ending.is_some()) else { return };
        let runs_executors = |agent: &AgentId| {
            self.agents
                .get(agent)
                .is_some_and(|agent| agent.executors.keys().any(|(framework_id, _)| framework_id == id))
        };
        if !framework.tasks.is_empty() || framework.touched.iter().any(runs_executors) {
            return;
        }
        let mut framework = self.frameworks.remove(id).expect("it was found above");
        for agent in &framework.touched {
            let event = ShutdownFramework { framework_id: id.clone() };
            self.tell_agent(agent, agent_event::Event::ShutdownFramework(event), effects);
        }
        if let Some(link) = framework.link.take() {
            self.close(link, effects);
        }
        framework.ended = Some(now);
        self.ended_frameworks.push_back(framework);
        if self.ended_frameworks.len() > FRAMEWORK_HISTORY_MAX {
            self.ended_frameworks.pop_front();
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
            let mut writing = self.persisting.values().filter(|pending| pending.framework_id == *id);
            if writing.all(|pending| pending.seq != seq) {
                self.tell(id, event::Event::StateStored(scheduler::StateStored { seq, error: None }), effects);
            }
            return;
        }
        framework.written = seq;
        let incarnation = framework.incarnation;
        let persist = self.next_persist;
        self.next_persist += 1;
        let operation =
            Operation::PutState { framework_id: id.clone(), incarnation, seq, changes: put.changes.clone() };
        let pending = PendingState { framework_id: id.clone(), changes: put.changes, seq };
        self.persisting.insert(persist, pending);
        effects.push(Effect::Persist { id: persist, operation });
    }

    pub(super) fn persisted(&mut self, now: Time, id: u64, error: Option<String>, effects: &mut Vec<Effect>) {
        let Some(pending) = self.persisting.remove(&id) else { return };
        let Some(framework) = self.frameworks.get_mut(&pending.framework_id) else { return };
        if error.is_none() {
            for scheduler::StateChange { key, value } in pending.changes {
                match value {
                    Some(value) => framework.state.insert(key, value),
                    None => framework.state.remove(&key),
                };
            }
        }
        if error.is_some() && framework.written == pending.seq {
            // Said again, it is tried again.
            framework.written -= 1;
        }
        let stored = scheduler::StateStored { seq: pending.seq, error };
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
    let last = changes.last().map_or("", |change| change.key.as_str());
    (kept + new > STATE_BYTES_MAX)
        .then(|| format!("the framework's state would pass {STATE_BYTES_MAX} bytes with {last:?}"))
}
