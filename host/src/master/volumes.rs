//! Volumes: made on an accept, offered to their owner alone, used by its tasks, destroyed when asked.
//!
//! ```text
//!  Accept ─▶ Creating ──agent: durable──▶ Ready ◀──agent registers with it
//!                │                          │ └─ what is free of its reservation ─▶ an offer to its owner ─▶ tasks ─┐
//!                └──agent: refused──▶ gone ◀┴─ destroyed                 ▲                                          │
//!                                                                        └──────────── their ends, what they left ──┘
//! ```
//!
//! The agent's disk is what remembers a volume; the master knows those of the agents that are registered. The allocator only
//! knows how much of an agent is reserved and how much of that is in use: who gets it is no question of shares.

use std::collections::BTreeSet;
use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{self, VolumeState, VolumeStatus, event};
use mesos_plugin_api::v1::{AgentId, FrameworkId, OfferId, OfferPart, Resources, VolumeMount};
use mesos_plugin_api::volume_name_problem;

use super::description::Description;
use super::frameworks::Framework;
use super::offers::Left;
use super::tasks::Task;
use super::{Effect, LinkId, Master};
use crate::allocator;
use crate::protocol::{
    CreateVolume, DestroyVolume, Done, OperatorReply, VolumeId, VolumeOutcome, VolumeRecord, agent_event,
    operator_reply,
};

/// Volumes that one agent keeps at the most.
pub const VOLUMES_PER_AGENT_MAX: usize = 1000;

/// Whose it is, where, and its name there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct VolumeKey {
    pub(super) user: String,
    /// The framework's name.
    pub(super) framework: String,
    pub(super) agent: AgentId,
    pub(super) name: String,
}

impl VolumeKey {
    fn of(agent: &AgentId, id: VolumeId) -> Self {
        Self { user: id.user, framework: id.framework, agent: agent.clone(), name: id.name }
    }

    pub(super) fn id(&self) -> VolumeId {
        VolumeId { user: self.user.clone(), framework: self.framework.clone(), name: self.name.clone() }
    }
}

/// One volume of an agent that is registered.
#[derive(Debug)]
pub(super) struct Volume {
    pub(super) reserved: Resources,
    /// By tasks that mount it.
    pub(super) used: Resources,
    pub(super) state: State,
    /// False if its agent has become too small for it: it is mounted like any other, and reserves nothing.
    pub(super) fits: bool,
    /// The open offer of what was free of it.
    pub(super) offer: Option<OfferId>,
    /// So much of it its owner doesn't want until then.
    refused: Option<(Resources, Time)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    Creating,
    Ready,
    Destroying {
        by: String,
        /// The operator's command that waits for it.
        asker: Option<LinkId>,
    },
}

impl Volume {
    fn new(reserved: Resources, used: Resources, state: State) -> Self {
        Self { reserved, used, state, fits: true, offer: None, refused: None }
    }

    /// What the allocator has set aside for it.
    pub(super) fn kept(&self) -> Resources {
        if self.fits { self.reserved.clone() } else { self.used.clone() }
    }

    pub(super) fn idle(&self) -> Resources {
        self.kept().checked_sub(&self.used).expect("tasks use what is reserved")
    }
}

