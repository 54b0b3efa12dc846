//! Volumes of the one framework: made on what was offered, offered again to it alone, never lent to anything else.

use std::collections::BTreeMap;

use super::FakeMaster;
use crate::framework::Event;
use crate::v1::scheduler::{CreateVolume, DestroyVolume, VolumeState, VolumeStatus};
use crate::v1::{AgentId, OfferId, OfferPart, Resources, TaskInfo, Volume};
use crate::words::volume_name_problem;

impl FakeMaster {
    /// A volume that an earlier framework of the same name has left on an agent: the framework hears that it is ready, and the next
    /// [`offer`](Self::offer) offers its reservation.
    pub fn add_volume(&mut self, agent: &AgentId, name: &str, reserved: &str) {
        let reserved = reserved.parse().expect("the test gives proper resources");
        let free = self.free(agent);
        assert!(free.contains(&reserved), "volume {name} reserves {reserved}, {free} is free on agent {agent}");
        self.volumes.insert((agent.clone(), name.to_string()), reserved);
        self.tell_of_volume(agent, name, VolumeState::VolumeReady, None);
    }

    /// The agent couldn't make a volume after all: it is gone, as are the tasks that mount it.
    pub fn refuse_volume(&mut self, agent: &AgentId, name: &str, message: &str) {
        let mounting = |task: &&TaskInfo| task.agent_id == *agent && mounts(task, name);
        let tasks: Vec<_> = self.live_tasks().into_iter().filter(mounting).map(|task| task.id.clone()).collect();
        self.volumes.remove(&(agent.clone(), name.to_string())).expect("the test refuses a volume that was created");
        self.tell_of_volume(agent, name, VolumeState::VolumeRefused, Some(message));
        for task in tasks {
            self.update(&task, crate::v1::TaskState::TaskFailed);
        }
    }

    /// Volumes and what they reserve, by agent and name.
    pub fn volumes(&self) -> &BTreeMap<(AgentId, String), Resources> {
        &self.volumes
    }

    pub(super) fn create_volume(&mut self, create: &CreateVolume, offered: &mut BTreeMap<AgentId, Resources>) {
        let CreateVolume { name, agent_id, reserve } = create;
        assert_eq!(volume_name_problem(name), None, "the volume's name {name:?}");
        assert!(!reserve.is_empty(), "volume {name} reserves something");
        let left = offered.get_mut(agent_id).unwrap_or_else(|| panic!("volume {name} is on an offered agent"));
        *left = left.checked_sub(reserve).unwrap_or_else(|shortage| panic!("volume {name}: {shortage}"));
        let before = self.volumes.insert((agent_id.clone(), name.clone()), reserve.clone());
        assert!(before.is_none(), "volume {name} is new on agent {agent_id}");
    }

    pub(super) fn destroy_volume(&mut self, destroy: DestroyVolume) {
        let DestroyVolume { agent_id, name } = destroy;
        let mounting = |task: &&&TaskInfo| task.agent_id == agent_id && mounts(task, &name);
        if let Some(task) = self.live_tasks().iter().find(mounting) {
            let message = format!("the task {} mounts it", task.id);
            return self.tell_of_volume(&agent_id, &name, VolumeState::VolumeRefused, Some(&message));
        }
        let of_it = |part: &OfferPart| {
            part.agent_id == agent_id && part.volume.as_ref().is_some_and(|volume| volume.name == name)
        };
        let offers = self.offers.values().filter(|offer| offer.parts.iter().any(of_it));
        for offer in offers.map(|offer| offer.id.clone()).collect::<Vec<OfferId>>() {
            self.rescind(&offer);
        }
        let key = (agent_id, name);
        assert!(self.volumes.remove(&key).is_some(), "the volume {} that is destroyed is there", key.1);
        self.tell_of_volume(&key.0, &key.1, VolumeState::VolumeDestroyed, None);
    }

    pub(super) fn lose_volumes(&mut self, agent: &AgentId, hostname: &str) {
        for (on, name) in self.volumes.keys().filter(|(on, _)| on == agent).cloned().collect::<Vec<_>>() {
            self.volumes.remove(&(on.clone(), name.clone()));
            self.send(Event::VolumeStatus(VolumeStatus {
                agent_id: on,
                name,
                state: VolumeState::VolumeUnreachable.into(),
                reserved: None,
                message: Some("the agent was lost".into()),
                hostname: Some(hostname.to_string()),
            }));
        }
    }

    pub(super) fn tell_of_volume(&mut self, agent: &AgentId, name: &str, state: VolumeState, message: Option<&str>) {
        self.send(Event::VolumeStatus(VolumeStatus {
            agent_id: agent.clone(),
            name: name.to_string(),
            state: state.into(),
            reserved: self.volumes.get(&(agent.clone(), name.to_string())).cloned(),
            message: message.map(str::to_string),
            hostname: self.agents.get(agent).map(|(hostname, _)| hostname.clone()),
        }));
    }

    /// What is free of each volume's reservation and not in an open offer.
    pub(super) fn volume_parts(&self) -> Vec<OfferPart> {
        let part = |((agent, name), reserved): (&(AgentId, String), &Resources)| {
            let used = self.live_tasks().into_iter().filter(|task| task.agent_id == *agent);
            let used = used.flat_map(|task| &task.volumes).filter(|mount| mount.name == *name);
            let used: Resources = used.filter_map(|mount| mount.reserved.as_ref()).sum();
            let open =
                self.offers.values().flat_map(|offer| &offer.parts).any(|part| {
                    part.agent_id == *agent && part.volume.as_ref().is_some_and(|volume| volume.name == *name)
                });
            let free = reserved.checked_sub(&used).expect("tasks use a part of the reservation");
            let volume = Volume { name: name.clone(), reserved: reserved.clone() };
            (!open).then(|| OfferPart { volume: Some(volume), ..self.part(agent, free, None) })
        };
        self.volumes.iter().filter_map(part).collect()
    }

    /// Takes what a task needs out of the reservations that it mounts, and says what it needs beside them.
    pub(super) fn take_reserved(
        &self,
        task: &mut TaskInfo,
        reserved: &mut BTreeMap<(AgentId, String), Resources>,
    ) -> Resources {
        let mut needed = task.resources.clone();
        let mut paths = std::collections::BTreeSet::new();
        for mount in &mut task.volumes {
            let key = (task.agent_id.clone(), mount.name.clone());
            assert!(self.volumes.contains_key(&key), "task {} mounts a volume that is there: {}", task.id, mount.name);
            assert_eq!(volume_name_problem(&mount.path), None, "the path {:?} of a mount", mount.path);
            assert!(paths.insert(&mount.path), "task {} mounts one volume at {}", task.id, mount.path);
            if let Some(left) = reserved.get_mut(&key) {
                let part = needed.common(left);
                *left = left.checked_sub(&part).expect("both have it");
                needed = needed.checked_sub(&part).expect("both have it");
                mount.reserved = Some(part);
            }
        }
        needed
    }
}

fn mounts(task: &TaskInfo, volume: &str) -> bool {
    task.volumes.iter().any(|mount| mount.name == volume)
}
