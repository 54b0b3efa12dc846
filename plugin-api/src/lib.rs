//! The words, traits and stable ABI that mesos plugins are written against.
//!
//! ```text
//! command half ──run_framework──▶ framework half ──calls──▶ (master, agents) ──events──▶ executor half
//!  in the CLI     request ▶ reply     pure                                                  pure, one an agent
//! ```
//!
//! [`v1`] holds the words of Mesos v1 as messages; [`Framework`], [`Executor`] and [`Plugin`] are the traits; [`FakeMaster`]
//! drives a framework half in tests.
//!
//! A whole plugin, to be built as a `cdylib` and put into the plugins folder:
//!
//! ```ignore
#![doc = include_str!("../examples/hello.rs")]
//! ```

mod time;
mod ids;
pub mod resources;
mod words;
pub mod command;
pub mod framework;
pub mod executor;
mod plugin;
mod shell;
pub mod declaration;
pub mod codec;
pub mod abi;
pub mod fake_master;

/// What nearly every plugin names.
pub mod prelude {
    pub use std::ops::ControlFlow;

    pub use crate::command::RunFramework;
    pub use crate::framework::Event;
    pub use crate::v1::{CommandInfo, Offer, Resources, TaskInfo, TaskState, TaskStatus};
    pub use crate::{
        Calls, CommandHost, Executor, ExecutorCalls, Framework, Injector, Invocation, Plugin, Time, WithShell,
        export_plugin,
    };
}

pub use command::{CommandHost, Invocation};
pub use executor::{Executor, ExecutorCalls};
pub use fake_master::FakeMaster;
pub use framework::{Calls, Framework};
pub use plugin::{Injector, Plugin};
pub use shell::WithShell;
pub use time::Time;
pub use words::{KILL_GRACE, VOLUME_NAME_MAX, volume_name_problem};

/// The messages of Mesos v1 as this cluster speaks them, made from `proto/*.proto`.
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/mesos.rs"));
}

/// The words of Mesos v1: ids, resources, offers, tasks, statuses; below it the calls and events.
pub mod v1 {
    pub use crate::generated::mesos::v1::*;
    pub use crate::ids::{AgentId, ExecutorId, FrameworkId, OfferId, TaskId};
    pub use crate::resources::Resources;
}
