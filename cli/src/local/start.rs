//! `mesos up` and `mesos down`.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use mesos_host::agent::detect;
use mesos_host::protocol::client::{Credentials, MasterClient};
use mesos_host::protocol::{ListAgents, ListFrameworks, TeardownCall, operator_call, operator_reply};
use mesos_plugin_api::framework::Progress;
use mesos_plugin_api::v1::{FrameworkId, Resources};
use tokio::time::Instant;

use super::{Agent, Process, Record, StateFolders, end_all};
use crate::daemon;
use crate::foreground::{Screen, Word};
use crate::output;

/// How long master and agents may take to be there.
const START_MAX: Duration = Duration::from_secs(30);
/// Between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long frameworks may take to be torn down; what is left then ends with the agents.
const FRAMEWORKS_GRACE: Duration = Duration::from_secs(5);
/// How long agents may take to kill their tasks; their launchers have 15 s for it.
const AGENTS_GRACE: Duration = Duration::from_secs(20);
/// How long the master may take.
const MASTER_GRACE: Duration = Duration::from_secs(5);
/// Lines of a log that are shown when its process ends at once.
const LOG_LINES: usize = 5;

/// What is to be started.
pub struct Plan {
    /// How many agents.
    pub agents: u32,
    /// What each has, instead of a share of this machine.
    pub resources: Option<Resources>,
    /// No bar and no hints.
    pub quiet: bool,
    /// For the master: its token, if the user has set one.
    pub credentials: Credentials,
}

/// Starts the local cluster, unless it runs. Returns when all agents are registered; if something goes wrong, nothing is left.
///
/// # Errors
/// A process doesn't start, or another `up` is at it.
pub async fn up(folders: &StateFolders, plan: &Plan) -> Result<()> {
    folders.create()?;
    let _lock = folders.lock()?;
    if let Some(record) = super::running(folders)? {
        return say_what_runs(&record, plan.quiet);
    }
    if let Some(record) = orphaned(folders)? {
        return revive(folders, record, plan).await;
    }
    clear_away(folders)?;
    let started = tokio::select! {
        started = start(folders, plan) => started,
        told = daemon::until_told_to_end() => told.and(Err(anyhow!("interrupted"))),
    };
    match started {
        Ok(address) => {
            if !plan.quiet {
                say_how_to_use(&address, plan);
            }
            Ok(())
        }
        Err(error) => {
            clear_away(folders).with_context(|| format!("{error:#}; and it can't be cleared away"))?;
            Err(error)
        }
    }
}

/// A cluster whose master has died, but not all of its agents.
fn orphaned(folders: &StateFolders) -> Result<Option<Record>> {
    let orphaned =
        |record: &Record| !record.master.address.is_empty() && record.agents.iter().any(|a| a.process.lives());
    Ok(Record::read(folders)?.filter(orphaned))
}

/// Starts the master again where it was: agents and commands find it there, and what runs goes on.
async fn revive(folders: &StateFolders, mut record: Record, plan: &Plan) -> Result<()> {
    let deadline = Instant::now() + START_MAX;
    let address: SocketAddr = record.master.address.parse().context("the record holds no address")?;
    let _ = fs::remove_file(address_file(folders));
    let mut master = spawn_master(folders, address.port())?;
    record.master.process = Process::of_pid(master.id())?;
    record.write(folders)?;
    let up = master_address(folders, &mut master, deadline).await;
    let address =
        up.context("the local cluster has lost its master, and it can't be started again; 'mesos down' ends the rest")?;
    let client = MasterClient::connect(&address, plan.credentials.clone()).await?;
    let living = record.agents.iter().filter(|agent| agent.process.lives()).count();
    while connected(&client).await? < living {
        look_again(deadline, || format!("not all of {living} agents have come back")).await?;
    }
    if !plan.quiet {
        output::remark(format!(
            "the master of the local cluster had died; it is back at {address} with {living} agents, and tasks went on"
        ));
    }
    Ok(())
}

async fn connected(client: &MasterClient) -> Result<usize> {
    let replies = client.ask(operator_call::Call::ListAgents(ListAgents::default())).await?;
    Ok(replies.iter().filter(|reply| matches!(reply, operator_reply::Reply::Agent(agent) if agent.connected)).count())
}

