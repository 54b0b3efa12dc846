//! The executor half with eyes and hands: looks at the program when the task is launched, removes what killed ranks leave in shared
//! memory, and leaves all else to the core.

use std::os::unix::ffi::OsStringExt;

use mesos_mpi_core::NodeExecutor;
use mesos_mpi_core::inspect::inspect;
use mesos_plugin_api::executor::Event;
use mesos_plugin_api::{Executor, ExecutorCalls, Time};

use crate::files::AgentFiles;
use crate::shared_memory::SharedMemory;

/// A node's executor that touches files.
pub(crate) struct InspectingExecutor {
    core: NodeExecutor,
    shared_memory: SharedMemory,
}

impl InspectingExecutor {
    pub(crate) fn new(config: &[u8]) -> Result<Self, String> {
        Ok(Self { core: NodeExecutor::new(config)?, shared_memory: SharedMemory::default() })
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
        // Calls are carried out afterwards: ranks that were launched just now aren't there yet.
        self.shared_memory.used(self.core.segments());
        if launched {
            self.inspect(calls);
        }
    }
}
