//! What an invariant can see: every word that is said, and what really happens on the machines.

use mesos_host::agent::Checkpoint;
use mesos_host::protocol::{agent_call, agent_event};
use mesos_host::registry::Operation;
use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::framework::call::Call as HalfCall;
use mesos_plugin_api::v1::scheduler::{call::Call, event::Event};
use mesos_plugin_api::v1::{FrameworkId, Resources, TaskId};

/// Something that has just happened. Agents and schedulers are named by their place in the world's lists.
#[derive(Debug)]
pub enum Sight<'a> {
    /// A master began, with nothing but what the registry of the one before has kept.
    MasterStarted,
    /// An agent's core has something to say to the master.
    AgentSaid {
        /// Which.
        agent: usize,
        /// What.
        call: &'a agent_call::Call,
    },
    /// An agent's checkpoint survives its process from now on.
    AgentKept {
        /// Which.
        agent: usize,
        /// What.
        checkpoint: &'a Checkpoint,
    },
    /// An agent's process began.
    AgentStarted {
        /// Which.
        agent: usize,
        /// What its machine has.
        resources: &'a Resources,
        /// With what the one before it has left; otherwise with nothing.
        recovered: bool,
    },
    /// The master is about to take this.
    MasterHeardAgent {
        /// From whom.
        agent: usize,
        /// What.
        call: &'a agent_call::Call,
    },
    /// The master says this.
    MasterToldAgent {
        /// To whom.
        agent: usize,
        /// What.
        event: &'a agent_event::Event,
    },
    /// The master is about to take this.
    MasterHeardScheduler {
        /// From whom.
        scheduler: usize,
        /// What.
        call: &'a Call,
    },
    /// The master says this.
    MasterToldScheduler {
        /// To whom.
        scheduler: usize,
        /// What.
        event: &'a Event,
    },
    /// A link ended, for the master.
    MasterLostScheduler {
        /// Whose.
        scheduler: usize,
    },
    /// All that follows at once from what the master heard has been said.
    MasterAnswered,
    /// The master wants this kept.
    MasterPersists {
        /// Its number.
        id: u64,
        /// What.
        operation: &'a Operation,
    },
    /// It is kept.
    MasterKept {
        /// Its number.
        id: u64,
    },
    /// A runner says this to the master.
    RunnerCalled {
        /// Whose.
        scheduler: usize,
        /// What.
        call: &'a Call,
    },
    /// A framework half is given this.
    HalfSaw {
        /// Whose.
        scheduler: usize,
        /// What.
        event: &'a HalfEvent,
    },
    /// A framework half answers.
    HalfCalled {
        /// Whose.
        scheduler: usize,
        /// What.
        call: &'a HalfCall,
    },
    /// A scheduler's process began; it may take a framework over.
    SchedulerStarted {
        /// Which.
        scheduler: usize,
    },
    /// A process of a task, or its share of an executor, has started.
    TaskStarted {
        /// On which machine.
        agent: usize,
        /// Whose.
        framework: &'a FrameworkId,
        /// Which.
        task: &'a TaskId,
        /// What it uses of the machine.
        resources: &'a Resources,
    },
    /// It uses nothing any more.
    TaskStopped {
        /// On which machine.
        agent: usize,
        /// Whose.
        framework: &'a FrameworkId,
        /// Which.
        task: &'a TaskId,
    },
    /// An executor's process lives, or has gone with all that it had launched.
    Executor {
        /// On which machine.
        agent: usize,
        /// Its process.
        pid: u64,
        /// What it uses of the machine, beside its tasks; none when it is gone.
        resources: Option<&'a Resources>,
    },
    /// An executor half is given a message of its scheduler.
    ExecutorHeard {
        /// Its process.
        pid: u64,
        /// The bytes.
        data: &'a [u8],
    },
}
