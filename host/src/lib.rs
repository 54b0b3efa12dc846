//! Master, agent, allocator, framework runner and launcher of mesos, as a library.

pub mod allocator;
