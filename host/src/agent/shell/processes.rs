//! What the shell knows of each process: how it is prepared, launched, signalled, and over.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mesos_plugin_api::v1::exit_status::How;
use mesos_plugin_api::v1::{ExitStatus, FrameworkId, Reason, TaskId};
use tokio::task::AbortHandle;

use super::Shell;
use super::fetcher::Fetcher;
use super::launches::{ExecutorPlace, Launching, OUTPUTS};
use super::recovery::container_name;
use super::sandboxes::{self, Key, Owner, Place};
use super::users::Account;
use super::work_dir::WorkDir;
use crate::agent::event::{Event, Found, Launch, LocalId, Refusal, TaskLaunch};
use crate::launcher::{self, LaunchFailed, Request, Scope};
use crate::protocol::ProcessKept;

/// Bytes of an executor's standard error that are looked at for its last line.
const LAST_LINE_MAX: u64 = 1000;

/// A task or an executor.
pub(super) struct Process {
    kind: Kind,
    sandbox: PathBuf,
    preparing: Option<AbortHandle>,
    /// Ended without a trace: the sandbox is as it was made.
    is_untouched: bool,
    /// Of a container that runs.
    pub main: Option<ProcessKept>,
}

enum Kind {
    Own(Arc<Place>),
    /// A task within an executor.
    Shared {
        framework_id: FrameworkId,
        task_id: TaskId,
    },
}

impl Process {
    /// Whether the launcher may have it.
    pub(super) fn has_container(&self) -> bool {
        matches!(self.kind, Kind::Own(_))
    }

    pub(super) fn abandon(&self) {
        if let Some(preparing) = &self.preparing {
            preparing.abort();
        }
    }
}

impl Shell {
    // ── before the launch ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Prepares what waits for it, as long as the launcher keeps up: a sandbox that isn't made yet may be a silent task's.
    pub(super) fn prepare_waiting(&mut self) {
        while self.launching.len() < self.launching_max
            && let Some((id, launch)) = self.waiting.pop_first()
        {
            let prepared = self.prepare(id, launch);
            self.handle(prepared);
        }
    }

    /// At once where there is nothing to fetch: a folder is made faster than a thread is woken.
    fn prepare(&mut self, id: LocalId, launch: Launch) -> Option<Event> {
        let place = match self.make_sandbox(launch) {
            Ok(place) => Arc::new(place),
            Err(refusal) => return Some(Event::Prepared { id, outcome: Err(refusal) }),
        };
        let sandbox = place.launch.sandbox().clone();
        if let Launch::Task(task) = &place.launch {
            self.sandboxes.add(key(task), &sandbox, Some(place.clone()));
        }
        let work = Work::of(&place, &self.fetcher, &self.work_dir);
        let mut process = Process { kind: Kind::Own(place), sandbox, preparing: None, is_untouched: false, main: None };
        let answer = match work {
            None => Some(Event::Prepared { id, outcome: Ok(()) }),
            Some(work) => {
                let events = self.events.clone();
                let task = tokio::spawn(async move {
                    let outcome = work.run().await;
                    let _ = events.send(Event::Prepared { id, outcome }).await;
                });
                process.preparing = Some(task.abort_handle());
                None
            }
        };
        self.processes.insert(id, process);
        answer
    }

    fn make_sandbox(&mut self, launch: Launch) -> Result<Place, Refusal> {
        let user = launch.command().and_then(|command| command.user.as_deref()).unwrap_or(&launch.framework().user);
        let account = self.users.account(user);
        let account = account.map_err(|message| Refusal { reason: Reason::CommandNotLaunched, message })?;
        let spare = match &launch {
            Launch::Task(task) => {
                if self.sandboxes.was_silent(&key(task)) {
                    self.attic.keep_silent(&key(task));
                }
                self.attic.take_spare(&Owner::of(launch.sandbox(), &account.user))
            }
            Launch::Executor(_) => None,
        };
        if sandboxes::make(launch.sandbox(), spare.as_deref(), &account.user)? {
            self.attic.keep(launch.sandbox());
        }
        Ok(Place { launch, account })
    }

