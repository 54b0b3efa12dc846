//! The executor half with eyes: looks at the program when the task is launched, and leaves all else to the core.

use std::os::unix::ffi::OsStringExt;

use mesos_mpi_core::NodeExecutor;
use mesos_mpi_core::inspect::inspect;
use mesos_plugin_api::executor::Event;
use mesos_plugin_api::{Executor, ExecutorCalls, Time};

use crate::files::AgentFiles;

/// A node's executor that reads files.
pub(crate) struct InspectingExecutor {
    core: NodeExecutor,
}

impl InspectingExecutor {
    pub(crate) fn new(config: &[u8]) -> Result<Self, String> {
        Ok(Self { core: NodeExecutor::new(config)? })
    }

    fn inspect(&mut self, calls: &mut ExecutorCalls) {
        let (node, sandbox) = self.core.node();
        let (path, inspected) = inspect(node, sandbox.unwrap_or_default(), &AgentFiles);
        self.core.inspected(path.map(|path| path.into_os_string().into_vec()), inspected, calls);
    }
}

impl Executor for InspectingExecutor {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut ExecutorCalls) {
        let launched = matches!(event, Event::Launch(_));
        self.core.on_event(now, event, calls);
        if launched {
            self.inspect(calls);
        }
    }
}
