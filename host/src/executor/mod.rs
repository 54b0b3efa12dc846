//! The executor's process: stands between an agent and a plugin's executor half.
pub mod frames;

/// The first argument of an executor's process.
pub const MARKER: &str = "mesos-executor";
/// Names the agent's socket.
pub const VARIABLE_AGENT_SOCKET: &str = "MESOS_EXECUTOR_SOCKET";
/// Proves to the agent which executor it is.
pub const VARIABLE_TOKEN: &str = "MESOS_EXECUTOR_TOKEN";
/// Names the plugin's file.
pub const VARIABLE_PLUGIN: &str = "MESOS_EXECUTOR_PLUGIN";
/// The framework's id.
pub const VARIABLE_FRAMEWORK_ID: &str = "MESOS_FRAMEWORK_ID";
/// The executor's id.
pub const VARIABLE_EXECUTOR_ID: &str = "MESOS_EXECUTOR_ID";
