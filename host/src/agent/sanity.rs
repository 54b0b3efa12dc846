//! What holds after every event.

use std::collections::BTreeSet;

use mesos_plugin_api::v1::Resources;

use super::core::Agent;
use super::event::LocalId;
use super::tasks::Phase;

impl Agent {
    /// Holds after every event: what is free and what is used is what there is, and every index agrees with what it indexes.
    ///
    /// # Panics
    /// If it doesn't.
    pub fn sanity_check(&self) {
        self.check_resources();
        self.check_indexes();
        self.check_executors();
        for (id, task) in &self.tasks {
            assert!(task.phase != Phase::Queued || self.queue.contains(id), "task {id:?} waits in the queue");
        }
    }

    fn check_resources(&self) {
        let tasks = self.tasks.values().filter(|task| task.is_live() && task.phase != Phase::Queued);
        let executors = self.executors.values().filter(|executor| executor.is_live());
        let used = tasks.map(|task| &task.info.resources).chain(executors.map(|executor| &executor.info.resources));
        let all = self.free.clone() + &used.sum::<Resources>();
        assert_eq!(all, self.settings.info.resources, "free and used are all that there is");
    }

    fn check_indexes(&self) {
        assert_eq!(self.by_task.len(), self.tasks.len(), "each task has one name");
        for ((framework_id, task_id), id) in &self.by_task {
            let task = &self.tasks[id];
            assert!(task.framework_id == *framework_id && task.info.id == *task_id, "task {task_id} is {id:?}");
        }
        assert_eq!(self.by_executor.len(), self.executors.len(), "each executor has one name");
        for ((framework_id, executor_id), id) in &self.by_executor {
            let executor = &self.executors[id];
            assert!(
                executor.framework_id == *framework_id && executor.info.id == *executor_id,
                "executor {executor_id}"
            );
        }
        let tasks = self.tasks.iter().map(|(id, task)| (&task.framework_id, *id));
        let members = tasks.chain(self.executors.iter().map(|(id, executor)| (&executor.framework_id, *id)));
        let members: BTreeSet<_> = members.collect();
        let known: BTreeSet<_> =
            self.frameworks.iter().flat_map(|(name, known)| known.members.iter().map(move |id| (name, *id))).collect();
        assert_eq!(members, known, "frameworks have their members");
        assert!(self.frameworks.values().all(|framework| !framework.members.is_empty()), "others are forgotten");
    }

    fn check_executors(&self) {
        for (id, executor) in &self.executors {
            let with: BTreeSet<LocalId> =
                self.tasks.iter().filter(|(_, task)| task.executor() == Some(*id)).map(|(id, _)| *id).collect();
            assert_eq!(executor.tasks, with, "executor {id:?} has its tasks");
            assert!(executor.is_live() || with.is_empty(), "executor {id:?} ended with its tasks");
        }
    }
}