// ── made ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// The name by which a framework's tasks and calls mean a volume.
    pub(super) fn volume_key(&self, framework: &FrameworkId, agent: &AgentId, name: &str) -> VolumeKey {
        let info = &self.frameworks[framework].info;
        let (user, framework) = (info.user.clone(), info.name.clone());
        VolumeKey { user, framework, agent: agent.clone(), name: name.to_string() }
    }

    /// Takes what the volumes reserve out of `left`, where tasks of the same accept find it; refuses those that can't be.
    pub(super) fn create_volumes(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        creates: Vec<scheduler::CreateVolume>,
        left: &mut Left,
        effects: &mut Vec<Effect>,
    ) {
        for create in creates {
            let key = self.volume_key(framework, &create.agent_id, &create.name);
            let reserved = match self.check_create(framework, &key, create.reserve, left) {
                Ok(reserved) => reserved,
                Err(problem) => {
                    self.tell_of_volume(framework, &key, VolumeState::VolumeRefused, Some(problem), effects);
                    continue;
                }
            };
            let (agent, resources) = (key.agent.clone(), reserved.clone());
            self.tell_allocator(
                now,
                allocator::Event::Reserve { framework: Some(framework.clone()), agent, resources },
            );
            left.reserved.insert(key.clone(), reserved.clone());
            let record = VolumeRecord { id: key.id(), reserved: reserved.clone() };
            let event = agent_event::Event::CreateVolume(CreateVolume { volume: record });
            self.tell_agent(&key.agent, event, effects);
            self.add_volume(key, Volume::new(reserved, Resources::default(), State::Creating));
        }
    }

    fn check_create(
        &self,
        framework: &FrameworkId,
        key: &VolumeKey,
        reserve: Resources,
        left: &mut Left,
    ) -> Result<Resources, String> {
        if self.config.embedded {
            return Err("this cluster ends with its command, and its volumes would too; 'mesos up' starts one that \
                        stays"
                .to_string());
        }
        for (what, name) in [("its name", &key.name), ("its user", &key.user), ("its framework's name", &key.framework)]
        {
            if let Some(problem) = volume_name_problem(name) {
                return Err(format!("{what} {name:?} {problem}"));
            }
        }
        let reserved = reserve.checked().map_err(|error| error.to_string())?;
        if reserved.is_empty() {
            return Err("it reserves nothing; say what it keeps for its owner, disk for example".to_string());
        }
        let dying = |task: &Task| !task.resources_returned && mount_of(&task.info, key).is_some();
        if self.volumes.contains_key(key) || self.frameworks[framework].tasks.values().map(Box::as_ref).any(dying) {
            return Err(format!("there is one of this name on agent {}", key.agent));
        }
        let agent = self.agents.get(&key.agent).ok_or_else(|| format!("the agent {} is not known", key.agent))?;
        if agent.volumes.len() >= VOLUMES_PER_AGENT_MAX {
            return Err(format!("the agent {} has {VOLUMES_PER_AGENT_MAX} volumes, and takes no more", key.agent));
        }
        left.take(&key.agent, [&reserved].into_iter())?;
        Ok(reserved)
    }

    fn add_volume(&mut self, key: VolumeKey, volume: Volume) {
        self.agents.get_mut(&key.agent).expect("a volume is on a known agent").volumes.insert(key.clone());
        self.volumes_due.insert(key.clone());
        self.volumes.insert(key, volume);
    }

    /// Forgets a volume. What tasks still use of it is anybody's when they have ended.
    fn remove_volume(&mut self, now: Time, key: &VolumeKey, effects: &mut Vec<Effect>) -> Volume {
        if let Some(offer) = self.volumes[key].offer.clone() {
            self.rescind(now, &offer, None, effects);
        }
        self.lift_filter(key);
        let volume = self.volumes.remove(key).expect("the caller has it");
        self.volumes_due.remove(key);
        if let Some(agent) = self.agents.get_mut(&key.agent) {
            agent.volumes.remove(key);
        }
        let event = allocator::Event::Unreserve { agent: key.agent.clone(), resources: volume.idle() };
        self.tell_allocator(now, event);
        volume
    }

    /// An agent has made or destroyed a volume, or could not.
    pub(super) fn volume_outcome(
        &mut self,
        now: Time,
        agent: &AgentId,
        outcome: VolumeOutcome,
        effects: &mut Vec<Effect>,
    ) {
        let key = VolumeKey::of(agent, outcome.id);
        let Some(volume) = self.volumes.get_mut(&key) else {
            if outcome.exists {
                // It was given up meanwhile, and its owner was told so.
                let event = agent_event::Event::DestroyVolume(DestroyVolume { id: key.id() });
                self.tell_agent(agent, event, effects);
            }
            return;
        };
        match (&volume.state, outcome.exists) {
            (State::Creating, true) => self.volume_is_ready(&key, effects),
            (State::Creating, false) => {
                self.volume_is_gone(now, &key, VolumeState::VolumeRefused, outcome.error, effects)
            }
            (State::Destroying { by, .. }, false) => {
                let message = Some(format!("destroyed by {by}"));
                self.volume_is_gone(now, &key, VolumeState::VolumeDestroyed, message, effects);
            }
            (State::Destroying { .. }, true) => self.volume_stays(&key, outcome.error.unwrap_or_default(), effects),
            // It came to an end that was given up before.
            (State::Ready, false) => {
                self.volume_is_gone(now, &key, VolumeState::VolumeDestroyed, outcome.error, effects);
            }
            (State::Ready, true) => {}
        }
        self.carry_out_allocation(now, effects);
    }

    fn volume_is_ready(&mut self, key: &VolumeKey, effects: &mut Vec<Effect>) {
        self.volumes.get_mut(key).expect("the caller has it").state = State::Ready;
        self.volumes_due.insert(key.clone());
        self.tell_owner(key, VolumeState::VolumeReady, None, effects);
    }

    fn volume_is_gone(
        &mut self,
        now: Time,
        key: &VolumeKey,
        state: VolumeState,
        message: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        // Before it is forgotten, so that its owner hears what it reserved.
        self.tell_owner(key, state, message.clone(), effects);
        let volume = self.remove_volume(now, key, effects);
        if let State::Destroying { asker: Some(asker), .. } = volume.state {
            let answer = match state {
                VolumeState::VolumeDestroyed => Ok(format!("destroyed {} on agent {}", key.name, key.agent)),
                _ => Err(message.unwrap_or_default()),
            };
            self.answer_asker(asker, answer, effects);
        }
    }

    /// It was to be destroyed and wasn't.
    fn volume_stays(&mut self, key: &VolumeKey, why: String, effects: &mut Vec<Effect>) {
        let volume = self.volumes.get_mut(key).expect("the caller has it");
        let was = std::mem::replace(&mut volume.state, State::Ready);
        self.volumes_due.insert(key.clone());
        match was {
            State::Destroying { asker: Some(asker), .. } => self.answer_asker(asker, Err(why), effects),
            _ => self.tell_owner(key, VolumeState::VolumeRefused, Some(why), effects),
        }
    }

    pub(super) fn answer_asker(&mut self, asker: LinkId, answer: Result<String, String>, effects: &mut Vec<Effect>) {
        // Whoever asked may have left.
        if self.links.contains_key(&asker) {
            let reply = answer.map(|message| {
                let done = Done { message: Some(message) };
                OperatorReply { reply: Some(operator_reply::Reply::Done(done)) }
            });
            effects.push(Effect::Reply { link: asker, reply });
            self.close(asker, effects);
        }
    }
}

