//! The core by its effects: given what the master and the shell say, when something happens, then this is wanted.

mod connection;
mod env;
mod executors;
mod hostile;
mod recovery;
mod tasks;
mod volumes;
