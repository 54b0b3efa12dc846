//! `mesos frameworks attach`: what a framework has shown since its beginning, and goes on to show.
//!
//! Its scheduler's processes are read one after the other, each as a journal in its own sandbox. A process that took over follows
//! tasks again that the one before it has followed: here each task's files are shown once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, anyhow};
use mesos_host::protocol::client::MasterClient;
use mesos_host::protocol::{FrameworkState, ReadFile, SchedulerRun};
use mesos_plugin_api::framework::Follow;
use mesos_plugin_api::v1::{AgentId, FrameworkId, TaskId};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::journal::{self, Call, Reader};
use super::watch::{News, watch};
use crate::foreground::{Followers, Press, Screen, Word, presses};
use crate::sandbox::Sandboxes;

/// Between two tries to read a journal.
const RETRY: Duration = Duration::from_millis(500);
/// So often the journal of a process that is over is tried, in a row.
const TRIES_MAX: u32 = 4;
/// Words that wait to be shown.
const WORDS_MAX: usize = 256;

/// Shows a framework until it has ended, and gives its exit code; or until Ctrl-C, which leaves it alone.
///
/// # Errors
/// No such framework was handed to the cluster, or it isn't ours.
pub async fn attach(client: &MasterClient, framework: &str, quiet: bool) -> Result<i32> {
    let mut news = watch(client, framework).await?;
    let Some(News::State(first)) = news.recv().await else {
        return Err(anyhow!("the master didn't say how {framework} stands"));
    };
    let mut presses = presses()?;
    let screen = Screen::start(quiet);
    let mut attached = Attached::new(client, &screen, *first)?;
    let shown = tokio::select! {
        shown = attached.show(&mut news) => shown,
        press = presses.recv() => {
            let Some(Press::Ask(signal) | Press::Abort(signal)) = press else { return Ok(1) };
            let id = &attached.id;
            let line = format!("detached: {id} goes on; 'mesos frameworks attach {id}' shows it, 'mesos teardown {id}' ends it");
            screen.remark(&line).await;
            Ok(128 + signal)
        }
        // Nobody reads on.
        () = screen.out_gone() => Ok(0),
    };
    screen.end().await;
    shown
}

/// What is shown of one framework.
struct Attached {
    id: FrameworkId,
    state: FrameworkState,
    schedulers: FrameworkId,
    sandboxes: Arc<Sandboxes>,
    screen: Screen,
    followers: Followers,
    followed: BTreeSet<(TaskId, String)>,
    /// The process whose journal is read, and whether it is known to be over.
    reading: JoinSet<Result<()>>,
    over: Arc<AtomicBool>,
    /// The last whose journal was begun.
    begun: Option<TaskId>,
}

impl Attached {
    fn new(client: &MasterClient, screen: &Screen, state: FrameworkState) -> Result<Self> {
        let id = state.framework.id.clone().ok_or_else(|| anyhow!("the master told of a framework without an id"))?;
        let schedulers = state.scheduler.as_ref().map(|scheduler| scheduler.framework_id.clone()).unwrap_or_default();
        let sandboxes = Arc::new(Sandboxes::new(client.clone()));
        Ok(Self {
            followers: Followers::new(sandboxes.clone(), screen.clone(), id.clone()),
            id,
            state,
            schedulers,
            sandboxes,
            screen: screen.clone(),
            followed: BTreeSet::new(),
            reading: JoinSet::new(),
            over: Arc::default(),
            begun: None,
        })
    }

    async fn show(&mut self, news: &mut mpsc::Receiver<News>) -> Result<i32> {
        let (words, mut said) = mpsc::channel(WORDS_MAX);
        loop {
            if self.reading.is_empty() && !self.read_next(&words) && self.state.ended_ns.is_some() && said.is_empty() {
                return self.end().await;
            }
            tokio::select! {
                biased;
                Some(call) = said.recv() => self.say(call).await,
                Some(read) = self.reading.join_next() => if let Ok(Err(error)) = read {
                    let problem = format!("what the scheduler has said can't be read: {error:#}");
                    self.screen.remark(&problem).await;
                },
                Some(heard) = news.recv() => match heard {
                    News::State(state) => self.learn(*state),
                    News::MasterLost(problem) => self.screen.remark(&format!("{problem}; the master is tried again")).await,
                    News::MasterBack => self.screen.remark("the master is back").await,
                    News::Refused(line) => return Err(anyhow!(line)),
                },
                else => return Err(anyhow!("the master told no end of {}; see 'mesos frameworks --all'", self.id)),
            }
        }
    }