    /// Who lives in the sandbox that was made for a task or an executor.
    pub(super) fn account_of(&self, id: LocalId) -> Option<&Account> {
        match &self.processes.get(&id)?.kind {
            Kind::Own(place) => Some(&place.account),
            Kind::Shared { .. } => None,
        }
    }

    pub(super) fn abandon(&mut self, id: LocalId) {
        if let Some(process) = self.processes.get(&id) {
            process.abandon();
        }
    }

    pub(super) fn share_sandbox(&mut self, id: LocalId, framework: FrameworkId, task: TaskId, executor: LocalId) {
        let own = self.work_dir.path.join("sandboxes").join(framework.as_str()).join(task.as_str());
        let shared = self.core.sandbox_of(executor).unwrap_or_default();
        if let Err(error) = sandboxes::share(&own, &shared) {
            tracing::warn!("output of task {task} won't be found after its end: {error}");
        }
        self.sandboxes.add((framework.clone(), task.clone()), &shared, None);
        let kind = Kind::Shared { framework_id: framework, task_id: task };
        self.processes.insert(id, Process { kind, sandbox: own, preparing: None, is_untouched: false, main: None });
    }

    // ── launch to end ──────────────────────────────────────────────────────────────────────────────────────────────────

    pub(super) fn launch(&mut self, id: LocalId) {
        let container = self.container(id);
        let Some(Process { kind: Kind::Own(place), .. }) = self.processes.get(&id) else { return };
        let executor = place.launch.plugin().map(|plugin| ExecutorPlace {
            socket: self.work_dir.executor_socket(),
            token: self.executors.expect(id, &container),
            output_bytes_max: self.config.bounds.output_bytes_max,
            plugin: plugin_path(&self.work_dir.plugins(), &plugin.sha256),
        });
        let launching = Launching { place, container, program: &self.program, executor };
        self.requests.push(Request::Launch(Box::new(launching.spec())));
        let sandbox = place.launch.sandbox();
        self.outputs.started(id.0, OUTPUTS.map(|name| sandbox.join(name)).into());
        self.launching.insert(id);
    }

    pub(super) fn signal(&mut self, id: LocalId, signal: i32) {
        let container = self.container(id);
        self.requests.push(Request::Signal { container, signal, scope: Scope::WholeContainer });
    }

    /// Its output is complete, its folder stays for a while.
    pub(super) fn ended(&mut self, id: LocalId) {
        self.waiting.remove(&id);
        self.launching.remove(&id);
        let Some(process) = self.processes.remove(&id) else { return };
        process.abandon();
        self.outputs.ended(id.0);
        if matches!(process.kind, Kind::Own(_)) {
            // Not before: what the launcher knows is known to the next agent, and so is what is written down now.
            self.requests.push(Request::Release { container: self.container(id) });
        }
        match process.kind {
            Kind::Own(place) => match &place.launch {
                Launch::Task(task) if self.sandboxes.end(key(task), process.is_untouched) => {
                    self.attic.add_spare(key(task), process.sandbox, &place.account.user);
                }
                Launch::Task(_) => self.attic.add(process.sandbox),
                Launch::Executor(_) => {
                    self.executors.forget(id);
                    self.attic.add(process.sandbox);
                }
            },
            Kind::Shared { framework_id, task_id } => {
                self.sandboxes.end((framework_id, task_id), false);
                self.attic.add(process.sandbox);
            }
        }
        self.clean();
    }

    /// What the core doesn't have ends here.
    fn release_if_unknown(&mut self, container: &str) {
        if !self.id_of(container).is_some_and(|id| self.processes.contains_key(&id)) {
            self.requests.push(Request::Release { container: container.to_string() });
        }
    }

    fn keep_process(&mut self, id: LocalId, launched: &launcher::Launched) {
        let main = ProcessKept { pid: launched.pid, start_time: launched.start_time };
        if let Some(process) = self.processes.get_mut(&id) {
            process.main = Some(main);
            self.checkpoints.add_process(id, main);
        }
    }

    // ── what an agent before this one has launched ─────────────────────────────────────────────────────────────────────

