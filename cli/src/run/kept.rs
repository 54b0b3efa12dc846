//! What outlives the scheduler of a job: the job as bytes, and how far it has come, as state that the master keeps.
//!
//! A task is noted before it is launched and when it has ended, so that a scheduler that takes over asks for those between and
//! launches none twice.

use std::collections::BTreeMap;
use std::time::Duration;

use mesos_plugin_api::Calls;
use mesos_plugin_api::v1::scheduler::StateEntry;
use mesos_plugin_api::v1::{CommandInfo, Resources};
use prost::Message;

use super::{Failure, Job};

/// Tasks from this number on were never launched.
const LAUNCHED: &str = "launched";
/// How many failed, and the first of them.
const FAILED: &str = "failed";
/// Then comes the task's number: how often it was launched, if more than once.
const AGAIN: &str = "again/";
/// Then comes the number of a group of tasks: a bit for each that has ended.
const ENDED: &str = "ended/";
/// Tasks of such a group.
const GROUP: u32 = 1024;

/// A job on its way to another process.
#[derive(Clone, PartialEq, Message)]
struct JobBytes {
    #[prost(uint32, tag = "1")]
    count: u32,
    #[prost(message, required, tag = "2")]
    each: Resources,
    #[prost(message, required, tag = "3")]
    command: CommandInfo,
    #[prost(uint64, optional, tag = "4")]
    max_duration_ms: Option<u64>,
    #[prost(bool, tag = "5")]
    follow: bool,
    #[prost(bool, tag = "6")]
    label: bool,
    #[prost(uint32, optional, tag = "7")]
    max_fail: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
struct FailedBytes {
    #[prost(uint32, tag = "1")]
    count: u32,
    #[prost(int32, tag = "2")]
    exit_code: i32,
    #[prost(string, tag = "3")]
    line: String,
}

impl Job {
    /// For a scheduler in another process.
    pub fn to_bytes(&self) -> Vec<u8> {
        let max_duration_ms = self.max_duration.map(|max| u64::try_from(max.as_millis()).unwrap_or(u64::MAX));
        let (count, each, command) = (self.count, self.each.clone(), self.command.clone());
        let Job { follow, label, max_fail, .. } = *self;
        JobBytes { count, each, command, max_duration_ms, follow, label, max_fail }.encode_to_vec()
    }

    /// The job again.
    ///
    /// # Errors
    /// It is none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let job = JobBytes::decode(bytes).map_err(|error| format!("the job can't be read: {error}"))?;
        if job.count == 0 {
            return Err("the job can't be read: it has no tasks".to_string());
        }
        Ok(Self {
            count: job.count,
            each: job.each,
            command: job.command,
            max_duration: job.max_duration_ms.map(Duration::from_millis),
            follow: job.follow,
            label: job.label,
            max_fail: job.max_fail,
        })
    }
}

/// How far a job has come, as it is kept.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) launched: u32,
    pub(super) failed: u32,
    pub(super) first_failure: Option<(i32, String)>,
    /// How often a task was launched, of those that were more than once.
    pub(super) again: BTreeMap<u32, u32>,
    ended: BTreeMap<u32, Vec<u8>>,
}

impl Kept {
    /// What a scheduler before this one has kept.
    pub(super) fn restore(state: Vec<StateEntry>) -> Self {
        let mut kept = Self::default();
        for StateEntry { key, value } in state {
            let number = |prefix: &str| key.strip_prefix(prefix).and_then(|number| number.parse::<u32>().ok());
            let value_number = || Some(u32::from_be_bytes(value.as_slice().try_into().ok()?));
            if let Some(group) = number(ENDED) {
                kept.ended.insert(group, value);
            } else if let Some((task, times)) = number(AGAIN).zip(value_number()) {
                kept.again.insert(task, times);
            } else if let (LAUNCHED, Some(launched)) = (key.as_str(), value_number()) {
                kept.launched = launched;
            } else if let (FAILED, Ok(failed)) = (key.as_str(), FailedBytes::decode(value.as_slice())) {
                kept.failed = failed.count;
                kept.first_failure = Some((failed.exit_code, failed.line));
            }
        }
        kept
    }

    pub(super) fn has_ended(&self, task: u32) -> bool {
        let (group, byte, bit) = place(task);
        self.ended.get(&group).is_some_and(|bits| bits.get(byte).is_some_and(|byte| byte & bit != 0))
    }

    /// Before these are launched: tasks and how often they were.
    pub(super) fn launch(&mut self, next: u32, tasks: &[(u32, u32)], seq: u64, calls: &mut Calls) {
        self.launched = next;
        for (task, times) in tasks.iter().filter(|(_, times)| *times > 1) {
            self.again.insert(*task, *times);
            calls.put_state(&format!("{AGAIN}{task}"), Some(times.to_be_bytes().to_vec()), 0);
        }
        calls.put_state(LAUNCHED, Some(next.to_be_bytes().to_vec()), seq);
    }

    pub(super) fn end(&mut self, task: u32, calls: &mut Calls) {
        let (group, byte, bit) = place(task);
        let bits = self.ended.entry(group).or_default();
        bits.resize(bits.len().max(byte + 1), 0);
        bits[byte] |= bit;
        calls.put_state(&format!("{ENDED}{group}"), Some(bits.clone()), 0);
    }

    pub(super) fn fail(&mut self, count: u32, first: &Failure, calls: &mut Calls) {
        let failed = FailedBytes { count, exit_code: first.exit_code, line: first.line.clone() };
        calls.put_state(FAILED, Some(failed.encode_to_vec()), 0);
    }
}

fn place(task: u32) -> (u32, usize, u8) {
    let within = task % GROUP;
    (task / GROUP, within as usize / 8, 1 << (within % 8))
}
