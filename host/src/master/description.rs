//! What a master keeps of a task's description. There may be a hundred thousand of them: as a message, most of it would be room for
//! what isn't there.

use std::time::Duration;

use mesos_plugin_api::v1::{AgentId, CommandInfo, ExecutorId, ExecutorInfo, Resources, TaskId, TaskInfo, VolumeMount};
use prost::Message;

/// A task's description: what the master looks at, and the rest for whoever lists it.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) id: TaskId,
    pub(super) agent_id: AgentId,
    pub(super) resources: Resources,
    pub(super) volumes: Vec<VolumeMount>,
    /// The message without these.
    rest: Box<[u8]>,
}

impl Description {
    /// Leaves out environment and data, which only the agent needs. Tasks come by the thousand: what is left out isn't copied first.
    pub(super) fn of(task: &TaskInfo) -> Self {
        let command = task.command.as_ref().map(|command| CommandInfo {
            argv: command.argv.clone(),
            shell: command.shell.clone(),
            environment: Vec::new(),
            uris: command.uris.clone(),
            user: command.user.clone(),
            working_directory: command.working_directory.clone(),
        });
        let executor =
            task.executor.as_ref().map(|executor| ExecutorInfo { config: None, command: None, ..executor.clone() });
        let rest = TaskInfo {
            name: task.name.clone(),
            command,
            executor,
            kill_grace_ms: task.kill_grace_ms,
            max_duration_ms: task.max_duration_ms,
            labels: task.labels.clone(),
            ..TaskInfo::default()
        };
        Self {
            id: task.id.clone(),
            agent_id: task.agent_id.clone(),
            resources: task.resources.clone(),
            volumes: task.volumes.clone(),
            rest: rest.encode_to_vec().into(),
        }
    }

    /// As it was described.
    pub(super) fn message(&self) -> TaskInfo {
        TaskInfo {
            id: self.id.clone(),
            agent_id: self.agent_id.clone(),
            resources: self.resources.clone(),
            volumes: self.volumes.clone(),
            ..TaskInfo::decode(&*self.rest).expect("it was encoded here")
        }
    }

    /// What it has of reservations.
    pub(super) fn reserved(&self) -> Resources {
        self.volumes.iter().filter_map(|mount| mount.reserved.as_ref()).sum()
    }

    /// What it has beside that.
    pub(super) fn ordinary(&self) -> Resources {
        self.resources.checked_sub(&self.reserved()).expect("a part of what it has is reserved")
    }

    /// Between TERM and KILL.
    pub(super) fn kill_grace(&self) -> Duration {
        self.message().kill_grace()
    }

    /// The executor that it shares, if it is no command.
    pub(super) fn executor_id(&self) -> Option<ExecutorId> {
        self.message().executor.map(|executor| executor.id)
    }
}

#[cfg(test)]
mod tests {
    use mesos_plugin_api::v1::{CommandInfo, EnvironmentVariable, ExecutorInfo};

    use super::*;

    #[test]
    fn all_but_environment_and_data_is_kept() {
        let mut command = CommandInfo::argv(["/bin/true", "argument"]);
        let described = |command| TaskInfo {
            executor: Some(ExecutorInfo { id: ExecutorId::new("e"), ..ExecutorInfo::default() }),
            volumes: vec![VolumeMount {
                name: "v".into(),
                reserved: Some(Resources::new(1.0, 0.0)),
                ..Default::default()
            }],
            max_duration_ms: Some(7),
            ..TaskInfo::command("t", AgentId::new("a"), Resources::new(3.0, 5.0), command)
        };
        let expected = described(command.clone());
        command.environment = vec![EnvironmentVariable { name: "X".into(), ..Default::default() }];
        let description = Description::of(&TaskInfo { data: Some(vec![1]), ..described(command) });
        assert_eq!(description.message(), expected);
        assert_eq!(description.executor_id(), Some(ExecutorId::new("e")));
        assert_eq!(description.ordinary(), Resources::new(2.0, 5.0));
    }
}