    /// As if it had been launched by this process.
    pub(super) fn restore(&mut self, id: LocalId, launch: Launch, main: Option<ProcessKept>) {
        let user = launch.command().and_then(|command| command.user.as_deref()).unwrap_or(&launch.framework().user);
        let account = match self.users.account(user) {
            Ok(account) => account,
            Err(message) => return tracing::warn!("a task that runs here has lost its user: {message}"),
        };
        let sandbox = launch.sandbox().clone();
        self.attic.keep(&sandbox);
        self.outputs.started(id.0, OUTPUTS.map(|name| sandbox.join(name)).into());
        let place = Arc::new(Place { launch, account });
        match &place.launch {
            Launch::Task(task) => self.sandboxes.add(key(task), &sandbox, Some(place.clone())),
            Launch::Executor(_) => drop(self.executors.expect(id, &self.container(id))),
        }
        let process = Process { kind: Kind::Own(place), sandbox, preparing: None, is_untouched: false, main };
        self.processes.insert(id, process);
    }

    pub(super) fn restore_shared(&mut self, id: LocalId, task: &TaskLaunch) {
        let (framework_id, task_id) = key(task);
        let own = self.work_dir.path.join("sandboxes").join(framework_id.as_str()).join(task_id.as_str());
        self.attic.keep(&own);
        self.sandboxes.add((framework_id.clone(), task_id.clone()), &task.sandbox, None);
        let kind = Kind::Shared { framework_id, task_id };
        self.processes.insert(id, Process { kind, sandbox: own, preparing: None, is_untouched: false, main: None });
    }

    /// Of one container that the launcher has: whose it is, and how it stands. What nobody knows is ended.
    pub(super) fn found(&mut self, listed: launcher::Listed) -> Option<(LocalId, Found)> {
        match listed {
            launcher::Listed::Launching { container } => {
                let id = self.known(&container)?;
                self.launching.insert(id);
                Some((id, Found::Launching))
            }
            launcher::Listed::Running(launched) => {
                let id = self.known(&launched.container)?;
                self.keep_process(id, &launched);
                Some((id, Found::Running))
            }
            launcher::Listed::Exited(exited) => match self.on_exited(exited)? {
                Event::Exited { id, exit, last_words, output_bytes } => {
                    Some((id, Found::Exited { exit, last_words, output_bytes }))
                }
                other => unreachable!("the end of a container is told as one, not as {other:?}"),
            },
            launcher::Listed::Failed(failed) => match self.on_launch_failed(failed)? {
                Event::LaunchFailed { id, refusal } => Some((id, Found::Failed(refusal))),
                other => unreachable!("a launch that failed is told as one, not as {other:?}"),
            },
        }
    }

    fn known(&mut self, container: &str) -> Option<LocalId> {
        let known = self.id_of(container).filter(|id| self.processes.contains_key(id));
        // What an executor has launched is its own.
        if known.is_none() && !container.contains('/') {
            let (container, scope) = (container.to_string(), Scope::WholeContainer);
            self.requests.push(Request::Signal { container, signal: libc::SIGKILL, scope });
        }
        known
    }

    fn container(&self, id: LocalId) -> String {
        container_name(&self.incarnation, id)
    }

    fn id_of(&self, container: &str) -> Option<LocalId> {
        let number = container.strip_prefix(&self.incarnation)?.strip_prefix('-')?;
        number.parse().ok().map(LocalId)
    }

    pub(super) fn on_launcher(&mut self, said: Vec<launcher::Event>) {
        let events: Vec<Event> = said.into_iter().filter_map(|event| self.event_of(event)).collect();
        self.handle(events);
    }

    /// What the core is told, if it is of a task or an executor.
    fn event_of(&mut self, said: launcher::Event) -> Option<Event> {
        match said {
            launcher::Event::Launched(launched) => {
                let id = self.id_of(&launched.container)?;
                self.launching.remove(&id);
                self.keep_process(id, &launched);
                Some(Event::Launched { id })
            }
            launcher::Event::LaunchFailed(failed) => self.on_launch_failed(failed),
            launcher::Event::Exited(exited) => self.on_exited(exited),
            launcher::Event::Refused { container, message } => {
                tracing::debug!("the launcher refused a request for {container}: {message}");
                None
            }
            launcher::Event::Welcome { .. } => None,
            launcher::Event::Listing { containers, .. } => {
                tracing::debug!("{} containers", containers.len());
                None
            }
        }
    }

