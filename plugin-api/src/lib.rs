//! The words, traits and stable ABI that mesos plugins are written against.

pub mod abi;
pub mod declaration;
