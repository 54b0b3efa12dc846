//! The half's calls, carried out in order.

use mesos_plugin_api::Time;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::{PauseStdin, call::Call as HalfCall};
use mesos_plugin_api::v1::scheduler::{self, call::Call};
use mesos_plugin_api::v1::{Reason, Source, TaskState, TaskStatus};

use super::answers::Answer;
use super::{Effect, Runner};

impl Runner {
    pub(super) fn carry_out(&mut self, now: Time, calls: Vec<HalfCall>, effects: &mut Vec<Effect>) {
        for call in calls {
            if self.ended {
                return;
            }
            match call {
                HalfCall::Accept(accept) => self.accept(now, accept, effects),
                HalfCall::Decline(decline) => {
                    self.offers.retain(|id| !decline.offer_ids.contains(id));
                    self.send_if_connected(Call::Decline(decline), effects);
                }
                HalfCall::Revive(revive) => {
                    self.suppressed = false;
                    self.send_if_connected(Call::Revive(revive), effects);
                }
                HalfCall::Suppress(suppress) => {
                    self.suppressed = true;
                    self.send_if_connected(Call::Suppress(suppress), effects);
                }
                HalfCall::RequestGang(gang) => {
                    self.gangs.insert(gang.request.id.clone(), gang.request.clone());
                    self.send_if_connected(Call::RequestGang(gang), effects);
                }
                HalfCall::CancelGang(cancel) => {
                    self.gangs.remove(&cancel.id);
                    self.send_if_connected(Call::CancelGang(cancel), effects);
                }
                HalfCall::AcceptInverseOffers(accept) => {
                    self.send_if_connected(Call::AcceptInverseOffers(accept), effects);
                }
                HalfCall::DeclineInverseOffers(decline) => {
                    self.send_if_connected(Call::DeclineInverseOffers(decline), effects);
                }
                HalfCall::Kill(kill) => {
                    self.unanswered.kill(&kill);
                    self.send_if_connected(Call::Kill(kill), effects);
                }
                HalfCall::ShutdownExecutor(shutdown) => {
                    self.unanswered.shutdown(&shutdown);
                    self.send_if_connected(Call::ShutdownExecutor(shutdown), effects);
                }
                HalfCall::DestroyVolume(destroy) => {
                    self.unanswered.destroy(&destroy);
                    self.send_if_connected(Call::DestroyVolume(destroy), effects);
                }
                HalfCall::Reconcile(reconcile) if self.connected => {
                    effects.push(Effect::Call(Call::Reconcile(reconcile)));
                }
                HalfCall::Reconcile(reconcile) => self.reconciles.push(reconcile),
                // They have their numbers; state was written before.
                HalfCall::Message(message) => {
                    let key = (message.agent_id, message.executor_id);
                    self.answer(now, Answer::Release(key), effects);
                }
                HalfCall::Reply(reply) => self.answer(now, Answer::Reply(reply), effects),
                HalfCall::PutState(_) => {}
                HalfCall::SetTimer(timer) => drop(self.timers.insert(timer.id, Time(timer.at_ns))),
                HalfCall::CancelTimer(timer) => drop(self.timers.remove(&timer.id)),
                HalfCall::Output(output) => effects.push(Effect::Output(output)),
                HalfCall::Follow(follow) => effects.push(Effect::Follow(follow)),
                HalfCall::Progress(progress) => effects.push(Effect::Progress(progress)),
                HalfCall::PauseStdin(PauseStdin { paused }) => effects.push(Effect::PauseStdin(paused)),
                // The plugin has no shell that wants it.
                HalfCall::ToShell(_) => {}
                HalfCall::Finish(finish) => self.end(finish.exit_code, finish.message, effects),
            }
        }
    }

    /// An offer that isn't open any more launches nothing, and the half hears of it as it would from the master.
    fn accept(&mut self, now: Time, mut accept: scheduler::Accept, effects: &mut Vec<Effect>) {
        for executor in accept.tasks.iter_mut().filter_map(|task| task.executor.as_mut()) {
            if let (true, Some(plugin)) = (executor.plugin.name.is_empty(), &self.plugin) {
                executor.plugin = plugin.clone();
            }
        }
        let open = accept.offer_ids.iter().filter(|id| self.offers.remove(id)).count();
        if self.connected && open == accept.offer_ids.len() {
            self.tasks.launched(&accept.tasks);
            self.unanswered.launched(&accept.tasks);
            return effects.push(Effect::Call(Call::Accept(accept)));
        }
        if self.connected {
            // Those that are still open are given back by the master.
            let (offer_ids, filters) = (accept.offer_ids, accept.filters);
            let offers = scheduler::Accept { offer_ids, filters, ..Default::default() };
            effects.push(Effect::Call(Call::Accept(offers)));
        }
        for create in accept.create_volumes {
            let message = Some("an offer it was to be made on had been rescinded".to_string());
            let state = scheduler::VolumeState::VolumeRefused.into();
            let (agent_id, name) = (create.agent_id, create.name);
            let status = scheduler::VolumeStatus { agent_id, name, state, message, ..Default::default() };
            self.for_next_turn.push_back(HalfEvent::VolumeStatus(status));
        }
        for task in accept.tasks {
            let message = "an offer it was to run on had been rescinded";
            let status = TaskStatus::new(task.id, TaskState::TaskDropped);
            let mut status = status.because(Source::Master, Reason::InvalidOffers, message).at(now);
            status.agent_id = Some(task.agent_id);
            self.for_next_turn.push_back(HalfEvent::Update(scheduler::Update { status }));
        }
    }

    /// What is said again, or void, when there is a connection.
    fn send_if_connected(&self, call: Call, effects: &mut Vec<Effect>) {
        if self.connected {
            effects.push(Effect::Call(call));
        }
    }
}