    fn learn(&mut self, state: FrameworkState) {
        self.state = state;
        let is_over = |run: &SchedulerRun| run.ended.is_some() || self.state.ended_ns.is_some();
        if self.runs().iter().any(|run| Some(&run.task_id) == self.begun.as_ref() && is_over(run)) {
            self.over.store(true, Ordering::Relaxed);
        }
    }

    fn runs(&self) -> &[SchedulerRun] {
        self.state.scheduler.as_ref().map_or(&[], |scheduler| &scheduler.runs)
    }

    /// Begins with the next journal, if there is one.
    fn read_next(&mut self, words: &mpsc::Sender<Call>) -> bool {
        let next = match &self.begun {
            None => 0,
            Some(begun) => self.runs().iter().position(|run| run.task_id == *begun).map_or(0, |at| at + 1),
        };
        let Some(run) = self.runs().get(next).cloned() else { return false };
        self.begun = Some(run.task_id.clone());
        self.over = Arc::new(AtomicBool::new(run.ended.is_some() || self.state.ended_ns.is_some()));
        let journal = Journal {
            sandboxes: self.sandboxes.clone(),
            task: run.task_id,
            agent: run.agent_id,
            schedulers: self.schedulers.clone(),
            over: self.over.clone(),
            words: words.clone(),
            reader: Reader::default(),
            offset: 0,
        };
        self.reading.spawn(journal.read());
        true
    }

    async fn say(&mut self, call: Call) {
        match call {
            Call::Output(output) => self.screen.show(Word::Bytes(output.stderr == Some(true), output.data)).await,
            Call::Progress(progress) => self.screen.show(Word::Progress(progress)).await,
            Call::Follow(Follow { task_id, files, agent_id }) => {
                let mut new = |path: &str| self.followed.insert((task_id.clone(), path.to_string()));
                let files: Vec<_> = files.into_iter().filter(|file| new(&file.path)).collect();
                if !files.is_empty() {
                    self.followers.follow(Follow { task_id, files, agent_id });
                }
            }
            _ => {}
        }
    }

    async fn end(&mut self) -> Result<i32> {
        self.followers.all_shown().await;
        if let Some(message) = &self.state.end_message {
            self.screen.remark(message).await;
        }
        Ok(self.state.exit_code.unwrap_or(1))
    }
}

/// One process's journal.
struct Journal {
    sandboxes: Arc<Sandboxes>,
    task: TaskId,
    agent: AgentId,
    schedulers: FrameworkId,
    over: Arc<AtomicBool>,
    words: mpsc::Sender<Call>,
    reader: Reader,
    offset: u64,
}

impl Journal {
    /// Until the process has ended and all is read.
    async fn read(mut self) -> Result<()> {
        let mut tries = 0;
        loop {
            let before = self.offset;
            match self.try_read().await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) if tries >= TRIES_MAX => return Err(error),
                Err(error) => tracing::debug!(%error, "reading the journal again"),
            }
            // Of one that runs, sooner or later there is news.
            let counts = self.offset == before && self.over.load(Ordering::Relaxed);
            tries = if counts { tries + 1 } else { 0 };
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Whether it is complete.
    async fn try_read(&mut self) -> Result<bool> {
        let (agent, schedulers) = (Some(self.agent.clone()), Some(self.schedulers.as_str()));
        let located = self.sandboxes.locate_on(agent, self.task.as_str(), schedulers).await?;
        let file = ReadFile { path: journal::FILE.to_string(), offset: Some(self.offset) };
        let mut chunks = self.sandboxes.read(&located, vec![file], true).await?;
        while let Some(chunk) = chunks.recv().await {
            let chunk = chunk?;
            if let Some(data) = chunk.data {
                self.offset = chunk.offset + data.len() as u64;
                for word in self.reader.take(&data)? {
                    // Nobody listens any more, otherwise.
                    let _ = self.words.send(word).await;
                }
            }
            if chunk.end == Some(true) {
                return Ok(true);
            }
        }
        Err(anyhow!("the agent ended the stream early"))
    }
}