    fn on_launch_failed(&mut self, failed: LaunchFailed) -> Option<Event> {
        let full = [libc::ENOSPC, libc::EDQUOT].contains(&failed.errno);
        let reason = if full { Reason::SandboxFull } else { Reason::CommandNotLaunched };
        let refusal = Refusal { reason, message: failed.message.clone() };
        self.release_if_unknown(&failed.container);
        self.execs.over(&failed.container, Err(failed.message));
        let id = self.id_of(&failed.container)?;
        self.launching.remove(&id);
        Some(Event::LaunchFailed { id, refusal })
    }

    fn on_exited(&mut self, exited: launcher::Exited) -> Option<Event> {
        let exit = match exited.status {
            launcher::ExitStatus::Code(code) => ExitStatus { how: Some(How::Code(code)) },
            launcher::ExitStatus::Signal { signal, .. } => ExitStatus { how: Some(How::Signal(signal)) },
            launcher::ExitStatus::Unknown => ExitStatus::unknown(),
        };
        self.release_if_unknown(&exited.container);
        if exited.leftover > 0 {
            tracing::warn!("{} processes of container {} can't be killed", exited.leftover, exited.container);
        }
        self.execs.over(&exited.container, Ok(exit));
        let id = self.id_of(&exited.container)?;
        self.launching.remove(&id);
        let (mut last_words, mut output_bytes) = (None, None);
        if let Some(Process { kind: Kind::Own(place), sandbox, is_untouched, .. }) = self.processes.get_mut(&id) {
            match &place.launch {
                Launch::Task(_) => {
                    let look = sandboxes::look(sandbox, &place.account.user);
                    output_bytes = look.output_bytes;
                    *is_untouched = look.is_untouched && exited.is_alone;
                }
                Launch::Executor(_) if !exit.success() => last_words = last_line(sandbox),
                Launch::Executor(_) => {}
            }
        }
        Some(Event::Exited { id, exit, last_words, output_bytes })
    }
}

fn key(task: &TaskLaunch) -> Key {
    (task.framework.id.clone().unwrap_or_default(), task.task.id.clone())
}

pub(super) fn plugin_path(folder: &std::path::Path, sha256: &str) -> PathBuf {
    folder.join(format!("{sha256}.so"))
}

/// The last line that an executor wrote to its standard error: a panic's, or why it gave up.
fn last_line(sandbox: &Path) -> Option<String> {
    let path = sandbox.join(OUTPUTS[1]);
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).ok()?;
    let length = file.metadata().ok().filter(|metadata| metadata.is_file())?.len();
    let tail_length = length.min(LAST_LINE_MAX);
    let mut tail = vec![0; tail_length as usize];
    file.read_exact_at(&mut tail, length - tail_length).ok()?;
    let text = String::from_utf8_lossy(&tail);
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).map(str::to_string)
}

/// What is to be fetched before a launch.
struct Work {
    fetcher: Arc<Fetcher>,
    uris: Vec<mesos_plugin_api::v1::Uri>,
    plugin: Option<(String, String, PathBuf)>,
    place: Arc<Place>,
}

impl Work {
    fn of(place: &Arc<Place>, fetcher: &Arc<Fetcher>, work_dir: &WorkDir) -> Option<Self> {
        let uris = place.launch.command().map(|command| command.uris.clone()).unwrap_or_default();
        let plugin = place.launch.plugin().map(|plugin| {
            let name = format!("{} {}", plugin.name, plugin.version);
            (name, plugin.sha256.clone(), plugin_path(&work_dir.plugins(), &plugin.sha256))
        });
        let plugin = plugin.filter(|(_, _, path)| !path.exists());
        let idle = uris.is_empty() && plugin.is_none();
        (!idle).then(|| Self { fetcher: fetcher.clone(), uris, plugin, place: place.clone() })
    }

    async fn run(self) -> Result<(), Refusal> {
        if let Some((name, sha256, path)) = &self.plugin {
            let fetched = self.fetcher.fetch_blob(sha256, path).await;
            fetched.map_err(|error| Refusal {
                reason: Reason::PluginRefused,
                message: format!("cannot fetch the plugin {name}: {error}"),
            })?;
        }
        for uri in &self.uris {
            self.fetcher.fetch(uri, self.place.launch.sandbox(), &self.place.account).await?;
        }
        Ok(())
    }
}