// ── with their agents ───────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// What an agent that registers has on its disk, against what was known of it.
    pub(super) fn compare_volumes(
        &mut self,
        now: Time,
        agent: &AgentId,
        records: Vec<VolumeRecord>,
        effects: &mut Vec<Effect>,
    ) {
        let mut there = BTreeSet::new();
        for record in records {
            let key = VolumeKey::of(agent, record.id);
            there.insert(key.clone());
            match self.volumes.get(&key).map(|volume| &volume.state) {
                None => self.find_volume(now, key, record.reserved, effects),
                Some(State::Creating) => self.volume_is_ready(&key, effects),
                Some(State::Destroying { .. }) => {
                    let why = "its agent was away before it was destroyed; ask again";
                    self.volume_stays(&key, why.to_string(), effects);
                }
                Some(State::Ready) => drop(self.volumes_due.insert(key)),
            }
        }
        for key in self.agents[agent].volumes.difference(&there).cloned().collect::<Vec<_>>() {
            let (state, message) = match &self.volumes[&key].state {
                State::Creating => (VolumeState::VolumeRefused, "its agent was away before it was made"),
                State::Destroying { .. } => (VolumeState::VolumeDestroyed, "destroyed"),
                State::Ready => (VolumeState::VolumeDestroyed, "its agent came back without it"),
            };
            self.volume_is_gone(now, &key, state, Some(message.to_string()), effects);
        }
    }

    /// A volume of before.
    fn find_volume(&mut self, now: Time, key: VolumeKey, reserved: Resources, effects: &mut Vec<Effect>) {
        let Ok(reserved) = reserved.checked() else { return };
        let used = self.used_by_tasks(&key);
        let idle = reserved.checked_sub(&used).ok().filter(|idle| self.has_room_for(&key.agent, idle));
        let volume = Volume { fits: idle.is_some(), ..Volume::new(reserved, used, State::Ready) };
        if let Some(resources) = idle {
            let (framework, agent) = (None, key.agent.clone());
            self.tell_allocator(now, allocator::Event::Reserve { framework, agent, resources });
        }
        self.add_volume(key.clone(), volume);
        self.tell_owner(&key, VolumeState::VolumeReady, None, effects);
    }

    /// Whether an agent has room for a reservation beside its other volumes and what runs there.
    fn has_room_for(&self, agent: &AgentId, resources: &Resources) -> bool {
        let row = &self.agents[agent];
        let idle: Resources = row.volumes.iter().map(|key| self.volumes[key].idle()).sum();
        row.total().contains(&(self.used_on(agent) + &idle + resources))
    }

    /// Their agent is lost: nobody can say more of them until it comes back.
    pub(super) fn lose_volumes(&mut self, now: Time, agent: &AgentId, message: &str, effects: &mut Vec<Effect>) {
        for key in self.agents[agent].volumes.clone() {
            self.volume_is_gone(now, &key, VolumeState::VolumeUnreachable, Some(message.to_string()), effects);
        }
    }
}