/// Ends the local cluster; whether there was something to end.
///
/// # Errors
/// A process doesn't end, or an `up` is at it.
pub async fn down(folders: &StateFolders, credentials: Credentials) -> Result<bool> {
    if !folders.state.exists() {
        return Ok(false);
    }
    let _lock = folders.lock()?;
    let record = super::running(folders)?;
    if let Some(record) = &record {
        let told = tear_down_all(&record.master.address, credentials);
        if let Ok(Err(error)) = tokio::time::timeout(FRAMEWORKS_GRACE, told).await {
            tracing::info!(%error, "the frameworks can't be told of the end");
        }
    }
    clear_away(folders)?;
    Ok(record.is_some())
}

/// Commands in front of a framework end then, instead of waiting for another master.
async fn tear_down_all(master: &str, credentials: Credentials) -> Result<()> {
    let client = MasterClient::connect(master, credentials).await?;
    loop {
        let replies = client.ask(operator_call::Call::ListFrameworks(ListFrameworks { completed: None })).await?;
        let ids = replies.into_iter().filter_map(|reply| match reply {
            operator_reply::Reply::Framework(state) => state.framework.id,
            _ => None,
        });
        let ids: Vec<FrameworkId> = ids.collect();
        if ids.is_empty() {
            return Ok(());
        }
        for id in ids {
            // One that is ending already is asked again, and refuses: that is fine.
            let _ = client.ask(operator_call::Call::Teardown(TeardownCall { framework: id.to_string() })).await;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Ends whatever of the record lives, and removes it with all sandboxes.
fn clear_away(folders: &StateFolders) -> Result<()> {
    if let Some(record) = Record::read(folders)? {
        end_all(&record.agent_processes(), AGENTS_GRACE)?;
        end_all(&[record.master.process], MASTER_GRACE)?;
    }
    match remove_but_volumes(&folders.work) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            bail!("the folder {} can't be removed: {error}", folders.work.display())
        }
        _ => {}
    }
    Record::remove(folders)
}

/// What the next cluster starts with is what its agents keep for frameworks, if anything.
fn remove_but_volumes(work: &Path) -> std::io::Result<()> {
    let entries = |path: &Path| fs::read_dir(path)?.collect::<std::io::Result<Vec<_>>>();
    let keeps = |path: &Path| fs::read_dir(path.join("volumes")).is_ok_and(|mut volumes| volumes.next().is_some());
    for process in entries(work)? {
        if !keeps(&process.path()) {
            remove(&process)?;
            continue;
        }
        for entry in entries(&process.path())?.iter().filter(|entry| entry.file_name() != "volumes") {
            remove(entry)?;
        }
    }
    // Not while something is kept in it.
    let _ = fs::remove_dir(work);
    Ok(())
}

fn remove(entry: &fs::DirEntry) -> std::io::Result<()> {
    if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }
}

async fn start(folders: &StateFolders, plan: &Plan) -> Result<String> {
    folders.create()?;
    let screen = Screen::start(plan.quiet);
    let deadline = Instant::now() + START_MAX;
    let (mut master, mut record) = start_master(folders)?;
    let address = master_address(folders, &mut master, deadline).await?;
    record.master.address.clone_from(&address);
    record.write(folders)?;
    let mut agents = Vec::new();
    for number in 1..=plan.agents {
        let name = format!("agent-{number}");
        let hostname = format!("{}-{number}", detect::hostname());
        let share = || detect::resources(number as usize - 1, plan.agents as usize);
        let resources = plan.resources.clone().unwrap_or_else(share);
        let child = start_agent(folders, &name, &hostname, &address, &resources)?;
        record.agents.push(Agent { hostname, process: Process::of_pid(child.id())? });
        record.write(folders)?;
        agents.push((name, child));
    }
    let client = MasterClient::connect(&address, plan.credentials.clone()).await?;
    await_agents(folders, &client, &mut agents, &screen, deadline).await?;
    screen.end().await;
    Ok(address)
}

/// On any port, if it is 0.
fn spawn_master(folders: &StateFolders, port: u16) -> Result<Child> {
    let mut command = daemon(folders, "master")?;
    command.args(["--ip", "127.0.0.1", "--port", &port.to_string(), "--work-dir"]).arg(folders.work.join("master"));
    command.arg("--address-file").arg(address_file(folders));
    command.spawn().context("the master can't be started")
}

fn start_master(folders: &StateFolders) -> Result<(Child, Record)> {
    let child = spawn_master(folders, 0)?;
    let record = Record::new(Process::of_pid(child.id())?);
    // At once: whatever happens to us now, 'mesos down' finds it.
    record.write(folders)?;
    Ok((child, record))
}

