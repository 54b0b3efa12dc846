//! The logic of the mpi plugin: placement, PMI-1, Open MPI's daemons; no I/O.
//!
//! ```text
//! arguments ─▶ Job ─▶ framework ──Order──▶ executor, one a node ──▶ ranks        (MPICH, Intel MPI: PMI-1 by pmi_server)
//!                        ◀──────Report───────┘                └───▶ mpirun ─▶ daemons ─▶ ranks       (Open MPI: openmpi)
//! ```

pub mod arguments;
pub mod barrier;
pub mod capacity;
pub mod environment;
pub mod executor;
pub mod framework;
pub mod hostlist;
pub mod inspect;
pub mod openmpi;
pub mod outcome;
pub mod output;
pub mod placement;
pub mod pmi1;
pub mod pmi_server;
pub mod readers;
pub mod shared_memory;
#[cfg(test)]
mod tests;
pub mod time_limit;

/// The messages between the three halves, made from `proto/mpi.proto`.
#[allow(missing_docs, clippy::all)]
#[rustfmt::skip]
pub mod messages {
    include!(concat!(env!("OUT_DIR"), "/mesos.mpi.rs"));
}

pub use executor::NodeExecutor;
pub use framework::JobFramework;
