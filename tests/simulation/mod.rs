//! The cluster in a seeded world: the real cores of master, agents, allocator and framework runners, the real halves of plugins,
//! and everything between them made of one seed.
//!
//! ```text
//!   workload/            world/                                                               world/
//!  ┌──────────┐  ┌─────────────────┐   network.rs     ┌────────┐   network.rs   ┌───────┐  ┌────────────────┐
//!  │ random   │  │ framework runner│──── streams ────▶│ master │◀── streams ────│ agent │─▶│ launcher: fake │
//!  │ mesos run│◀▶│   (real core)   │◀─ cut, stalled ──│ (real) │── partitioned ▶│ (real)│◀─│   processes    │
//!  │ mpi      │  └─────────────────┘                  └────────┘                └───────┘  └───────┬────────┘
//!  └──────────┘                                                                    ▲  frames       ▼
//!    the halves                                                                    └────────▶ executor halves
//!
//!  queue.rs: what happens next    faults.rs: what breaks next    chance.rs: the seed
//!  sight.rs ─▶ watch.rs ─▶ invariants/*.rs, counts.rs, the log and its hash
//! ```
//!
//! A world lives through a time of faults, is healed, and must come to rest: `life.rs`. What it can't show: threads, the
//! kernel, and the shells, which the integration tests look after.

pub mod chance;
pub mod queue;
pub mod network;
pub mod counts;
pub mod sight;
pub mod watch;
pub mod invariants;
pub mod world;
pub mod workload;
pub mod faults;
pub mod life;
pub mod lives;
pub mod seeds;
