//! The I/O around the runner's core: one task owns it, keeps a stream to a master open and serves the command in front.

use std::pin::Pin;
use std::time::Duration;

use mesos_plugin_api::framework::{Event as HalfEvent, Follow, Output, Progress};
use mesos_plugin_api::v1::framework::Injected;
use mesos_plugin_api::v1::{FrameworkId, FrameworkInfo, PluginRef, scheduler};
use mesos_plugin_api::{Framework, Injector};
use tokio::sync::mpsc;

use super::{Effect, Event, Runner};
use crate::protocol::client::{ClientError, MasterClient};
use crate::protocol::link::{Batch, Link};
use crate::time::Clock;

/// Events from plugin threads and the terminal that may wait.
const EVENTS_MAX: usize = 1024;
/// Words for the command in front that may wait before the framework has to.
const FRONT_MAX: usize = 1024;
/// Between tries to reach a master.
const RETRY: Duration = Duration::from_millis(250);
/// How long a teardown may take before the command ends without it; the master goes on with it.
const TEARDOWN_MAX: Duration = Duration::from_secs(15);

/// For the command in front.
#[derive(Debug)]
pub enum Front {
    /// A master knows the framework.
    Registered {
        /// Under this id.
        framework_id: FrameworkId,
        /// And by this secret, which is for whoever starts its scheduler again.
        secret: String,
    },
    /// Bytes for the terminal.
    Output(Output),
    /// Files to show.
    Follow(Follow),
    /// A bar.
    Progress(Progress),
    /// Hold standard input back, or let it come.
    PauseStdin(bool),
    /// Said once when the master is lost, and `None` when it is back.
    MasterLost(Option<String>),
    /// The last word.
    Ended {
        /// The command's exit code.
        exit_code: i32,
        /// For standard error.
        message: Option<String>,
    },
}

/// A framework that runs in this process.
#[derive(Debug)]
pub struct RunningFramework {
    /// What it has for the command in front; ends with [`Front::Ended`].
    pub front: mpsc::Receiver<Front>,
    events: mpsc::Sender<HalfEvent>,
}

impl RunningFramework {
    /// Starts a framework: `make` is given the injector for the plugin's threads. With an id in `info` and the secret that belongs
    /// to it this is the next scheduler of a framework that exists.
    ///
    /// # Errors
    /// The half can't be made, or no master answers.
    pub async fn start(
        client: MasterClient,
        info: FrameworkInfo,
        plugin: Option<PluginRef>,
        secret: Option<String>,
        make: impl FnOnce(Injector) -> Result<Box<dyn Framework>, String>,
    ) -> Result<Self, ClientError> {
        let (events, events_in) = mpsc::channel(EVENTS_MAX);
        let (injected, injected_in) = mpsc::unbounded_channel();
        // Unbounded here because an injecting thread may not block; the plugin bounds what it lets in.
        let injector = Injector::new(move |data| {
            // A framework that has ended drops it.
            let _ = injected.send(data);
        });
        let half = make(injector).map_err(ClientError::Refused)?;
        let link = client.first_scheduler_link().await?;
        let (front_out, front) = mpsc::channel(FRONT_MAX);
        let runner = Runner::new(half, info, plugin, secret);
        let inputs = Inputs { events: events_in, injected: injected_in };
        tokio::spawn(run(runner, client, link, inputs, front_out));
        Ok(Self { front, events })
    }

    /// For signals and standard input.
    pub fn events(&self) -> mpsc::Sender<HalfEvent> {
        self.events.clone()
    }
}

struct Inputs {
    events: mpsc::Receiver<HalfEvent>,
    injected: mpsc::UnboundedReceiver<Vec<u8>>,
}

type SchedulerLink = Link<scheduler::Call, scheduler::Event>;

