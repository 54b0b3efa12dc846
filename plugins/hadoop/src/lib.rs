//! The hadoop plugin: the shell around [`mesos_hadoop_core`] with sockets, files and Java.

use mesos_plugin_api::{Plugin, export_plugin};

/// Makes the three halves.
struct Hadoop;

impl Plugin for Hadoop {}

export_plugin! {
    plugin: Hadoop,
    name: "hadoop",
    declaration: include_str!("../plugin.toml"),
}
