//! Followers: each reads the files of one task while they grow, and hands on what it reads.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use mesos_host::protocol::{FileChunk, Located, ReadFile};
use mesos_plugin_api::framework::{Follow, FollowFile};
use mesos_plugin_api::v1::{AgentId, FrameworkId};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::screen::{Screen, Word};
use crate::sandbox::Sandboxes;

/// Tasks that are followed at once; later ones wait for their turn, and their output is shown from its beginning then.
const FOLLOWERS_MAX: usize = 256;
/// How often a broken connection to an agent is tried again, in a row: for as long as tasks run on without their agent.
const TRIES_MAX: u32 = 1800;
/// The same when the framework has ended: the person in front waits for nothing else.
const TRIES_AT_END_MAX: u32 = 4;
/// Between these tries.
const RETRY: Duration = Duration::from_millis(500);
/// A line that is longer is shown in pieces.
const LINE_BYTES_MAX: usize = 64 << 10;
/// The beginning of an unlabelled line is shown when its end hasn't come for so long: it may be a prompt.
const PROMPT_AFTER: Duration = Duration::from_millis(250);

/// The followers of one framework.
pub struct Followers {
    sandboxes: Arc<Sandboxes>,
    screen: Screen,
    framework: FrameworkId,
    turns: Arc<Semaphore>,
    hurry: Arc<AtomicBool>,
    running: JoinSet<()>,
}

impl Followers {
    /// None yet.
    pub fn new(sandboxes: Arc<Sandboxes>, screen: Screen, framework: FrameworkId) -> Self {
        let turns = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        Self { sandboxes, screen, framework, turns, hurry: Arc::default(), running: JoinSet::new() }
    }

    /// Follows files of a task until it has ended and all is handed on. Says so if something is missing.
    pub fn follow(&mut self, follow: Follow) {
        // Those that have ended need no memory.
        while self.running.try_join_next().is_some() {}
        let (sandboxes, screen) = (self.sandboxes.clone(), self.screen.clone());
        let (turns, framework, hurry) = (self.turns.clone(), self.framework.clone(), self.hurry.clone());
        self.running.spawn(async move {
            let _turn = turns.acquire().await.expect("the semaphore is never closed");
            let task = follow.task_id;
            let followed = async {
                let framework = Some(framework.to_string());
                let wanted = Wanted {
                    task: task.to_string(),
                    framework,
                    agent: follow.agent_id,
                    files: follow.files,
                    growing: true,
                };
                // The master may just have another leader: that is no reason to lose output.
                Follower { hurry, ..Follower::new(sandboxes, &screen, wanted)? }.run(TRIES_MAX).await
            };
            if let Err(error) = followed.await {
                screen.remark(&format!("the output of task {task} is incomplete: {error:#}")).await;
            }
        });
    }

    /// Waits until each has handed on all it can get.
    pub async fn end(mut self) {
        self.all_shown().await;
    }

    /// Waits until each that follows now has handed on all it can get.
    pub async fn all_shown(&mut self) {
        self.hurry.store(true, Ordering::Relaxed);
        while self.running.join_next().await.is_some() {}
    }
}

/// What is read.
pub struct Wanted {
    /// The task's id.
    pub task: String,
    /// Its framework, by id or name, where it must be said.
    pub framework: Option<String>,
    /// The agent that has it, or had it, where that is known.
    pub agent: Option<AgentId>,
    /// Files of its sandbox, and where they are shown.
    pub files: Vec<FollowFile>,
    /// Until the task has ended, and not only what is there now.
    pub growing: bool,
}

/// Reads files of one task.
pub struct Follower {
    sandboxes: Arc<Sandboxes>,
    wanted: Wanted,
    sinks: Vec<Sink>,
    hurry: Arc<AtomicBool>,
}

impl Follower {
    /// A follower that has read nothing.
    ///
    /// # Errors
    /// A file that it writes into can't be opened.
    pub fn new(sandboxes: Arc<Sandboxes>, screen: &Screen, wanted: Wanted) -> Result<Self> {
        let sinks: Result<Vec<Sink>> = wanted.files.iter().map(|file| Sink::open(file.clone(), screen)).collect();
        Ok(Self { sandboxes, wanted, sinks: sinks?, hurry: Arc::default() })
    }

    /// Reads until all is handed on. What breaks before the first byte is tried again so often, later `TRIES_MAX` times in a row.
    ///
    /// # Errors
    /// It broke more often than that.
    pub async fn run(mut self, mut tries_left: u32) -> Result<()> {
        loop {
            let before = self.offsets();
            match self.read().await {
                Ok(()) => break,
                Err(error) if tries_left == 0 => return Err(error),
                Err(error) => tracing::debug!(task = self.wanted.task, %error, "reading output again"),
            }
            // What brings us further is no failure in a row.
            tries_left = if self.offsets() == before { tries_left - 1 } else { TRIES_MAX };
            if self.hurry.load(Ordering::Relaxed) {
                tries_left = tries_left.min(TRIES_AT_END_MAX);
            }
            tokio::time::sleep(RETRY).await;
        }
        for sink in &mut self.sinks {
            sink.end().await?;
        }
        Ok(())
    }

