//! Both halves together, in memory: a fake master, the executors of its agents, and scripted processes.

mod failures;
mod input;
mod mpirun;
mod pmi;
mod world;
