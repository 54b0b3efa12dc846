//! Volumes: what this machine keeps for their owners, and which tasks wait for them.
//!
//! ```text
//! CreateVolume ─▶ Making ─durable─▶ Ready ─▶ Removing ─▶ forgotten
//!                    └ tasks that mount it wait   └ only when no live task mounts it
//! ```
//!
//! The disk remembers: the shell finds them when the agent starts, and the master hears of them with each registration.

use mesos_plugin_api::v1::{Reason, Resources, TaskState};

use super::core::Agent;
use super::event::{Effect, LocalId, Out, Refusal};
use super::tasks::{Task, Verdict};
use crate::protocol::{VolumeId, VolumeOutcome, VolumeRecord, agent_call};

#[derive(Debug)]
pub(super) struct Volume {
    reserved: Resources,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `unwanted`: the master has given it up meanwhile.
    Making {
        unwanted: bool,
    },
    Ready,
    Removing,
}

/// How far a task is with its volumes; all of them are there, or none is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mounting {
    Not,
    /// For volumes that are being made.
    Waits,
    Asked,
    Done,
}

/// A volume in a sandbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Mount {
    /// Which.
    pub volume: VolumeId,
    /// Its name in the sandbox.
    pub path: String,
}

impl Volume {
    pub(super) fn found(record: VolumeRecord) -> (VolumeId, Self) {
        (record.id, Self { reserved: record.reserved, state: State::Ready })
    }
}

