//! The checkpoints of an agent in its work folder: one file that only grows, until it is written anew with what still counts.
//!
//! ```text
//! core ─ Persist ─▶ buffer ─ one write for all that belongs together ─▶ checkpoints ─▶ read by the next process
//!                                                └─ grown too long: snapshot ─▶ checkpoints.new ─ rename ─▶ checkpoints
//! ```
//!
//! What was written survives the process, as the system keeps it; nothing is synced to the disk, since tasks end with the machine
//! anyway. After its end, a log that misses the last writes says at worst that tasks ran which had ended: they are reported lost.

mod codec;
mod frames;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::config::{AgentError, io_error};
use crate::agent::checkpoint::Checkpoint;
use crate::agent::event::LocalId;
use crate::protocol::agent_record::Record;
use crate::protocol::{AgentRecord, LauncherKept, LogBegan, ProcessKept};

/// What this program writes; one that finds a higher number leaves all as it is.
pub(super) const LAYOUT: u32 = 1;
const NAME: &str = "checkpoints";
/// A log that is shorter isn't worth another one.
const LOG_BYTES_MIN: usize = 16 << 20;
/// How much longer than its snapshot a log may grow.
const LOG_GROWTH_MAX: usize = 4;

/// What an agent before this one has left.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// None where there was none.
    pub began: Option<LogBegan>,
    pub launcher: Option<LauncherKept>,
    pub processes: BTreeMap<LocalId, ProcessKept>,
    pub records: Vec<Checkpoint>,
}

/// The log that this agent writes.
pub(super) struct Checkpoints {
    folder: PathBuf,
    /// None before the first write, and for an agent that leaves nothing to the next one.
    file: Option<File>,
    keeps: bool,
    began: LogBegan,
    launcher: Option<LauncherKept>,
    buffer: Vec<u8>,
    /// The last that is in the buffer.
    seq: Option<u64>,
    length: usize,
    length_max: usize,
}

impl Checkpoints {
    /// `keeps` says whether there is anything to write.
    pub(super) fn new(folder: &Path, began: LogBegan, keeps: bool) -> Self {
        Self {
            folder: folder.to_owned(),
            file: None,
            keeps,
            began,
            launcher: None,
            buffer: Vec::new(),
            seq: None,
            length: 0,
            length_max: 0,
        }
    }

    /// Kept with the next commit.
    pub(super) fn add(&mut self, seq: u64, checkpoint: &Checkpoint) {
        self.seq = Some(seq);
        if self.is_open() {
            let (id, record) = codec::encode(checkpoint);
            push(&mut self.buffer, id, record);
        }
    }

    /// Which process a container is; not answered.
    pub(super) fn add_process(&mut self, id: LocalId, process: ProcessKept) {
        if self.is_open() {
            push(&mut self.buffer, id.0, Record::Process(process));
        }
    }

    /// Whose containers the records speak of from now on.
    pub(super) fn set_launcher(&mut self, launcher: LauncherKept) {
        self.launcher = Some(launcher);
        if self.is_open() {
            push(&mut self.buffer, 0, Record::Launcher(launcher));
        }
    }

    /// Writes what was added, all at once. Returns the last that survives this process from now on, if there is another one.
    ///
    /// # Errors
    /// The disk is full, among other things; nothing that waits for it may be done then.
    pub(super) fn commit(&mut self, snapshot: impl FnOnce() -> Snapshot) -> Result<Option<u64>, AgentError> {
        if self.keeps && (self.file.is_none() || self.length + self.buffer.len() > self.length_max) {
            self.write_anew(&snapshot())?;
        } else if let Some(file) = self.file.as_mut().filter(|_| !self.buffer.is_empty()) {
            file.write_all(&self.buffer).map_err(io_error("write", self.folder.join(NAME)))?;
            self.length += self.buffer.len();
        }
        self.buffer.clear();
        Ok(self.seq.take())
    }

    /// Nothing is left for the next agent.
    pub(super) fn remove(&mut self) {
        self.file = None;
        let _ = fs::remove_file(self.folder.join(NAME));
    }

    fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whole or not at all: whoever reads after a crash finds this log or the one before it.
    fn write_anew(&mut self, snapshot: &Snapshot) -> Result<(), AgentError> {
        let mut bytes = Vec::new();
        push(&mut bytes, 0, Record::Began(self.began.clone()));
        if let Some(launcher) = self.launcher {
            push(&mut bytes, 0, Record::Launcher(launcher));
        }
        for checkpoint in &snapshot.checkpoints {
            let (id, record) = codec::encode(checkpoint);
            push(&mut bytes, id, record);
        }
        for (id, process) in &snapshot.processes {
            push(&mut bytes, id.0, Record::Process(*process));
        }
        let (path, new) = (self.folder.join(NAME), self.folder.join(format!("{NAME}.new")));
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .map_err(io_error("open", &new))?;
        file.write_all(&bytes).map_err(io_error("write", &new))?;
        fs::rename(&new, &path).map_err(io_error("replace", &path))?;
        self.file = Some(file);
        self.length = bytes.len();
        self.length_max = LOG_BYTES_MIN.max(bytes.len() * LOG_GROWTH_MAX);
        Ok(())
    }
}

