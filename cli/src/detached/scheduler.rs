//! The scheduler's process of a framework that was handed to the cluster: nobody is in front, so all that it has for a terminal goes
//! into its journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use mesos_host::framework::shell::{Front, RunningFramework};
use mesos_host::loader::{self, PluginFile};
use mesos_host::protocol::client::{ClientError, Credentials, MasterClient};
use mesos_host::protocol::{GetScheduler, SchedulerStart, TeardownCall, operator_call, operator_reply};
use mesos_plugin_api::framework::{Event, Follow};
use mesos_plugin_api::v1::{FrameworkId, PluginRef};
use mesos_plugin_api::{Calls, Framework, Injector, Time};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::journal::{Call, Writer};
use crate::context::{Context, user_name};
use crate::foreground::{Followers, Screen};
use crate::output;
use crate::plugin::host::maker;
use crate::run::{Job, RunFramework};
use crate::sandbox::Sandboxes;
use crate::settings::MASTER;
use crate::{cluster, values};

/// The plugin, in the sandbox.
const PLUGIN: &str = "plugin.so";
/// Proves to the master that it has started us.
const TICKET: &str = "MESOS_TICKET";
/// Between two tries to reach a master.
const RETRY: Duration = Duration::from_millis(500);
/// Told to end, a scheduler that is ending itself may go on for so long.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Runs the scheduler of this framework until it has ended.
///
/// # Errors
/// It can't be started; another is started if that may help.
pub fn run(context: &Context, framework: &str) -> Result<i32> {
    let place = context.find(&MASTER).context("MESOS_MASTER names no master: this verb is for agents")?;
    let place = crate::settings::read(&place, values::master)?;
    let credentials = Credentials { principal: user_name(), token: std::env::var(TICKET).ok() };
    let runtime = context.runtime()?;
    let (client, start) = runtime.block_on(async {
        // A detector of masters wants a runtime.
        let client = MasterClient::Remote(cluster::remote_as(context, &place, credentials)?);
        let start = begin(&client, framework).await?;
        Ok::<_, anyhow::Error>((client, start))
    })?;
    let half = Half::of(&start)?;
    let done = runtime.block_on(attend(client, start, half));
    // A plugin's thread may still be about something.
    runtime.shutdown_background();
    done
}

