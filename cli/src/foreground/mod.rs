//! The command in front of a framework: its output, its bars, the terminal's signals and standard input.
//!
//! ```text
//! runner ──Front──▶ run ──┬── Output, bars ──▶ screen (one thread) ──▶ terminal
//!                         └── Follow ──▶ followers ──pieces of files──▶ screen, files
//! runner ◀──events── input ◀── signals, standard input
//! ```
//!
//! It returns when the framework has ended and everything that was followed is written.

mod bar_line;
mod followers;
mod input;
mod screen;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use mesos_host::framework::shell::{Front, RunningFramework};
use mesos_host::protocol::client::MasterClient;
use mesos_host::protocol::{TeardownCall, operator_call};
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::{FrameworkId, FrameworkInfo, PluginRef};
use mesos_plugin_api::{Framework, Injector};
use tokio::sync::{mpsc, watch};

pub use followers::{Follower, Followers, Wanted};
pub use input::Press;
pub use screen::{Screen, Word};

use crate::sandbox::Sandboxes;

/// How long a teardown that was forced may take.
const FORCED_TEARDOWN: Duration = Duration::from_secs(2);

/// The signal that asks for an end.
const SIGTERM: i32 = 15;

/// How a framework is shown.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// No bars.
    pub quiet: bool,
    /// Give standard input to the framework.
    pub stdin: bool,
}

/// How it ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// For our caller.
    pub exit_code: i32,
    /// The framework, if a master got to know it.
    pub framework_id: Option<FrameworkId>,
}

/// Hears under which id and secret a master knows the framework.
pub type Registered<'a> = dyn FnMut(&FrameworkId, &str) -> Result<()> + Send + 'a;

/// Runs a framework in this process and stays in front of it until it has ended.
///
/// # Errors
/// It can't be started.
pub async fn run(
    client: &MasterClient,
    info: FrameworkInfo,
    plugin: Option<PluginRef>,
    make: impl FnOnce(Injector) -> Result<Box<dyn Framework>, String>,
    options: Options,
) -> Result<Ended> {
    let running = RunningFramework::start(client.clone(), info, plugin, None, make).await?;
    stay(client, running, options, &mut |_, _| Ok(())).await
}

/// Stays in front of a framework that was started, until it has ended. `registered` hears whenever a master knows the framework, by
/// which id and secret.
///
/// # Errors
/// `registered` fails.
pub async fn stay(
    client: &MasterClient,
    running: RunningFramework,
    options: Options,
    registered: &mut Registered<'_>,
) -> Result<Ended> {
    let (signals, presses) = input::signals()?;
    let events = running.events();
    let (pause, paused) = watch::channel(false);
    // Input has a task of its own: while the framework is busy it waits there, and output goes on.
    let forward = tokio::spawn(input::forward(signals, options.stdin.then_some(paused), events.clone()));
    let screen = Screen::start(options.quiet);
    let attended = attend(client, running.front, &events, presses, &pause, &screen, registered).await;
    forward.abort();
    screen.end().await;
    attended
}

/// Shows what comes until the last word.
async fn attend(
    client: &MasterClient,
    mut front: mpsc::Receiver<Front>,
    events: &mpsc::Sender<HalfEvent>,
    mut presses: mpsc::Receiver<Press>,
    pause: &watch::Sender<bool>,
    screen: &Screen,
    registered: &mut Registered<'_>,
) -> Result<Ended> {
    let mut framework_id = None;
    let mut followers = None;
    let (exit_code, message) = loop {
        let word = tokio::select! {
            word = front.recv() => word,
            press = presses.recv() => match press {
                Some(Press::Abort(signal)) => {
                    screen.remark("ended by force; what still runs is ended by the master").await;
                    teardown(client, framework_id.as_ref()).await;
                    return Ok(Ended { exit_code: 128 + signal, framework_id });
                }
                // The framework was told.
                _ => continue,
            },
            // Nobody reads on: as with a program here, the work ends.
            () = screen.out_gone() => {
                // A framework that is busy gets a signal when the person in front gives one.
                let _ = events.try_send(signal_event(SIGTERM));
                continue;
            }
        };
        match word {
            Some(Front::Registered { framework_id: id, secret }) => {
                registered(&id, &secret)?;
                framework_id = Some(id);
            }
            Some(Front::Output(output)) => screen.show(Word::Bytes(output.stderr == Some(true), output.data)).await,
            Some(Front::Follow(follow)) => {
                let id = framework_id.as_ref().ok_or_else(|| anyhow!("a framework without an id has no tasks"))?;
                let followers = followers.get_or_insert_with(|| {
                    Followers::new(Arc::new(Sandboxes::new(client.clone())), screen.clone(), id.clone())
                });
                followers.follow(follow);
            }
            Some(Front::Progress(progress)) => screen.show(Word::Progress(progress)).await,
            Some(Front::PauseStdin(paused)) => drop(pause.send(paused)),
            Some(Front::MasterLost(Some(problem))) => {
                screen.remark(&format!("{problem}; what runs goes on, and the master is tried again")).await;
            }
            Some(Front::MasterLost(None)) => screen.remark("the master is back").await,
            Some(Front::Ended { exit_code, message }) => break (exit_code, message),
            None => return Err(anyhow!("the framework's runner ended without a word; please report this")),
        }
    };
    if let Some(followers) = followers {
        // Those were for the framework.
        while presses.try_recv().is_ok() {}
        tokio::select! {
            () = followers.end() => {}
            // Nothing is left to end but our waiting.
            Some(_) = presses.recv() => screen.remark("not all output was shown").await,
        }
    }
    if let Some(message) = message {
        screen.remark(&message).await;
    }
    Ok(Ended { exit_code, framework_id })
}

/// What a person presses while nothing is in front that has to hear of it.
///
/// # Errors
/// A signal can't be caught.
pub fn presses() -> Result<mpsc::Receiver<Press>> {
    Ok(input::signals()?.1)
}

async fn teardown(client: &MasterClient, framework_id: Option<&FrameworkId>) {
    if let Some(id) = framework_id {
        let call = operator_call::Call::Teardown(TeardownCall { framework: id.to_string(), ..Default::default() });
        // Who forces an end doesn't want to wait for a master that may be gone.
        let _ = tokio::time::timeout(FORCED_TEARDOWN, client.ask(call)).await;
    }
}

/// A signal for the framework.
fn signal_event(number: i32) -> HalfEvent {
    HalfEvent::Signal(mesos_plugin_api::v1::framework::Signal { number })
}