// ── offered ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// Offers what is free of reservations to their owners, where something has changed.
    pub(super) fn offer_volumes(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for key in std::mem::take(&mut self.volumes_due) {
            let Some(volume) = self.volumes.get(&key) else { continue };
            let idle = volume.idle();
            let refused =
                volume.refused.as_ref().is_some_and(|(refused, until)| *until > now && refused.contains(&idle));
            let away = !self.is_offered(&key.agent);
            if volume.state != State::Ready || volume.offer.is_some() || idle.is_empty() || refused || away {
                continue;
            }
            let wants = self
                .owner_of(&key)
                .filter(|framework| framework.link.is_some() && !framework.welcome_waits)
                .filter(|framework| framework.ending.is_none() && !framework.suppressed);
            let Some(framework) = wants.map(|framework| framework.id.clone()) else { continue };
            let part = allocator::Part { agent: key.agent.clone(), resources: idle, slots: None };
            let words = mesos_plugin_api::v1::Volume { name: key.name.clone(), reserved: volume.reserved.clone() };
            let part = OfferPart { volume: Some(words), ..self.offer_part(part) };
            let offer = self.open_offer(now, &framework, vec![part], None, None);
            self.volumes.get_mut(&key).expect("looked at above").offer = Some(offer.id.clone());
            self.tell(&framework, event::Event::Offers(scheduler::Offers { offers: vec![offer] }), effects);
        }
    }

    /// Reserved resources that were offered and not used; their owner doesn't want them again for so long.
    pub(super) fn volume_comes_back(
        &mut self,
        now: Time,
        key: &VolumeKey,
        resources: Resources,
        refuse: Option<Duration>,
    ) {
        self.lift_filter(key);
        let Some(volume) = self.volumes.get_mut(key) else { return };
        volume.refused = refuse.filter(|_| !resources.is_empty()).map(|refuse| (resources, now + refuse));
        if let Some((_, until)) = &volume.refused {
            self.volume_filters.insert((*until, key.clone()));
        }
        self.volumes_due.insert(key.clone());
    }

    pub(super) fn expire_volume_filters(&mut self, now: Time) {
        while let Some((_, key)) = self.volume_filters.first().filter(|(until, _)| *until <= now).cloned() {
            self.lift_filter(&key);
            self.volumes_due.insert(key);
        }
    }

    /// Its owner may be offered it again.
    fn lift_filter(&mut self, key: &VolumeKey) {
        if let Some((_, until)) = self.volumes.get_mut(key).and_then(|volume| volume.refused.take()) {
            self.volume_filters.remove(&(until, key.clone()));
        }
    }

    /// A framework wants to be shown all that is its own.
    pub(super) fn show_volumes(&mut self, framework: &FrameworkId) {
        for key in self.volumes_of(framework) {
            self.lift_filter(&key);
            self.volumes_due.insert(key);
        }
    }

    fn owner_of(&self, key: &VolumeKey) -> Option<&Framework> {
        self.owners_of(key).next()
    }

    /// More than one only where a new master has let one of that name in before an agent brought the older one back.
    fn owners_of(&self, key: &VolumeKey) -> impl Iterator<Item = &Framework> {
        let owns =
            move |framework: &&Framework| (&framework.info.user, &framework.info.name) == (&key.user, &key.framework);
        self.frameworks.values().filter(owns)
    }

    pub(super) fn volumes_of(&self, framework: &FrameworkId) -> Vec<VolumeKey> {
        let first = self.volume_key(framework, &AgentId::default(), "");
        let same = |key: &&VolumeKey| key.user == first.user && key.framework == first.framework;
        self.volumes.range(first.clone()..).map(|(key, _)| key).take_while(same).cloned().collect()
    }
}

