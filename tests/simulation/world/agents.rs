//! The agents: their cores, their disks, and what prepares a launch.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_host::agent::{Agent, Checkpoint, Effect, Event, Found, Launch, LocalId, Others, Refusal, Settings};
use mesos_host::protocol::{VolumeId, VolumeRecord};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentInfo, Reason, Resources};

use super::launchers::Request;
use super::{Happening, Lane, World};
use crate::network::{Packet, Peer, Way};
use crate::sight::Sight;

/// One machine of the cluster and the agent's process on it.
pub struct AgentNode {
    /// Its host name.
    pub hostname: String,
    /// All it has.
    pub resources: Resources,
    /// The agent's core while its process lives.
    pub core: Option<Agent>,
    /// Rises with each process.
    pub incarnation: u64,
    /// Its way to the master.
    pub connection: Option<u64>,
    /// When its core's deadline passes.
    pub due: Option<Time>,
    /// What runs outlives its process, and the next one goes on with it; otherwise it ends.
    keeps: bool,
    /// Recovered, and about to hear what is left of its processes.
    recovering: Option<Agent>,
    /// Checkpoints that survive its process.
    pub kept: Vec<Checkpoint>,
    /// The launcher of the agent that wrote them.
    kept_launcher: u64,
    /// How containers of the launcher have ended that the agent has not done with.
    pub ended: BTreeMap<LocalId, Found>,
    /// Those of which it may be told so when what was written until then is kept.
    releases: Vec<(LocalId, Option<u64>)>,
    /// Rises when the machine is started anew.
    pub boots: u64,
    kept_boots: u64,
    unkept: BTreeMap<u64, Checkpoint>,
    /// What its disk keeps for frameworks, over its restarts.
    volumes: BTreeMap<VolumeId, VolumeRecord>,
    /// What was made ready for a launch.
    pub prepared: BTreeMap<LocalId, Launch>,
    /// The launcher that its requests go to.
    pub launcher: u64,
    /// Its disk is slow until then.
    pub slow_disk_until: Time,
    /// Processes of the machine end with KILL only after a long while, until then.
    pub stuck_until: Time,
}

impl World {
    /// A machine whose agent is about to begin.
    pub fn add_agent(&mut self, resources: Resources) {
        let agent = self.agents.len();
        let keeps = self.chance.percent(75);
        self.agents.push(AgentNode {
            hostname: format!("host{agent}"),
            resources,
            core: None,
            incarnation: 0,
            connection: None,
            due: None,
            keeps,
            recovering: None,
            kept: Vec::new(),
            kept_launcher: 0,
            ended: BTreeMap::new(),
            releases: Vec::new(),
            boots: 0,
            kept_boots: 0,
            unkept: BTreeMap::new(),
            volumes: BTreeMap::new(),
            prepared: BTreeMap::new(),
            launcher: 0,
            slow_disk_until: Time::default(),
            stuck_until: Time::default(),
        });
        let wait = self.chance.ms(0, 3000);
        self.after(wait, Happening::AgentStarts { agent });
    }

    /// As the shell does: from its checkpoints, once its launcher has said what there is. One whose tasks are not to outlive it
    /// waits until nothing of those before runs any more.
    pub(super) fn agent_starts(&mut self, agent: usize) {
        let node = &self.agents[agent];
        if node.core.is_some() || node.recovering.is_some() {
            return;
        }
        if !node.keeps && self.end_processes_of(agent) {
            let wait = self.chance.ms(50, 500);
            return self.after(wait, Happening::AgentStarts { agent });
        }
        self.watch.log(self.now, format_args!("agent {agent}"), &"starts");
        let settings = self.settings(agent);
        let node = &mut self.agents[agent];
        node.incarnation += 1;
        if !node.keeps {
            node.launcher += 1;
            node.kept.clear();
        }
        let (resources, recovered) = (&self.agents[agent].resources, !self.agents[agent].kept.is_empty());
        self.watch.see(self.now, &Sight::AgentStarted { agent, resources, recovered });
        if !recovered {
            self.agents[agent].core = Some(Agent::new(settings));
            self.agents[agent].kept_launcher = self.agents[agent].launcher;
            self.agents[agent].kept_boots = self.agents[agent].boots;
            return self.agent_handles(agent, Event::Started);
        }
        self.watch.counts.add("fault: agent recovered from its checkpoints", 1);
        let kept = self.agents[agent].kept.clone();
        let core = Agent::recover(settings, kept).expect("it has as much as before");
        self.agents[agent].prepared = core.launches().into_iter().collect();
        self.agents[agent].recovering = Some(core);
        self.request(agent, Request::List);
    }