fn start_agent(
    folders: &StateFolders,
    name: &str,
    hostname: &str,
    master: &str,
    resources: &Resources,
) -> Result<Child> {
    let work = folders.work.join(name);
    let mut command = daemon(folders, name)?;
    command.args([
        "--master",
        master,
        "--ip",
        "127.0.0.1",
        "--port",
        "0",
        "--hostname",
        hostname,
        "--on-agent-loss",
        "kill",
    ]);
    command.args(["--resources", &resources.to_string(), "--work-dir"]).arg(work);
    command.spawn().with_context(|| format!("{name} can't be started"))
}

/// This program again, without our terminal, its words in a log.
fn daemon(folders: &StateFolders, name: &str) -> Result<Command> {
    let log = folders.log(name);
    let problem = || format!("the log {} can't be written", log.display());
    let out = File::create(&log).with_context(problem)?;
    let err = out.try_clone().with_context(problem)?;
    let verb = name.split('-').next().expect("a split has a first part");
    let mut command = Command::new(std::env::current_exe().context("this program can't be found")?);
    command.args([verb, "--background"]).current_dir(&folders.state);
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    Ok(command)
}

fn address_file(folders: &StateFolders) -> std::path::PathBuf {
    folders.work.join("master-address")
}

async fn master_address(folders: &StateFolders, master: &mut Child, deadline: Instant) -> Result<String> {
    let file = address_file(folders);
    loop {
        if let Ok(address) = fs::read_to_string(&file) {
            return Ok(address);
        }
        refuse_ended(folders, "master", master)?;
        look_again(deadline, || "the master doesn't listen".to_string()).await?;
    }
}

async fn await_agents(
    folders: &StateFolders,
    client: &MasterClient,
    agents: &mut [(String, Child)],
    screen: &Screen,
    deadline: Instant,
) -> Result<()> {
    loop {
        let registered = client.ask(operator_call::Call::ListAgents(ListAgents::default())).await?.len();
        if registered >= agents.len() {
            return Ok(());
        }
        screen.show(Word::Progress(registration(registered, agents.len()))).await;
        agents.iter_mut().try_for_each(|(name, child)| refuse_ended(folders, name, child))?;
        look_again(deadline, || format!("only {registered} of {} agents have registered", agents.len())).await?;
    }
}

fn registration(registered: usize, all: usize) -> Progress {
    Progress {
        id: "agents".to_string(),
        message: Some("agents registered".to_string()),
        done: Some(registered as u64),
        total: Some(all as u64),
        end: None,
    }
}

async fn look_again(deadline: Instant, problem: impl Fn() -> String) -> Result<()> {
    if Instant::now() >= deadline {
        bail!("{} after {} s; see the logs", problem(), START_MAX.as_secs());
    }
    tokio::time::sleep(LOOK_AGAIN).await;
    Ok(())
}

/// A process that ended at once says why in its log.
fn refuse_ended(folders: &StateFolders, name: &str, child: &mut Child) -> Result<()> {
    match child.try_wait() {
        Ok(None) => Ok(()),
        Ok(Some(status)) => {
            let log = folders.log(name);
            let (path, lines) = (log.display(), last_lines(&log));
            if lines.is_empty() {
                bail!("{name} ended at once ({status}) and left nothing in its log {path}; is the disk full?");
            }
            bail!("{name} ended at once ({status}); its log {path} ends with:\n{lines}")
        }
        Err(error) => bail!("{name} can't be waited for: {error}"),
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}

/// A cluster that has lost agents is no cluster that runs already.
fn say_what_runs(record: &Record, quiet: bool) -> Result<()> {
    let live = record.agents.iter().filter(|agent| agent.process.lives()).count();
    let address = &record.master.address;
    if live < record.agents.len() {
        let all = some_agents(record.agents.len());
        bail!(
            "the local cluster at {address} has lost agents: {live} are left of {all}; 'mesos down' ends it, for a new one"
        );
    }
    if !quiet {
        output::remark(format!(
            "a local cluster with {} runs already at {address}; 'mesos down' ends it",
            some_agents(live)
        ));
    }
    Ok(())
}

fn say_how_to_use(address: &str, plan: &Plan) {
    let agents = some_agents(plan.agents as usize);
    output::remark(format!(
        "a cluster with {agents} runs at {address}; now try:\n\
         \x20 mesos run -- hostname   runs a command on it\n\
         \x20 mesos agents            shows its agents\n\
         \x20 mesos down              ends it"
    ));
}

fn some_agents(count: usize) -> String {
    if count == 1 { "one agent".to_string() } else { format!("{count} agents") }
}