/// Asks the master what to run, as long as none answers.
async fn begin(client: &MasterClient, framework: &str) -> Result<SchedulerStart> {
    let call = operator_call::Call::GetScheduler(GetScheduler { framework: framework.to_string() });
    loop {
        match client.ask(call.clone()).await {
            Ok(replies) => {
                let start = replies.into_iter().find_map(|reply| match reply {
                    operator_reply::Reply::SchedulerStart(start) => Some(start),
                    _ => None,
                });
                return start.context("the master didn't say what to run");
            }
            Err(error @ (ClientError::Refused(_) | ClientError::NotThere(_))) => return Err(error.into()),
            Err(error) => tracing::debug!(%error, "asking the master again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// What is to be made, when the runner is ready for it.
enum Half {
    Plugin(Box<loader::LoadedPlugin>, PluginRef),
    Run(Box<Job>),
}

impl Half {
    fn of(start: &SchedulerStart) -> Result<Self> {
        let Some(reference) = start.framework.plugin.clone() else {
            return Ok(Self::Run(Box::new(Job::from_bytes(&start.config).map_err(anyhow::Error::msg)?)));
        };
        let path = std::env::current_dir().context("the sandbox is gone")?.join(PLUGIN);
        let named = || format!("the plugin {} {}", reference.name, reference.version);
        let file = PluginFile::read(&path).map_err(|problem| anyhow!("{}: {problem}", named()))?;
        Ok(Self::Plugin(Box::new(loader::load(&file).with_context(named)?), reference))
    }

    fn make(self, config: Vec<u8>, state: Standing) -> impl FnOnce(Injector) -> Result<Box<dyn Framework>, String> {
        move |injector| {
            let half: Box<dyn Framework> = match self {
                Self::Plugin(plugin, _) => maker(&plugin, config)(injector)?,
                Self::Run(job) => Box::new(RunFramework::lasting(*job)),
            };
            Ok(Box::new(Watched { half, state }))
        }
    }
}

/// Whether a half has begun, and whether it was ended by the master.
#[derive(Debug, Clone, Default)]
struct Standing {
    started: Arc<AtomicBool>,
    refused: Arc<AtomicBool>,
}

/// A half, and what must be known of it when it has ended.
struct Watched {
    half: Box<dyn Framework>,
    state: Standing,
}

impl Framework for Watched {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut Calls) {
        match &event {
            Event::Started(_) => self.state.started.store(true, Ordering::Relaxed),
            Event::Error(error) if error.fatal == Some(true) => self.state.refused.store(true, Ordering::Relaxed),
            _ => {}
        }
        self.half.on_event(now, event, calls);
    }
}

async fn attend(client: MasterClient, start: SchedulerStart, half: Half) -> Result<i32> {
    let id = start.framework.id.clone().context("the master didn't say which framework it is")?;
    let plugin = if let Half::Plugin(_, reference) = &half { Some(reference.clone()) } else { None };
    let standing = Standing::default();
    let make = half.make(start.config, standing.clone());
    let running = RunningFramework::start(client.clone(), start.framework, plugin, Some(start.secret), make).await?;
    let mut told_to_end = signal(SignalKind::terminate()).context("signals can't be caught")?;
    // Other signals are for whoever is in front.
    let _ignored = [SignalKind::hangup(), SignalKind::interrupt()].map(signal);
    let mut keeper = Keeper::new(&client, &id)?;
    let ended = tokio::select! {
        ended = keeper.take(running.front) => ended?,
        () = async { told_to_end.recv().await; tokio::time::sleep(LAST_WORDS).await } => return Ok(143),
    };
    if !standing.started.load(Ordering::Relaxed) || standing.refused.load(Ordering::Relaxed) {
        bail!("{}", ended.1.unwrap_or_else(|| "the master refused the scheduler".to_string()));
    }
    keeper.end().await;
    let (exit_code, message) = ended;
    let call = TeardownCall { framework: id.to_string(), exit_code: Some(exit_code), message };
    tokio::select! {
        () = make_known(&client, call) => Ok(0),
        _ = told_to_end.recv() => Ok(143),
    }
}

/// The runner has said it, if its connection stood: then the framework is gone, or going.
async fn make_known(client: &MasterClient, call: TeardownCall) {
    loop {
        match client.ask(operator_call::Call::Teardown(call.clone())).await {
            Ok(_) | Err(ClientError::Refused(_) | ClientError::NotThere(_)) => return,
            Err(error) => tracing::debug!(%error, "asking the master again"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Puts what comes where it belongs: into the journal, or into files of this machine.
struct Keeper {
    journal: Writer,
    to_files: Followers,
}

impl Keeper {
    fn new(client: &MasterClient, id: &FrameworkId) -> Result<Self> {
        let sandboxes = Arc::new(Sandboxes::new(client.clone()));
        Ok(Self { journal: Writer::create()?, to_files: Followers::new(sandboxes, Screen::start(true), id.clone()) })
    }

    async fn take(&mut self, mut front: mpsc::Receiver<Front>) -> Result<(i32, Option<String>)> {
        loop {
            match front.recv().await {
                Some(Front::Output(output)) => self.journal.add(Call::Output(output))?,
                Some(Front::Progress(progress)) => self.journal.add(Call::Progress(progress))?,
                Some(Front::Follow(follow)) => self.follow(follow)?,
                Some(Front::MasterLost(Some(problem))) => output::remark(problem),
                Some(Front::MasterLost(None)) => output::remark("the master is back"),
                Some(Front::Registered { .. } | Front::PauseStdin(_)) => {}
                Some(Front::Ended { exit_code, message }) => return Ok((exit_code, message)),
                None => bail!("the framework's runner ended without a word; please report this"),
            }
        }
    }

    fn follow(&mut self, follow: Follow) -> Result<()> {
        let Follow { task_id, files, agent_id } = follow;
        let (to_files, shown): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.to_file.is_some());
        if !to_files.is_empty() {
            self.to_files.follow(Follow { task_id: task_id.clone(), files: to_files, agent_id: agent_id.clone() });
        }
        if shown.is_empty() {
            return Ok(());
        }
        self.journal.add(Call::Follow(Follow { task_id, files: shown, agent_id }))
    }

    async fn end(self) {
        self.to_files.end().await;
    }
}