    fn settings(&self, agent: usize) -> Settings {
        let node = &self.agents[agent];
        let info = AgentInfo {
            hostname: node.hostname.clone(),
            address: "10.0.0.1".into(),
            port: 5051,
            resources: node.resources.clone(),
            attributes: Vec::new(),
            id: None,
        };
        Settings {
            info,
            version: "0".into(),
            secret: b"secret".to_vec(),
            boot_id: Some(format!("boot {}", node.boots)),
            work_dir: "/work".into(),
            volumes: node.volumes.values().cloned().collect(),
        }
    }

    /// Its launcher has said what there is: it goes on.
    fn agent_recovers(&mut self, agent: usize, containers: BTreeMap<LocalId, Found>) {
        let node = &mut self.agents[agent];
        let Some(core) = node.recovering.take() else { return };
        let others = match () {
            () if node.kept_boots != node.boots => Others::Rebooted,
            () if node.kept_launcher != node.launcher => Others::Lost,
            () => Others::Unstarted,
        };
        let known: Vec<LocalId> = core.launches().into_iter().map(|(id, _)| id).collect();
        node.core = Some(core);
        let (known, strange): (BTreeMap<_, _>, BTreeMap<_, _>) =
            containers.into_iter().partition(|(id, _)| known.contains(id));
        for id in strange.into_keys() {
            self.agents[agent].ended.remove(&id);
            self.request(agent, Request::Signal { id, signal: 9 });
        }
        self.agent_handles(agent, Event::Found { containers: known, others });
        self.write_anew(agent);
        self.agent_handles(agent, Event::Started);
    }

    /// All that it has found out is in its log as soon as that names the launcher and the boot that it is about.
    fn write_anew(&mut self, agent: usize) {
        let node = &mut self.agents[agent];
        let Some(core) = &node.core else { return };
        node.kept = core.checkpoints();
        (node.kept_boots, node.kept_launcher) = (node.boots, node.launcher);
        for checkpoint in std::mem::take(&mut node.unkept).into_values() {
            self.watch.see(self.now, &Sight::AgentKept { agent, checkpoint: &checkpoint });
        }
        self.release(agent);
    }

    /// Its process dies. What runs goes on, or its launcher ends it, now or when the next agent says so.
    pub fn agent_dies(&mut self, agent: usize) -> bool {
        let node = &mut self.agents[agent];
        node.recovering = None;
        if node.core.take().is_none() {
            return false;
        }
        node.incarnation += 1;
        node.due = None;
        let lost = std::mem::take(&mut node.unkept).len() as u64;
        node.prepared.clear();
        node.releases.clear();
        self.watch.counts.add("fault: effects lost at a crash", lost);
        self.watch.log(self.now, format_args!("agent {agent}"), &"dies");
        if let Some(connection) = self.agents[agent].connection.take() {
            self.client_dies(connection);
        }
        self.executors_lose_agent(agent);
        if !self.agents[agent].keeps && self.chance.percent(50) {
            self.end_processes_of(agent);
        }
        true
    }

    /// It begins again after so long.
    pub fn start_agent_after(&mut self, agent: usize, wait: Duration) {
        self.after(wait, Happening::AgentStarts { agent });
    }

    pub(super) fn agent_hears(&mut self, agent: usize, incarnation: u64, event: Event) {
        if incarnation != self.agents[agent].incarnation {
            self.watch.counts.add("fault: effects lost at a crash", 1);
            return;
        }
        if let Event::Persisted { seq } = event {
            let kept = self.agents[agent].unkept.split_off(&(seq + 1));
            for checkpoint in std::mem::replace(&mut self.agents[agent].unkept, kept).into_values() {
                self.watch.see(self.now, &Sight::AgentKept { agent, checkpoint: &checkpoint });
                self.agents[agent].kept.push(checkpoint);
            }
            self.release(agent);
        }
        self.agent_handles(agent, event);
    }

    fn release(&mut self, agent: usize) {
        let node = &mut self.agents[agent];
        let first = node.unkept.keys().next().copied().unwrap_or(u64::MAX);
        for (id, _) in node.releases.extract_if(.., |(_, written)| written.is_none_or(|written| written < first)) {
            node.ended.remove(&id);
        }
    }

    pub(super) fn agent_handles(&mut self, agent: usize, event: Event) {
        if let (Event::Found { containers, .. }, true) = (&event, self.agents[agent].recovering.is_some()) {
            return self.agent_recovers(agent, containers.clone());
        }
        let Some(mut core) = self.agents[agent].core.take() else { return };
        self.events += 1;
        self.watch.log(self.now, format_args!("agent {agent} ◀"), &event);
        let mut effects = Vec::new();
        core.handle(self.now, event, &mut effects);
        self.agents[agent].due = core.deadline();
        self.agents[agent].core = Some(core);
        self.agent_carries_out(agent, effects);
    }