    fn offsets(&self) -> Vec<u64> {
        self.sinks.iter().map(|sink| sink.offset).collect()
    }

    async fn locate(&self) -> Result<Located> {
        let Wanted { task, framework, agent, .. } = &self.wanted;
        self.sandboxes.locate_on(agent.clone(), task, framework.as_deref()).await
    }

    /// Reads on from where each file stands until all have ended.
    async fn read(&mut self) -> Result<()> {
        let located = self.locate().await?;
        let files = self.sinks.iter().map(|sink| ReadFile { path: sink.file.path.clone(), offset: Some(sink.offset) });
        let mut stream = self.sandboxes.read(&located, files.collect(), self.wanted.growing).await?;
        loop {
            let prompt = self.sinks.iter().filter_map(|sink| sink.prompt_at).min();
            tokio::select! {
                // What has come already may end the line.
                biased;
                chunk = stream.recv() => match chunk {
                    Some(chunk) => self.take(chunk?).await?,
                    None => break,
                },
                () = tokio::time::sleep_until(prompt.unwrap_or_else(Instant::now)), if prompt.is_some() => {
                    for sink in self.sinks.iter_mut().filter(|sink| sink.prompt_at == prompt) {
                        sink.show_rest().await?;
                    }
                }
            }
        }
        let complete = !self.wanted.growing || self.sinks.iter().all(|sink| sink.ended);
        if complete { Ok(()) } else { Err(anyhow!("the agent ended the stream early")) }
    }

    async fn take(&mut self, chunk: FileChunk) -> Result<()> {
        let sink = self.sinks.get_mut(chunk.file as usize).context("the agent sent a file that wasn't asked for")?;
        if let Some(data) = &chunk.data {
            sink.take(chunk.offset, data).await?;
        }
        sink.ended |= chunk.end == Some(true);
        Ok(())
    }
}

/// Where a file's bytes go: by whole lines, so that lines of several files on one terminal don't mix.
pub struct Sink {
    file: FollowFile,
    screen: Screen,
    to_file: Option<File>,
    /// The beginning of a line whose end hasn't come.
    line: VecDeque<u8>,
    /// When it is shown without its end.
    pub(super) prompt_at: Option<Instant>,
    offset: u64,
    ended: bool,
}

impl Sink {
    /// Opens the file that it writes into, if it is one.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(file: FollowFile, screen: &Screen) -> Result<Self> {
        let to_file = match &file.to_file {
            Some(path) => {
                let path = Path::new(std::ffi::OsStr::from_bytes(path));
                let opened = OpenOptions::new().append(true).create(true).open(path);
                Some(opened.with_context(|| format!("{} can't be written", path.display()))?)
            }
            None => None,
        };
        Ok(Self {
            file,
            screen: screen.clone(),
            to_file,
            line: VecDeque::new(),
            prompt_at: None,
            offset: 0,
            ended: false,
        })
    }

    /// Bytes from that offset on. A gap means that the agent has dropped the oldest output to bound the file's size.
    pub async fn take(&mut self, offset: u64, data: &[u8]) -> Result<()> {
        if offset > self.offset && self.offset > 0 {
            let lost = offset - self.offset;
            self.screen.remark(&format!("{lost} bytes of {} were dropped before they were read", self.file.path)).await;
        }
        self.offset = offset + data.len() as u64;
        self.line.extend(data);
        let end = self.line.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place + 1);
        let end = if end == 0 && self.line.len() >= LINE_BYTES_MAX { self.line.len() } else { end };
        let whole: Vec<u8> = self.line.drain(..end).collect();
        let waits = self.file.label.is_none() && !self.line.is_empty();
        let since = self.prompt_at.filter(|_| end == 0).unwrap_or_else(|| Instant::now() + PROMPT_AFTER);
        self.prompt_at = waits.then_some(since);
        self.write_lines(whole).await
    }

    async fn write_lines(&mut self, lines: Vec<u8>) -> Result<()> {
        let Some(label) = self.file.label.as_ref().filter(|_| !lines.is_empty()) else {
            return self.write(lines).await;
        };
        let mut labelled = Vec::with_capacity(lines.len() + 16);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            labelled.extend_from_slice(label.as_bytes());
            labelled.extend_from_slice(line);
        }
        if labelled.last() != Some(&b'\n') {
            labelled.push(b'\n');
        }
        self.write(labelled).await
    }

    async fn write(&mut self, data: Vec<u8>) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.to_file {
            Some(file) => file.write_all(&data).context("the output file can't be written"),
            None => {
                self.screen.show(Word::Bytes(self.file.stderr == Some(true), data)).await;
                Ok(())
            }
        }
    }

    /// A last line without a line feed gets one where it is labelled.
    pub async fn end(&mut self) -> Result<()> {
        self.show_rest().await
    }

    /// Shows the beginning of a line without its end.
    pub(super) async fn show_rest(&mut self) -> Result<()> {
        self.prompt_at = None;
        let rest: Vec<u8> = self.line.drain(..).collect();
        self.write_lines(rest).await
    }
}