async fn run(
    mut runner: Runner,
    client: MasterClient,
    link: SchedulerLink,
    mut inputs: Inputs,
    front: mpsc::Sender<Front>,
) {
    let clock = Clock::default();
    let mut link = Some(link);
    let mut reconnecting = None;
    let mut effects = Vec::new();
    runner.handle(clock.now(), Event::Connected, &mut effects);
    loop {
        if let Some(ended) = carry_out(&mut runner, &clock, &mut link, &front, &mut effects).await {
            await_teardown(link).await;
            // The command may be gone already.
            let _ = front.send(ended).await;
            return;
        }
        if link.is_none() && reconnecting.is_none() {
            reconnecting = Some(Box::pin(reconnect(client.clone())));
        }
        let deadline = runner.deadline();
        tokio::select! {
            batch = receive(&mut link) => match batch {
                Some(Batch { epoch, items }) => {
                    runner.handle(clock.now(), Event::EpochHeard(epoch), &mut effects);
                    for event in items {
                        runner.handle(clock.now(), Event::Master(event), &mut effects);
                    }
                }
                None => {
                    link = None;
                    let message = format!("the connection to the master at {} is lost", client.place());
                    runner.handle(clock.now(), Event::Disconnected(message.clone()), &mut effects);
                    let _ = front.send(Front::MasterLost(Some(message))).await;
                }
            },
            reconnected = reconnected(&mut reconnecting) => {
                (link, reconnecting) = (Some(reconnected), None);
                runner.handle(clock.now(), Event::Connected, &mut effects);
                let _ = front.send(Front::MasterLost(None)).await;
            }
            Some(event) = inputs.events.recv() => runner.handle(clock.now(), Event::ForHalf(event), &mut effects),
            Some(data) = inputs.injected.recv() => {
                let event = HalfEvent::Injected(Injected { data });
                runner.handle(clock.now(), Event::ForHalf(event), &mut effects);
            }
            () = clock.sleep_until(deadline) => runner.handle(clock.now(), Event::DeadlinePassed, &mut effects),
        }
    }
}

async fn receive(link: &mut Option<SchedulerLink>) -> Option<Batch<scheduler::Event>> {
    match link {
        Some(link) => link.inbox.recv().await,
        None => std::future::pending().await,
    }
}

/// Goes on where it was when something else happened meanwhile; never returns while there is a link.
async fn reconnected(reconnecting: &mut Option<Pin<Box<impl Future<Output = SchedulerLink>>>>) -> SchedulerLink {
    match reconnecting {
        Some(reconnecting) => reconnecting.await,
        None => std::future::pending().await,
    }
}

async fn reconnect(client: MasterClient) -> SchedulerLink {
    loop {
        tokio::time::sleep(RETRY).await;
        if let Ok(link) = client.scheduler_link().await {
            return link;
        }
    }
}

/// Until nothing more follows from what was carried out; gives the last word if there is one.
async fn carry_out(
    runner: &mut Runner,
    clock: &Clock,
    link: &mut Option<SchedulerLink>,
    front: &mpsc::Sender<Front>,
    effects: &mut Vec<Effect>,
) -> Option<Front> {
    let mut ended = None;
    while !effects.is_empty() {
        ended = carry_out_once(runner, clock, link, front, effects).await.or(ended);
    }
    ended
}

/// Sends calls in one batch. That it can't be sent is an event, with effects of its own.
async fn carry_out_once(
    runner: &mut Runner,
    clock: &Clock,
    link: &mut Option<SchedulerLink>,
    front: &mpsc::Sender<Front>,
    effects: &mut Vec<Effect>,
) -> Option<Front> {
    let mut calls = Vec::new();
    let (mut ended, mut leaves) = (None, false);
    for effect in effects.drain(..) {
        let word = match effect {
            Effect::Call(call) => {
                calls.push(scheduler::Call { call: Some(call) });
                continue;
            }
            Effect::Disconnect => {
                leaves = true;
                continue;
            }
            Effect::Registered { framework_id, secret } => Front::Registered { framework_id, secret },
            Effect::Output(output) => Front::Output(output),
            Effect::Follow(follow) => Front::Follow(follow),
            Effect::Progress(progress) => Front::Progress(progress),
            Effect::PauseStdin(paused) => Front::PauseStdin(paused),
            Effect::Ended { exit_code, message } => {
                ended = Some(Front::Ended { exit_code, message });
                continue;
            }
        };
        // Without a command in front nobody wants to see it.
        let _ = front.send(word).await;
    }
    let batch = Batch { epoch: runner.epoch(), items: calls };
    if let Some(open) = link.as_ref().filter(|_| leaves || !batch.items.is_empty())
        && (leaves || open.out.send(batch).await.is_err())
    {
        *link = None;
        runner.handle(clock.now(), Event::Disconnected("the connection to the master broke".into()), effects);
    }
    ended
}

/// The master closes the stream when all of the framework's tasks have ended.
async fn await_teardown(link: Option<SchedulerLink>) {
    if let Some(mut link) = link {
        let closed = async { while link.inbox.recv().await.is_some() {} };
        if tokio::time::timeout(TEARDOWN_MAX, closed).await.is_err() {
            tracing::warn!("tasks of the framework take long to end; the master goes on without this command");
        }
    }
}