    fn agent_carries_out(&mut self, agent: usize, effects: Vec<Effect>) {
        let incarnation = self.agents[agent].incarnation;
        let (mut calls, mut ended) = (Vec::new(), Vec::new());
        for effect in effects {
            self.watch.log(self.now, format_args!("agent {agent} ▶"), &effect);
            match effect {
                Effect::Connect => self.connect(Peer::Agent(agent)),
                Effect::Disconnect => {
                    calls.clear();
                    if let Some(connection) = self.agents[agent].connection.take() {
                        self.hang_up(connection);
                    }
                }
                Effect::Send(call) => {
                    self.watch.see(self.now, &Sight::AgentSaid { agent, call: &call });
                    calls.push(call);
                }
                Effect::Persist { seq, checkpoint } => self.agent_persists(agent, seq, checkpoint),
                Effect::Prepare { id, launch } => self.prepare(agent, id, launch),
                Effect::MakeVolume { record } => {
                    let id = record.id.clone();
                    self.agents[agent].volumes.insert(id.clone(), record);
                    self.disk_answers(agent, Event::VolumeMade { id, outcome: Ok(()) });
                }
                Effect::RemoveVolume { id } => {
                    self.agents[agent].volumes.remove(&id);
                    self.disk_answers(agent, Event::VolumeRemoved { id, outcome: Ok(()) });
                }
                Effect::Mount { id, .. } => self.disk_answers(agent, Event::Mounted { id, outcome: Ok(()) }),
                Effect::Abandon { id } => {
                    // What has been prepared already is told nevertheless.
                    if self.chance.percent(50) {
                        self.agents[agent].prepared.remove(&id);
                    }
                }
                Effect::Launch { id } => {
                    if let Some(launch) = self.agents[agent].prepared.get(&id).cloned() {
                        self.request(agent, Request::Launch { id, launch: Box::new(launch) });
                    }
                }
                Effect::Signal { id, signal } => self.request(agent, Request::Signal { id, signal }),
                Effect::SendExecutor { id, frame } => self.frame_to_executor(agent, id, frame),
                Effect::Ended { id } => {
                    self.agents[agent].prepared.remove(&id);
                    ended.push(id);
                }
                Effect::Exit { .. } => {
                    self.agent_dies(agent);
                    let wait = self.chance.ms(100, 3000);
                    self.start_agent_after(agent, wait);
                }
                Effect::ShareSandbox { .. } | Effect::Warn { .. } => {}
            }
            if self.agents[agent].incarnation != incarnation {
                return;
            }
        }
        // What its launcher knows, the next agent is told; so it may forget what is kept here.
        let written = self.agents[agent].unkept.keys().last().copied();
        self.agents[agent].releases.extend(ended.into_iter().map(|id| (id, written)));
        self.release(agent);
        if let Some(connection) = self.agents[agent].connection.filter(|_| !calls.is_empty()) {
            self.send(connection, Way::Up, Packet::AgentCalls(calls));
        }
    }

    /// It is done, whether the agent lives to hear of it or not.
    fn disk_answers(&mut self, agent: usize, event: Event) {
        let (wait, incarnation) = (self.chance.wait(2, 200), self.agents[agent].incarnation);
        self.follow(Lane::AgentDisk(agent), wait, Happening::AgentHears { agent, incarnation, event });
    }

    fn agent_persists(&mut self, agent: usize, seq: u64, checkpoint: Checkpoint) {
        self.agents[agent].unkept.insert(seq, checkpoint);
        let wait = if self.agents[agent].slow_disk_until > self.now {
            self.watch.counts.add("fault: slow disk of an agent", 1);
            self.chance.ms(200, 4000)
        } else {
            self.chance.wait(2, 200)
        };
        let incarnation = self.agents[agent].incarnation;
        let event = Event::Persisted { seq };
        self.follow(Lane::AgentDisk(agent), wait, Happening::AgentHears { agent, incarnation, event });
    }

    fn prepare(&mut self, agent: usize, id: LocalId, launch: Launch) {
        self.agents[agent].prepared.insert(id, launch);
        let outcome = if self.chance.percent(1) {
            self.watch.counts.add("fault: fetch failed", 1);
            Err(Refusal { reason: Reason::FetchFailed, message: "404".into() })
        } else {
            Ok(())
        };
        let incarnation = self.agents[agent].incarnation;
        let wait = self.chance.wait(20, 5000);
        self.after(wait, Happening::AgentHears { agent, incarnation, event: Event::Prepared { id, outcome } });
    }
}
