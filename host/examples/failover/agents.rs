//! Agents without processes, each with a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use mesos_host::protocol::client::{Credentials, MasterClient};
use mesos_host::protocol::link::{Batch, Link};
use mesos_host::protocol::{
    AgentCall, AgentEvent, Pong, Register, StatusUpdate, TaskRecord, UpdateAcknowledge, agent_call, agent_event,
};
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, CommandInfo, FrameworkInfo, Resources, TaskId, TaskInfo, TaskState, TaskStatus,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Failure, id_of};

/// What an agent has.
const AGENT_RESOURCES: &str = "cpus:64;mem:65536";
/// What a task has of it.
pub const TASK_CPUS: f64 = 0.1;

/// Between attempts to register, and how many may fail.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const FAILURES_MAX: u32 = 50;

/// Attempts to register that failed since the start.
pub static RETRIES: AtomicU32 = AtomicU32::new(0);

/// What agents bring with them.
pub struct Load {
    pub framework: FrameworkInfo,
    pub tasks_each: u32,
    pub updates_each: u64,
}

/// Agents that are registered; gone when this is dropped.
pub struct Crowd {
    /// From the first connection until the last of them was registered.
    pub seconds: f64,
    begin: watch::Sender<bool>,
    _agents: JoinSet<Result<(), Failure>>,
}

impl Crowd {
    /// All at once, as agents do when they hear of a new master. Fills in the ids of those that have none.
    pub async fn connect(
        address: &str,
        credentials: &Credentials,
        ids: &mut [Option<AgentId>],
        load: &Arc<Load>,
    ) -> Result<Self, Failure> {
        let (begin, begins) = watch::channel(false);
        let (registered, mut news) = tokio::sync::mpsc::channel(ids.len());
        let mut agents = JoinSet::new();
        let started = Instant::now();
        for (number, id) in ids.iter().cloned().enumerate() {
            let simulated = Simulated { number, id, load: load.clone() };
            let (address, credentials) = (address.to_string(), credentials.clone());
            let (registered, begins) = (registered.clone(), begins.clone());
            agents.spawn(async move {
                let (link, id) = simulated.join(&address, &credentials).await?;
                registered.send((number, id.clone())).await?;
                drop(registered);
                simulated.go_on(link, &id, begins).await
            });
        }
        drop(registered);
        for _ in 0..ids.len() {
            let Some((number, id)) = news.recv().await else {
                let failed = agents.join_next().await.expect("there are some")?;
                return Err(failed.err().unwrap_or_else(|| "an agent's stream ended".into()));
            };
            ids[number] = Some(id);
        }
        Ok(Self { seconds: started.elapsed().as_secs_f64(), begin, _agents: agents })
    }

    /// Updates may go out.
    pub fn begin(&self) {
        self.begin.send_replace(true);
    }
}

type AgentLink = Link<AgentCall, AgentEvent>;

struct Simulated {
    number: usize,
    id: Option<AgentId>,
    load: Arc<Load>,
}

impl Simulated {
    /// Goes on until it is registered, as agents do.
    async fn join(&self, address: &str, credentials: &Credentials) -> Result<(AgentLink, AgentId), Failure> {
        let mut failures = 0;
        loop {
            let tried = match MasterClient::connect(address, credentials.clone()).await {
                Ok(client) => self.register(&client).await,
                Err(error) => Err(error.into()),
            };
            match tried {
                Err(error) if failures == FAILURES_MAX => return Err(error),
                Err(_) => failures += 1,
                joined => return joined,
            }
            RETRIES.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }

    async fn register(&self, client: &MasterClient) -> Result<(AgentLink, AgentId), Failure> {
        let mut link = client.agent_link().await?;
        let agent = AgentInfo {
            hostname: format!("simulated-{}.example.org", self.number),
            address: "127.0.0.1".into(),
            port: 1,
            resources: AGENT_RESOURCES.parse()?,
            attributes: Vec::new(),
            id: self.id.clone(),
        };
        let tasks: Vec<TaskRecord> = self.id.iter().flat_map(|id| self.tasks(id)).collect();
        let frameworks = if tasks.is_empty() { Vec::new() } else { vec![self.load.framework.clone()] };
        let version = env!("CARGO_PKG_VERSION").into();
        let register = Register { agent, version, secret: vec![0; 32], tasks, frameworks, ..Register::default() };
        link.out.send(Batch { epoch: 0, items: vec![call(agent_call::Call::Register(register))] }).await?;
        while let Some(batch) = link.inbox.recv().await {
            for event in batch.items.into_iter().filter_map(|event| event.event) {
                match event {
                    agent_event::Event::Registered(registered) => return Ok((link, registered.agent_id)),
                    agent_event::Event::Refused(refused) => return Err(refused.message.into()),
                    _ => {}
                }
            }
        }
        Err("the master closed an agent's stream".into())
    }

    fn tasks(&self, agent: &AgentId) -> impl Iterator<Item = TaskRecord> {
        (0..self.load.tasks_each).map(move |number| {
            let id = TaskId::new(format!("simulation.{}.{number}", self.number));
            let command = CommandInfo::argv(["/usr/bin/simulate", "--step", "1000", "/data/input/part-00042"]);
            let status = self.status(agent, id.clone(), 1);
            let task = TaskInfo::command(id, agent.clone(), Resources::new(TASK_CPUS, 32.0), command);
            TaskRecord { framework_id: id_of(&self.load.framework), task, status, gang_id: None }
        })
    }

    fn status(&self, agent: &AgentId, task: TaskId, seq: u64) -> TaskStatus {
        let mut status = TaskStatus::new(task, TaskState::TaskRunning);
        status.agent_id = Some(agent.clone());
        status.update_seq = Some(seq);
        status
    }

    fn update(&self, agent: &AgentId, task: TaskId, seq: u64) -> AgentCall {
        let (framework_id, status) = (id_of(&self.load.framework), self.status(agent, task, seq));
        let mut update = StatusUpdate { framework_id, status, ..StatusUpdate::default() };
        update.set_latest_state(TaskState::TaskRunning);
        call(agent_call::Call::Update(update))
    }

    async fn go_on(&self, mut link: AgentLink, id: &AgentId, mut begins: watch::Receiver<bool>) -> Result<(), Failure> {
        let mut epoch = 0;
        loop {
            let mut answers = Vec::new();
            tokio::select! {
                batch = link.inbox.recv() => {
                    let Some(batch) = batch else { return Ok(()) };
                    epoch = batch.epoch;
                    for event in batch.items.into_iter().filter_map(|event| event.event) {
                        self.answer(id, event, &mut answers);
                    }
                }
                Ok(()) = begins.changed() => {
                    answers.extend(self.tasks(id).map(|record| self.update(id, record.task.id, 1)));
                }
            }
            if !answers.is_empty() {
                link.out.send(Batch { epoch, items: answers }).await?;
            }
        }
    }

    fn answer(&self, agent: &AgentId, event: agent_event::Event, answers: &mut Vec<AgentCall>) {
        match event {
            agent_event::Event::UpdateAcknowledge(UpdateAcknowledge { task_id, update_seq, .. })
                if update_seq < self.load.updates_each =>
            {
                answers.push(self.update(agent, task_id, update_seq + 1));
            }
            agent_event::Event::Ping(_) => answers.push(call(agent_call::Call::Pong(Pong {}))),
            _ => {}
        }
    }
}

fn call(call: agent_call::Call) -> AgentCall {
    AgentCall { call: Some(call) }
}
