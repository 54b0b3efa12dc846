//! How soon a new master knows its cluster again, and what it costs it: `failover AGENTS TASKS_EACH ROUNDS UPDATES_EACH`.
//!
//! ```text
//! this process: simulated agents, a connection each ──▶ a master, a process of its own that is killed between rounds
//!               one raw scheduler ─────────────────────▶ (`failover --master FOLDER`)
//! ```
//! Before the first round a new cluster admits its agents, which have no tasks yet. In each round a new master leads from the same
//! folder; its agents and the scheduler come at once, each agent with its tasks. At last all agents report `UPDATES_EACH` updates of
//! each task, a batch an agent, the next when these are acknowledged. Prints a line for each figure: seconds until all were admitted,
//! seconds until all were back with their tasks, kilobytes that an agent and that a task added to the master's heap and to what
//! it has of the machine's memory, and updates a second.

mod agents;
mod leader;
mod scheduler;

use std::path::Path;
use std::sync::Arc;

use mesos_host::protocol::client::{Credentials, MasterClient};
use mesos_host::protocol::{GetCluster, operator_call, operator_reply};
use mesos_plugin_api::v1::{FrameworkId, Resources};

use agents::{Crowd, Load, TASK_CPUS};
use leader::Leader;
use scheduler::Scheduler;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    leader::raise_file_limit();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--master", folder] => runtime.block_on(leader::lead(Path::new(folder))),
        [agents, tasks, rounds, updates] => match [agents, tasks, rounds, updates].map(str::parse) {
            [Ok(agents), Ok(tasks_each), Ok(rounds), Ok(updates_each)] => {
                runtime.block_on(measure(Size { agents, tasks_each, rounds, updates_each: updates_each.into() }))
            }
            _ => Err("four numbers are wanted".into()),
        },
        _ => Err("usage: failover AGENTS TASKS_EACH ROUNDS UPDATES_EACH".into()),
    };
    if let Err(error) = done {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

/// What is simulated.
#[derive(Clone, Copy)]
struct Size {
    agents: u32,
    tasks_each: u32,
    rounds: u32,
    updates_each: u64,
}

impl Size {
    fn tasks(self) -> u32 {
        self.agents * self.tasks_each
    }
}

async fn measure(size: Size) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("failover-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let measured = rounds(size, &folder).await;
    std::fs::remove_dir_all(folder)?;
    measured
}

async fn rounds(size: Size, folder: &Path) -> Result<(), Failure> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())?.map_or_else(|| "nobody".into(), |user| user.name);
    let credentials = Credentials { principal: user.clone(), token: None };
    let mut ids = vec![None; size.agents as usize];
    let [mut back, mut task_heap, mut task_resident, mut rates] = [const { Vec::new() }; 4];

    // A new cluster, to know what agents cost without tasks.
    let mut master = Leader::start(folder)?;
    let mut scheduler = Scheduler::new(&user);
    scheduler.subscribe(master.client(&credentials).await?).await?;
    let empty = master.memory()?;
    let none = Arc::new(Load { framework: scheduler.info.clone(), tasks_each: 0, updates_each: 0 });
    let crowd = Crowd::connect(master.address(), &credentials, &mut ids, &none).await?;
    let of_agents = master.memory()?;
    println!("admitted {:.3}", crowd.seconds);
    println!("agent_heap_kb {:.2}", (of_agents.heap - empty.heap) / f64::from(size.agents));
    println!("agent_resident_kb {:.2}", (of_agents.resident - empty.resident) / f64::from(size.agents));
    drop((crowd, master));

    let Size { tasks_each, updates_each, .. } = size;
    let load = Arc::new(Load { framework: scheduler.info.clone(), tasks_each, updates_each });
    for _ in 0..size.rounds {
        let mut master = Leader::start(folder)?;
        let client = master.client(&credentials).await?;
        let coming = Crowd::connect(master.address(), &credentials, &mut ids, &load);
        let (crowd, subscribed) = tokio::join!(coming, scheduler.subscribe(client.clone()));
        let (crowd, ()) = (crowd?, subscribed?);
        let with_tasks = master.memory()?;
        task_heap.push((with_tasks.heap - of_agents.heap) / f64::from(size.tasks()));
        task_resident.push((with_tasks.resident - of_agents.resident) / f64::from(size.tasks()));
        expect_tasks(&client, size).await?;
        back.push(crowd.seconds);
        if updates_each > 0 {
            rates.push(scheduler.take_updates(u64::from(size.tasks()) * updates_each, || crowd.begin()).await?);
        }
        drop((crowd, master));
    }
    println!("retries {}", agents::RETRIES.load(std::sync::atomic::Ordering::Relaxed));
    print("back", &back, 3);
    print("task_heap_kb", &task_heap, 2);
    print("task_resident_kb", &task_resident, 2);
    print("updates", &rates, 0);
    Ok(())
}

/// The master counts each of them.
async fn expect_tasks(client: &MasterClient, size: Size) -> Result<(), Failure> {
    let replies = client.ask(operator_call::Call::GetCluster(GetCluster {})).await?;
    let Some(operator_reply::Reply::Cluster(cluster)) = replies.into_iter().next() else {
        return Err("the master does not describe its cluster".into());
    };
    let known = cluster.used.times(&Resources::new(TASK_CPUS, 0.0));
    match known == size.tasks() {
        true => Ok(()),
        false => Err(format!("the master knows {known} tasks, not {}", size.tasks()).into()),
    }
}

fn print(name: &str, values: &[f64], digits: usize) {
    if !values.is_empty() {
        println!("{name} {}", values.iter().map(|value| format!("{value:.digits$}")).collect::<Vec<_>>().join(" "));
    }
}

/// The framework that all of the tasks belong to, for whoever makes them.
fn id_of(framework: &mesos_plugin_api::v1::FrameworkInfo) -> FrameworkId {
    framework.id.clone().expect("the first master has numbered it")
}
