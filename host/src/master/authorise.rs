//! Who may do what. One user's caller acts for that user alone; access lists will be asked here too.

use super::Caller;
use super::frameworks::Framework;
use super::volumes::VolumeKey;
use mesos_plugin_api::v1::{FrameworkInfo, TaskInfo};

/// Whether a caller may subscribe as this framework.
///
/// # Errors
/// A line for people.
pub(super) fn subscribe(caller: &Caller, info: &FrameworkInfo) -> Result<(), String> {
    match &caller.user {
        Some(user) if *user != info.user => Err(format!(
            "{user} may not run tasks as {}: on this machine everybody runs them as themselves, and root as anybody",
            info.user
        )),
        _ => Ok(()),
    }
}

/// Whether a framework whose scheduler may act for `user` alone, or for all if `None`, may run a task as whom it says.
///
/// # Errors
/// A line for people.
pub(super) fn run(user: Option<&str>, task: &TaskInfo) -> Result<(), String> {
    let executor = task.executor.as_ref().and_then(|executor| executor.command.as_ref());
    let wanted = task.command.iter().chain(executor).filter_map(|command| command.user.as_deref());
    match user.zip(wanted.into_iter().find(|wanted| Some(*wanted) != user)) {
        Some((user, wanted)) => Err(format!("{user} may not run it as {wanted}")),
        None => Ok(()),
    }
}

/// Whether a caller may say what becomes of agents.
///
/// # Errors
/// A line for people.
pub(super) fn operate(caller: &Caller) -> Result<(), String> {
    match &caller.user {
        Some(user) => Err(format!("{user} may not do that: agents serve all; root and the cluster's own user may")),
        None => Ok(()),
    }
}

/// Whether a caller may end, look into or speak to this framework.
///
/// # Errors
/// A line for people.
pub(super) fn control(caller: &Caller, framework: &Framework) -> Result<(), String> {
    match &caller.user {
        Some(user) if *user != framework.info.user => Err(format!(
            "{user} may not do that: {} ({}) is {}'s",
            framework.id, framework.info.name, framework.info.user
        )),
        _ => Ok(()),
    }
}

/// Whether a caller may destroy a volume.
///
/// # Errors
/// A line for people.
pub(super) fn destroy(caller: &Caller, volume: &VolumeKey) -> Result<(), String> {
    match &caller.user {
        Some(user) if *user != volume.user => Err(format!(
            "{user} may not do that: the volume {} of {} is {}'s",
            volume.name, volume.framework, volume.user
        )),
        _ => Ok(()),
    }
}
