//! What peers may not ask for. Each refusal is a line for people.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{
    AgentId, AgentInfo, ExecutorId, FrameworkInfo, GangRequest, Resources, TaskInfo, VolumeMount,
};

use super::offers::Left;
use super::volumes::VolumeKey;

/// An agent's word about itself, in canonical form.
pub(super) fn check_agent(mut info: AgentInfo) -> Result<AgentInfo, String> {
    if info.hostname.is_empty() || info.hostname.chars().any(char::is_whitespace) {
        return Err(format!("{:?} is no host name; give one with --hostname", info.hostname));
    }
    info.resources = info.resources.checked().map_err(|error| format!("the agent's resources are wrong: {error}"))?;
    Ok(info)
}

/// A framework's word about itself.
pub(super) fn check_framework(info: &FrameworkInfo) -> Result<(), String> {
    let unfit = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if info.name.is_empty() || info.name.len() > 128 || info.name.contains(unfit) {
        return Err(format!("{:?} is no framework name: 1 to 128 characters without spaces or slashes", info.name));
    }
    if info.role.is_empty() || info.role.contains(unfit) {
        return Err(format!("{:?} is no role: at least one character, no spaces or slashes", info.role));
    }
    if info.user.is_empty() {
        return Err(format!("the framework {:?} names no user", info.name));
    }
    Ok(())
}

/// A gang request, in canonical form; what can't be placed, the allocator refuses.
pub(super) fn check_gang(mut request: GangRequest) -> Result<GangRequest, String> {
    request.per_slot = request.per_slot.checked().map_err(|error| format!("per slot: {error}"))?;
    request.per_agent = match request.per_agent {
        Some(resources) => Some(resources.checked().map_err(|error| format!("per agent: {error}"))?),
        None => None,
    };
    Ok(request)
}

/// What a task is checked against.
pub(super) struct Terms<'a> {
    pub(super) now: Time,
    /// What is left of the offers.
    pub(super) left: &'a mut Left,
    /// The offers' end.
    pub(super) until: Option<Time>,
    /// Whether an executor runs there already, or starts with an earlier task of the same accept.
    pub(super) runs: &'a dyn Fn(&AgentId, &ExecutorId) -> bool,
    /// The framework's volume that a mount means on an agent, if it is there.
    pub(super) volume: &'a dyn Fn(&VolumeMount, &AgentId) -> Option<VolumeKey>,
    pub(super) id_in_use: bool,
}

/// Brings the task into canonical form and takes what it needs, its executor's first start included, out of `left`.
pub(super) fn check_task(task: &mut TaskInfo, terms: Terms<'_>) -> Result<(), String> {
    if let Some(problem) = task.id.problem() {
        return Err(format!("its id {problem}"));
    }
    if terms.id_in_use {
        return Err("its id is in use by a task that has not ended".to_string());
    }
    task.resources = std::mem::take(&mut task.resources).checked().map_err(|error| error.to_string())?;
    match (&task.command, &mut task.executor) {
        (Some(_), Some(_)) | (None, None) => {
            return Err("it wants exactly one of a command and an executor".to_string());
        }
        (Some(command), None) if command.argv.is_empty() == command.shell.is_none() => {
            return Err("its command wants exactly one of argv and shell".to_string());
        }
        (None, Some(executor)) => {
            if let Some(problem) = executor.id.problem() {
                return Err(format!("its executor's id {problem}"));
            }
            let resources = std::mem::take(&mut executor.resources).checked();
            executor.resources = resources.map_err(|error| format!("its executor: {error}"))?;
        }
        (Some(_), None) => {}
    }
    if task.resources.is_empty() && task.executor.is_none() {
        return Err("it asks for no resources".to_string());
    }
    if let Some(until) = terms.until {
        if task.over_within().is_none_or(|over| terms.now + over > until) {
            return Err(format!(
                "the offer is held for a gang in {:.1} s; only tasks whose max_duration and grace end before may use it",
                until.since(terms.now).as_secs_f64()
            ));
        }
        if task.executor.as_ref().is_some_and(|executor| !(terms.runs)(&task.agent_id, &executor.id)) {
            return Err("the offer is held for a gang, and the executor it would start has no end".to_string());
        }
    }
    let (needed, reserved) = take_reserved(task, &terms)?;
    let executor = task.executor.as_ref().filter(|executor| !(terms.runs)(&task.agent_id, &executor.id));
    // One that lives on its volume's reservation alone needs no other offer of the agent.
    if !needed.is_empty() || executor.is_some() || reserved.is_empty() {
        terms.left.take(&task.agent_id, [&needed].into_iter().chain(executor.map(|executor| &executor.resources)))?;
    }
    terms.left.reserved.extend(reserved);
    Ok(())
}

/// Notes at each mount what comes out of its volume's reservation; says what the task needs beside, and what is left of each.
fn take_reserved(
    task: &mut TaskInfo,
    terms: &Terms<'_>,
) -> Result<(Resources, BTreeMap<VolumeKey, Resources>), String> {
    let mut needed = task.resources.clone();
    let mut reserved = BTreeMap::new();
    let (mut names, mut paths) = (BTreeSet::new(), BTreeSet::new());
    for mount in &mut task.volumes {
        if let Some(problem) = mount.path_problem() {
            return Err(problem);
        }
        if !names.insert(mount.name.clone()) || !paths.insert(mount.path.clone()) {
            return Err(format!("it mounts the volume {} twice, or two at {}", mount.name, mount.path));
        }
        mount.reserved = None;
        let key = (terms.volume)(mount, &task.agent_id).ok_or_else(|| {
            format!("its framework has no volume {:?} on agent {}; see 'mesos volumes'", mount.name, task.agent_id)
        })?;
        if let Some(left) = terms.left.reserved.get(&key) {
            let part = needed.common(left);
            needed = needed.checked_sub(&part).expect("both have it");
            reserved.insert(key, left.checked_sub(&part).expect("both have it"));
            mount.reserved = Some(part).filter(|part| !part.is_empty());
        }
    }
    Ok((needed, reserved))
}