// ── used ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// A task that was launched takes what it has of reservations.
    pub(super) fn use_volumes(&mut self, now: Time, framework: &FrameworkId, agent: &AgentId, volumes: &[VolumeMount]) {
        for (mount, resources) in reserved_parts(volumes) {
            let key = self.volume_key(framework, agent, &mount.name);
            self.volumes.get_mut(&key).expect("the task was checked against it").used += resources;
            let (framework, agent, resources) = (framework.clone(), key.agent, resources.clone());
            self.tell_allocator(now, allocator::Event::UseReserved { framework, agent, resources });
        }
    }

    /// It has ended: they are their volumes' again, or anybody's if those are gone.
    pub(super) fn return_to_volumes(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        agent: &AgentId,
        volumes: &[VolumeMount],
    ) {
        for (mount, resources) in reserved_parts(volumes) {
            let key = self.volume_key(framework, agent, &mount.name);
            let (framework, agent) = (framework.clone(), key.agent.clone());
            let event = allocator::Event::ReturnReserved { framework, agent, resources: resources.clone() };
            self.tell_allocator(now, event);
            let kept = match self.volumes.get_mut(&key) {
                Some(volume) => {
                    volume.used = volume.used.checked_sub(resources).expect("each task returns what it has used");
                    volume.fits
                }
                None => false,
            };
            if kept {
                self.volumes_due.insert(key);
            } else {
                let (agent, resources) = (key.agent, resources.clone());
                self.tell_allocator(now, allocator::Event::Unreserve { agent, resources });
            }
        }
    }

    /// Live tasks that mount a volume.
    pub(super) fn users_of(&self, key: &VolumeKey) -> Vec<&Task> {
        let tasks = self.owners_of(key).flat_map(|framework| framework.tasks.values());
        tasks.filter(|task| !task.resources_returned && mount_of(&task.info, key).is_some()).map(Box::as_ref).collect()
    }

    /// What they have of its reservation.
    fn used_by_tasks(&self, key: &VolumeKey) -> Resources {
        let mounts = self.users_of(key).into_iter().filter_map(|task| mount_of(&task.info, key));
        mounts.filter_map(|mount| mount.reserved.as_ref()).sum()
    }

    pub(super) fn destroy_by_framework(
        &mut self,
        now: Time,
        framework: &FrameworkId,
        destroy: &scheduler::DestroyVolume,
        effects: &mut Vec<Effect>,
    ) {
        let key = self.volume_key(framework, &destroy.agent_id, &destroy.name);
        if let Err(problem) = self.destroy_volume(now, &key, "its framework", None, effects) {
            self.tell_of_volume(framework, &key, VolumeState::VolumeRefused, Some(problem), effects);
        }
    }

    /// Asks the agent to remove it, unless something stands against it.
    pub(super) fn destroy_volume(
        &mut self,
        now: Time,
        key: &VolumeKey,
        by: &str,
        asker: Option<LinkId>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let volume =
            self.volumes.get(key).ok_or_else(|| format!("there is none of this name on agent {}", key.agent))?;
        if matches!(volume.state, State::Creating | State::Destroying { .. }) {
            return Err("it is being made or destroyed just now".to_string());
        }
        if let Some(task) = self.users_of(key).first() {
            return Err(format!("the task {} mounts it; kill that first", task.info.id));
        }
        if self.agents[&key.agent].link.is_none() {
            return Err(format!("its agent {} is away; ask again when it is back", key.agent));
        }
        if let Some(offer) = self.volumes[key].offer.clone() {
            self.rescind(now, &offer, None, effects);
        }
        let volume = self.volumes.get_mut(key).expect("it was found above");
        volume.state = State::Destroying { by: by.to_string(), asker };
        let event = agent_event::Event::DestroyVolume(DestroyVolume { id: key.id() });
        self.tell_agent(&key.agent, event, effects);
        Ok(())
    }
}

