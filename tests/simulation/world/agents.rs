//! The agents: their cores, their disks, and what prepares a launch.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_host::agent::{Agent, Checkpoint, Effect, Event, Launch, LocalId, Refusal, Settings};
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
    /// Checkpoints that survive its process. A restarted agent doesn't read them yet; then `agent_starts` changes, nothing else.
    pub kept: Vec<Checkpoint>,
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
        self.agents.push(AgentNode {
            hostname: format!("host{agent}"),
            resources,
            core: None,
            incarnation: 0,
            connection: None,
            due: None,
            kept: Vec::new(),
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

    /// As the shell does today: it knows nothing of an agent before it, and waits until nothing of that one runs any more.
    pub(super) fn agent_starts(&mut self, agent: usize) {
        if self.agents[agent].core.is_some() {
            return;
        }
        if self.end_processes_of(agent) {
            let wait = self.chance.ms(50, 500);
            return self.after(wait, Happening::AgentStarts { agent });
        }
        let node = &mut self.agents[agent];
        node.incarnation += 1;
        node.launcher += 1;
        node.kept.clear();
        let info = AgentInfo {
            hostname: node.hostname.clone(),
            address: "10.0.0.1".into(),
            port: 5051,
            resources: node.resources.clone(),
            attributes: Vec::new(),
            id: None,
        };
        let settings = Settings {
            info,
            version: "0".into(),
            secret: b"secret".to_vec(),
            boot_id: Some("boot".into()),
            work_dir: "/work".into(),
            volumes: node.volumes.values().cloned().collect(),
        };
        node.core = Some(Agent::new(settings));
        self.watch.log(self.now, format_args!("agent {agent}"), &"starts");
        let resources = &self.agents[agent].resources;
        self.watch.see(self.now, &Sight::AgentStarted { agent, resources });
        self.agent_handles(agent, Event::Started);
    }

    /// Its process dies. Its launcher ends what runs, now or when the next agent says so.
    pub fn agent_dies(&mut self, agent: usize) -> bool {
        let node = &mut self.agents[agent];
        if node.core.take().is_none() {
            return false;
        }
        node.incarnation += 1;
        node.due = None;
        let lost = std::mem::take(&mut node.unkept).len() as u64;
        node.prepared.clear();
        self.watch.counts.add("fault: effects lost at a crash", lost);
        self.watch.log(self.now, format_args!("agent {agent}"), &"dies");
        if let Some(connection) = self.agents[agent].connection.take() {
            self.client_dies(connection);
        }
        self.executors_lose_agent(agent);
        if self.chance.percent(50) {
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
        }
        self.agent_handles(agent, event);
    }

    pub(super) fn agent_handles(&mut self, agent: usize, event: Event) {
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
        let mut calls = Vec::new();
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
                Effect::Ended { id } => drop(self.agents[agent].prepared.remove(&id)),
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
