//! How many tasks a second go through a master: `control_plane TASKS ROUNDS`.
//!
//! A real master with its shell, and over real streams of loopback 24 agents and a framework. The agents have no processes: each
//! says at once that a task runs, and when that is acknowledged, that it has finished. Prints one line, `tasks` and then a number
//! of tasks a second for each round, from the framework's start to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use mesos_host::framework::shell::{Front, RunningFramework};
use mesos_host::master::MasterConfig;
use mesos_host::master::shell::{Keeps, MasterHandle, MasterOptions};
use mesos_host::protocol::client::{Credentials, MasterClient};
use mesos_host::protocol::link::Batch;
use mesos_host::protocol::{AgentCall, Pong, Register, StatusUpdate, agent_call, agent_event};
use mesos_plugin_api::framework::Event;
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, CommandInfo, FrameworkId, FrameworkInfo, Offer, Resources, TaskId, TaskInfo, TaskState,
    TaskStatus,
};
use mesos_plugin_api::{Calls, Framework, Time};

const AGENTS: usize = 24;
/// What an agent has; so 640 tasks of 0.1 run on each at once.
const AGENT_RESOURCES: &str = "cpus:64;mem:65536";

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() {
    let numbers: Vec<u32> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let [tasks, rounds] = numbers[..] else {
        eprintln!("usage: control_plane TASKS ROUNDS");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Err(error) = runtime.block_on(run(tasks, rounds)) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

async fn run(tasks: u32, rounds: u32) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("control-plane-{}", std::process::id()));
    let listen = Some("127.0.0.1:0".parse()?);
    let config = MasterConfig { master_id: "bench".into(), ..MasterConfig::default() };
    let master = MasterHandle::start(MasterOptions {
        config,
        work_dir: folder.clone(),
        keeps: Keeps::WorkDir,
        listen,
        token: None,
    })
    .await?;
    let address = master.address().expect("it listens").to_string();
    let measured = measure(&address, tasks, rounds).await;
    drop(master);
    std::fs::remove_dir_all(folder)?;
    println!("tasks {}", measured?.iter().map(|rate| format!("{rate:.0}")).collect::<Vec<_>>().join(" "));
    Ok(())
}

async fn measure(address: &str, tasks: u32, rounds: u32) -> Result<Vec<f64>, Failure> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())?.map_or_else(|| "nobody".into(), |user| user.name);
    let credentials = Credentials { principal: user.clone(), token: None };
    let registered = Arc::new(AtomicU32::new(0));
    for number in 0..AGENTS {
        let client = MasterClient::connect(address, credentials.clone()).await?;
        tokio::spawn(agent(client, number, registered.clone()));
    }
    while registered.load(Ordering::Acquire) < AGENTS as u32 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let mut rates = Vec::new();
    for round in 0..rounds {
        let client = MasterClient::connect(address, credentials.clone()).await?;
        let started = Instant::now();
        framework(client, &user, round, tasks).await?;
        rates.push(f64::from(tasks) / started.elapsed().as_secs_f64());
    }
    Ok(rates)
}

/// An agent that answers at once.
async fn agent(client: MasterClient, number: usize, registered: Arc<AtomicU32>) -> Result<(), Failure> {
    let mut link = client.agent_link().await?;
    let agent = AgentInfo {
        hostname: format!("simulated-{number}"),
        address: "127.0.0.1".into(),
        port: 1,
        resources: AGENT_RESOURCES.parse()?,
        attributes: Vec::new(),
        id: None,
    };
    let register =
        Register { agent, version: env!("CARGO_PKG_VERSION").into(), secret: vec![0; 32], ..Register::default() };
    link.out.send(Batch { epoch: 0, items: vec![call(agent_call::Call::Register(register))] }).await?;
    let mut id = AgentId::default();
    while let Some(batch) = link.inbox.recv().await {
        let epoch = batch.epoch;
        let mut answers = Vec::with_capacity(batch.items.len());
        for event in batch.items.into_iter().filter_map(|event| event.event) {
            match event {
                agent_event::Event::Registered(this) => {
                    id = this.agent_id;
                    registered.fetch_add(1, Ordering::Release);
                }
                event => answer(&id, event, &mut answers),
            }
        }
        if !answers.is_empty() {
            link.out.send(Batch { epoch, items: answers }).await?;
        }
    }
    Ok(())
}

fn answer(agent: &AgentId, event: agent_event::Event, answers: &mut Vec<AgentCall>) {
    match event {
        agent_event::Event::RunTasks(run) => {
            let framework = run.framework.id.expect("the master has numbered it");
            answers.extend(run.tasks.into_iter().map(|task| update(&framework, agent, task.id, 1)));
        }
        agent_event::Event::UpdateAcknowledge(known) if known.update_seq == 1 => {
            answers.push(update(&known.framework_id, agent, known.task_id, 2));
        }
        agent_event::Event::Ping(_) => answers.push(call(agent_call::Call::Pong(Pong {}))),
        _ => {}
    }
}

/// The first says that it runs, the second that it has finished.
fn update(framework: &FrameworkId, agent: &AgentId, task: TaskId, seq: u64) -> AgentCall {
    let state = if seq == 1 { TaskState::TaskRunning } else { TaskState::TaskFinished };
    let mut status = TaskStatus::new(task, state);
    status.agent_id = Some(agent.clone());
    status.update_seq = Some(seq);
    let mut update = StatusUpdate { framework_id: framework.clone(), status, ..StatusUpdate::default() };
    // It has come to its end already: its resources are free.
    update.set_latest_state(TaskState::TaskFinished);
    call(agent_call::Call::Update(update))
}

fn call(call: agent_call::Call) -> AgentCall {
    AgentCall { call: Some(call) }
}

/// Fills every offer with tasks until all have finished.
struct Flood {
    launched: u32,
    finished: u32,
    tasks: u32,
}

impl Flood {
    fn offered(&mut self, offers: Vec<Offer>, calls: &mut Calls) {
        let each = Resources::new(0.1, 1.0);
        for offer in offers {
            let mut tasks = Vec::new();
            for part in &offer.parts {
                let fit = u32::try_from(part.resources.times(&each)).unwrap_or(u32::MAX);
                let numbers = self.launched..self.tasks.min(self.launched.saturating_add(fit));
                self.launched = numbers.end;
                tasks.extend(numbers.map(|number| {
                    let command = CommandInfo::argv(["/bin/true"]);
                    TaskInfo::command(format!("flood.{number}"), part.agent_id.clone(), each.clone(), command)
                }));
            }
            calls.accept([offer.id], tasks);
        }
        if self.launched == self.tasks {
            calls.suppress();
        }
    }
}

impl Framework for Flood {
    fn on_event(&mut self, _now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Offers(offers) => self.offered(offers.offers, calls),
            Event::Update(update) if update.status.state().is_terminal() => {
                self.finished += 1;
                if self.finished == self.tasks {
                    calls.finish(0, None);
                }
            }
            _ => {}
        }
    }
}

async fn framework(client: MasterClient, user: &str, round: u32, tasks: u32) -> Result<(), Failure> {
    let info = FrameworkInfo {
        name: format!("flood-{round}"),
        user: user.into(),
        role: "default".into(),
        ..FrameworkInfo::default()
    };
    let flood = Flood { launched: 0, finished: 0, tasks };
    let mut framework = RunningFramework::start(client, info, None, None, |_| Ok(Box::new(flood))).await?;
    while let Some(word) = framework.front.recv().await {
        if let Front::Ended { exit_code: 1.., message } = word {
            return Err(message.unwrap_or_default().into());
        }
    }
    Ok(())
}