// ── told ────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

impl Master {
    /// All that a framework has, when it subscribes.
    pub(super) fn tell_of_volumes(&mut self, framework: &FrameworkId, effects: &mut Vec<Effect>) {
        for key in self.volumes_of(framework) {
            if self.volumes[&key].state != State::Creating {
                let state = match self.agents[&key.agent].unreachable {
                    Some(_) => VolumeState::VolumeUnreachable,
                    None => VolumeState::VolumeReady,
                };
                self.tell_of_volume(framework, &key, state, None, effects);
            }
        }
    }

    pub(super) fn tell_owner(
        &self,
        key: &VolumeKey,
        state: VolumeState,
        message: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(owner) = self.owner_of(key) {
            self.tell_of_volume(&owner.id, key, state, message, effects);
        }
    }

    pub(super) fn tell_of_volume(
        &self,
        framework: &FrameworkId,
        key: &VolumeKey,
        state: VolumeState,
        message: Option<String>,
        effects: &mut Vec<Effect>,
    ) {
        let status = VolumeStatus {
            agent_id: key.agent.clone(),
            name: key.name.clone(),
            state: state.into(),
            reserved: self.volumes.get(key).map(|volume| volume.reserved.clone()),
            message,
            hostname: self.agents.get(&key.agent).map(|agent| agent.info.hostname.clone()),
        };
        self.tell(framework, event::Event::VolumeStatus(status), effects);
    }

    /// What a volume's tasks use and what is offered of it is its own, and is counted once.
    pub(super) fn check_volumes(&self) {
        for (key, volume) in &self.volumes {
            let used = self.used_by_tasks(key);
            assert_eq!(used, volume.used, "volume {} is used by its tasks", key.name);
            let offered = volume.offer.as_ref().map(|id| self.offers[id].parts[0].resources.clone());
            let taken = used + &offered.unwrap_or_default();
            assert!(volume.kept().contains(&taken), "volume {} is used and offered within what it keeps", key.name);
            assert!(self.agents[&key.agent].volumes.contains(key), "volume {} is known by its agent", key.name);
            let filter = volume.refused.as_ref().map(|(_, until)| (*until, key.clone()));
            assert!(filter.is_none_or(|filter| self.volume_filters.contains(&filter)), "its filter ends");
        }
        for (id, agent) in &self.agents {
            assert!(agent.volumes.iter().all(|key| self.volumes.contains_key(key)), "volumes of agent {id} are known");
            let idle: Resources = agent.volumes.iter().map(|key| self.volumes[key].idle()).sum();
            let parts = self.offers.values().flat_map(|offer| &offer.parts).filter(|part| part.agent_id == *id);
            let offered: Resources = parts.filter(|part| part.volume.is_none()).map(|part| &part.resources).sum();
            let taken = self.used_on(id) + &idle;
            // After it shrank, what is in use may be more than it has; nothing is offered then.
            let offered_beside = taken.clone() + &offered;
            assert!(
                offered.is_empty() || agent.total().contains(&offered_beside),
                "agent {id} has {}, {taken} is used or reserved, {offered} is offered",
                agent.total()
            );
        }
        for (id, offer) in &self.offers {
            for part in offer.parts.iter().filter(|part| part.volume.is_some()) {
                let name = &part.volume.as_ref().expect("filtered").name;
                let key = self.volume_key(&offer.framework_id, &part.agent_id, name);
                assert_eq!(self.volumes[&key].offer.as_ref(), Some(id), "the offer of a volume is known by it");
            }
        }
    }
}

/// Where a task mounts a volume, if it does.
pub(super) fn mount_of<'a>(task: &'a Description, key: &VolumeKey) -> Option<&'a VolumeMount> {
    task.volumes.iter().find(|mount| task.agent_id == key.agent && mount.name == key.name)
}

fn reserved_parts(volumes: &[VolumeMount]) -> impl Iterator<Item = (&VolumeMount, &Resources)> {
    volumes.iter().filter_map(|mount| Some((mount, mount.reserved.as_ref()?)))
}
