//! No task id starts two processes.

use std::collections::BTreeMap;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{FrameworkId, TaskId};

use super::Invariant;
use crate::sight::Sight;

/// Where each task was started.
#[derive(Default)]
pub struct OneProcess {
    started: BTreeMap<(FrameworkId, TaskId), usize>,
}

impl Invariant for OneProcess {
    fn name(&self) -> &'static str {
        "invariant: no task starts twice"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        let Sight::TaskStarted { agent, framework, task, .. } = sight else { return Ok(()) };
        match self.started.insert(((*framework).clone(), (*task).clone()), *agent) {
            Some(before) => Err(format!("the task {task} of {framework} started on agents {before} and {agent}")),
            None => Ok(()),
        }
    }

    fn met(&self) -> u64 {
        self.started.len() as u64
    }
}