impl Agent {
    // ── made and removed ───────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn on_create_volume(&mut self, record: VolumeRecord, out: &mut Out) {
        match self.volumes.get_mut(&record.id) {
            None => {
                let volume = Volume { reserved: record.reserved.clone(), state: State::Making { unwanted: false } };
                self.volumes.insert(record.id.clone(), volume);
                out.push(Effect::MakeVolume { record });
            }
            Some(Volume { state: State::Making { unwanted }, .. }) => *unwanted = false,
            Some(Volume { state: State::Ready, .. }) => self.tell_of_volume(record.id, true, None, out),
            Some(Volume { state: State::Removing, .. }) => {
                let error = "the one before it is being removed; make it again in a moment";
                self.tell_of_volume(record.id, false, Some(error.to_string()), out);
            }
        }
    }

    pub(super) fn on_destroy_volume(&mut self, id: VolumeId, out: &mut Out) {
        if let Some(task) = self.tasks.values().find(|task| task.is_live() && self.mounts(task, &id)) {
            let error = format!("the task {} mounts it", task.info.id);
            return self.tell_of_volume(id, true, Some(error), out);
        }
        match self.volumes.get_mut(&id).map(|volume| &mut volume.state) {
            None => self.tell_of_volume(id, false, None, out),
            Some(State::Making { unwanted }) => *unwanted = true,
            Some(State::Removing) => {}
            Some(state) => {
                *state = State::Removing;
                out.push(Effect::RemoveVolume { id });
            }
        }
    }

    pub(super) fn on_volume_made(&mut self, id: VolumeId, outcome: Result<(), String>, out: &mut Out) {
        let Some(Volume { state: State::Making { unwanted }, .. }) = self.volumes.get(&id) else { return };
        let unwanted = *unwanted;
        match outcome {
            Ok(()) => {
                self.volumes.get_mut(&id).expect("it was just found").state = State::Ready;
                self.tell_of_volume(id.clone(), true, None, out);
            }
            Err(error) => {
                self.volumes.remove(&id);
                self.tell_of_volume(id.clone(), false, Some(error), out);
            }
        }
        self.mount_waiting(&id, out);
        if unwanted {
            self.on_destroy_volume(id, out);
        }
    }

    pub(super) fn on_volume_removed(&mut self, id: VolumeId, outcome: Result<(), String>, out: &mut Out) {
        let Some(volume) = self.volumes.get_mut(&id).filter(|volume| volume.state == State::Removing) else { return };
        match outcome {
            Ok(()) => {
                self.volumes.remove(&id);
                self.tell_of_volume(id, false, None, out);
            }
            Err(error) => {
                volume.state = State::Ready;
                self.tell_of_volume(id, true, Some(error), out);
            }
        }
    }

    fn tell_of_volume(&self, id: VolumeId, exists: bool, error: Option<String>, out: &mut Out) {
        self.send(agent_call::Call::Volume(VolumeOutcome { id, exists, error }), out);
    }

    /// For a registration.
    pub(super) fn volume_records(&self) -> Vec<VolumeRecord> {
        let ready = self.volumes.iter().filter(|(_, volume)| volume.state == State::Ready);
        ready.map(|(id, volume)| VolumeRecord { id: id.clone(), reserved: volume.reserved.clone() }).collect()
    }

    /// One that became ready while the registration was on its way isn't in it.
    pub(super) fn tell_of_volumes(&self, out: &mut Out) {
        for record in self.volume_records() {
            self.tell_of_volume(record.id, true, None, out);
        }
    }

    // ── mounted ────────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Whether a task has its volumes; if not, it goes on when they are mounted, or ends.
    pub(super) fn has_volumes(&mut self, id: LocalId, out: &mut Out) -> bool {
        let task = &self.tasks[&id];
        if task.info.volumes.is_empty() || task.mounting == Mounting::Done {
            return true;
        }
        if task.mounting == Mounting::Asked {
            return false;
        }
        let mounts = self.mounts_of(task);
        let states = || mounts.iter().map(|mount| self.volumes.get(&mount.volume).map(|volume| volume.state));
        let missing = states().position(|state| matches!(state, None | Some(State::Removing)));
        let waits = states().any(|state| matches!(state, Some(State::Making { .. })));
        if let Some(missing) = missing {
            let message = format!("its volume {} is not there", mounts[missing].volume.name);
            self.on_mounted(id, Err(Refusal { reason: Reason::Volume, message }), out);
            return false;
        }
        let process = task.executor().unwrap_or(id);
        let sandbox = task.sandbox.clone();
        self.tasks.get_mut(&id).expect("looked at above").mounting = if waits {
            Mounting::Waits
        } else {
            out.push(Effect::Mount { id, process, sandbox, mounts });
            Mounting::Asked
        };
        false
    }

    pub(super) fn on_mounted(&mut self, id: LocalId, outcome: Result<(), Refusal>, out: &mut Out) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.is_live()) else { return };
        match (outcome, task.executor()) {
            (Ok(()), executor) => {
                task.mounting = Mounting::Done;
                match executor {
                    Some(executor) => self.tell_of_task(id, executor, out),
                    None => self.on_prepared(id, out),
                }
            }
            (Err(refusal), None) => self.on_task_not_launched(id, refusal.reason, refusal.message, out),
            (Err(refusal), Some(_)) => {
                let verdict = Verdict::new(TaskState::TaskFailed, refusal.reason, refusal.message);
                self.end(id, self.verdict_status(id, verdict, out.now), out);
            }
        }
    }

    /// A volume is there, or will never be.
    fn mount_waiting(&mut self, volume: &VolumeId, out: &mut Out) {
        let waits = |task: &Task| task.is_live() && task.mounting == Mounting::Waits && self.mounts(task, volume);
        let waiting = self.tasks.iter().filter(|(_, task)| waits(task));
        for id in waiting.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.has_volumes(id, out);
        }
    }

    fn mounts(&self, task: &Task, volume: &VolumeId) -> bool {
        let owner = self.frameworks.get(&task.framework_id).map(|framework| &framework.info);
        owner.is_some_and(|owner| owner.user == volume.user && owner.name == volume.framework)
            && task.info.volumes.iter().any(|mount| mount.name == volume.name)
    }

    fn mounts_of(&self, task: &Task) -> Vec<Mount> {
        let owner = &self.frameworks[&task.framework_id].info;
        let id = |name: &str| VolumeId { user: owner.user.clone(), framework: owner.name.clone(), name: name.into() };
        task.info.volumes.iter().map(|mount| Mount { volume: id(&mount.name), path: mount.path.clone() }).collect()
    }
}