/// All that counts at some moment.
pub(super) struct Snapshot {
    pub checkpoints: Vec<Checkpoint>,
    pub processes: Vec<(LocalId, ProcessKept)>,
}

fn push(bytes: &mut Vec<u8>, id: u64, record: Record) {
    let record = AgentRecord { record: Some(record) };
    frames::push(bytes, id, |bytes| record.encode(bytes).expect("a Vec grows as needed"));
}

/// Reads what an agent before this one has kept. What is damaged is said and left out, with all else that is about it.
///
/// # Errors
/// The file can't be read, or is a newer program's.
pub(super) fn read(folder: &Path) -> Result<Kept, AgentError> {
    let path = folder.join(NAME);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
        Err(error) => return Err(io_error("read", path)(error)),
    };
    let contents = frames::read(&bytes);
    let mut damaged: BTreeSet<u64> = contents.damaged.iter().copied().collect();
    let mut records = Vec::new();
    for frame in &contents.frames {
        match AgentRecord::decode(frame.record) {
            Ok(AgentRecord { record: Some(record) }) => records.push((frame.id, record)),
            // Whole, and yet nothing that this program knows.
            Ok(_) | Err(_) => drop(damaged.insert(frame.id)),
        }
    }
    let began = match records.first() {
        Some((_, Record::Began(began))) => Some(began.clone()),
        _ => None,
    };
    let layout = began.as_ref().map_or(LAYOUT, |began| began.layout);
    if contents.is_foreign || layout > LAYOUT {
        let version = began.and_then(|began| began.version).unwrap_or_else(|| "a newer version".into());
        return Err(AgentError::Newer { path, version });
    }
    if !damaged.is_empty() || contents.lost_bytes > 0 || (began.is_none() && !bytes.is_empty()) {
        set_aside(&path, &damaged, contents.lost_bytes, began.is_some(), &records)?;
    }
    let Some(began) = began else { return Ok(Kept::default()) };
    damaged.remove(&0);
    let mut kept = Kept { began: Some(began), ..Kept::default() };
    for (id, record) in records.into_iter().filter(|(id, _)| !damaged.contains(id)) {
        match record {
            Record::Launcher(launcher) => kept.launcher = Some(launcher),
            Record::Process(process) => drop(kept.processes.insert(LocalId(id), process)),
            record => kept.records.extend(codec::decode(id, record)),
        }
    }
    Ok(kept)
}

/// Keeps the file for whoever wants to know, and says what it cost.
fn set_aside(
    path: &Path,
    damaged: &BTreeSet<u64>,
    lost_bytes: usize,
    is_usable: bool,
    records: &[(u64, Record)],
) -> Result<(), AgentError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let aside = path.with_file_name(format!("{NAME}.damaged-{now}"));
    fs::copy(path, &aside).map_err(io_error("copy", &aside))?;
    let (path, aside) = (path.display(), aside.display());
    if !is_usable {
        tracing::warn!(
            "the checkpoints in {path} are damaged where they begin; this agent starts as a new one, and ends what ran here; a copy is {aside}"
        );
        return Ok(());
    }
    for id in damaged.iter().filter(|id| **id != 0) {
        let name = records.iter().find_map(|(of, record)| (of == id).then(|| name_of(record)).flatten());
        let name = name.unwrap_or_else(|| format!("number {id}"));
        tracing::warn!(
            "the checkpoint of {name} in {path} is damaged: it is set aside and what runs of it is ended, all else goes on; a copy is {aside}"
        );
    }
    if damaged.contains(&0) || lost_bytes > 0 {
        tracing::warn!("some checkpoints in {path} are damaged and left out ({lost_bytes} bytes); a copy is {aside}");
    }
    Ok(())
}

fn name_of(record: &Record) -> Option<String> {
    let of_launch = |launch: &crate::protocol::LaunchKept| match (&launch.task, &launch.executor) {
        (Some(task), _) => Some(format!("task {}", task.id)),
        (None, Some(executor)) => Some(format!("executor {}", executor.id)),
        (None, None) => None,
    };
    match record {
        Record::Launch(launch) | Record::Refused(launch) => of_launch(launch),
        Record::Task(task) => of_launch(&task.launch),
        Record::Update(update) => Some(format!("task {}", update.status.task_id)),
        _ => None,
    }
}
