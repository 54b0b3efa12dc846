//! The `mesos` command.
fn main() {}
