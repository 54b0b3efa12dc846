//! All that an agent would have to read to be as it is now, in as few records as there can be.

use super::checkpoint::Position;
use super::core::Agent;
use super::event::{Checkpoint, Launch, LocalId};
use super::executors::{Executor, Phase};
use super::tasks::{Phase as TaskPhase, Task};

impl Agent {
    /// Takes the place of every checkpoint so far, those included that are not persisted yet.
    pub fn checkpoints(&self) -> Vec<Checkpoint> {
        let mut records = vec![Checkpoint::Counted { id: LocalId(self.id_last) }];
        if let Some(agent_id) = self.id().cloned() {
            records.push(Checkpoint::Registered { agent_id, epoch: self.epoch() });
        }
        for (id, executor) in &self.executors {
            records.push(Checkpoint::Launch { id: *id, launch: self.executor_launch(*id) });
            records.extend(of_exchange(*id, executor));
        }
        for (id, task) in self.tasks.iter().filter(|(_, task)| !self.is_removed(&task.framework_id) || task.is_live()) {
            records.extend(self.first_of_task(*id, task));
            let began = task.began.filter(|_| task.is_live());
            records.extend(began.map(|at| Checkpoint::Began { id: *id, at }));
            records.extend(of_updates(*id, task));
        }
        // What was said to a process names tasks.
        for (id, executor) in &self.executors {
            records.extend(executor.to_process.iter().map(|(seq, item)| Checkpoint::Tell {
                id: *id,
                seq,
                body: item.body.clone(),
                scheduler_seq: item.scheduler_seq,
                at: item.at,
            }));
            if let Some((exit, message)) = executor.ended.clone() {
                records.push(Checkpoint::Ended { id: *id, exit, message });
            }
        }
        records
    }

    fn first_of_task(&self, id: LocalId, task: &Task) -> Option<Checkpoint> {
        let launch = self.task_launch(id);
        match task.phase {
            // Nobody has been promised anything.
            TaskPhase::Queued => None,
            TaskPhase::WithExecutor { executor, .. } => Some(Checkpoint::Task { id, executor, task: launch }),
            TaskPhase::Ended => Some(Checkpoint::Refused { id, task: launch }),
            _ => Some(Checkpoint::Launch { id, launch: Launch::Task(launch) }),
        }
    }
}

fn of_exchange(id: LocalId, executor: &Executor) -> impl Iterator<Item = Checkpoint> {
    let position = Position {
        taken: executor.from_process.taken(),
        told: executor.to_process.settled(),
        said: executor.to_scheduler.settled(),
        heard: executor.from_scheduler.position(),
        was_connected: executor.phase == Phase::Running,
        is_stopping: executor.stopping,
    };
    let messages = executor.to_scheduler.iter();
    let taken = position.taken;
    let messages = messages.map(move |(seq, data)| Checkpoint::Message { id, taken, seq, data: data.clone() });
    std::iter::once(Checkpoint::Position { id, position }).chain(messages)
}

fn of_updates(id: LocalId, task: &Task) -> Vec<Checkpoint> {
    if task.phase == TaskPhase::Queued {
        return Vec::new();
    }
    let (statuses, is_acknowledged) = task.updates.kept();
    let last = statuses.last().and_then(|status| status.update_seq);
    let mut records: Vec<Checkpoint> =
        statuses.into_iter().map(|status| Checkpoint::Update { id, status, taken: None }).collect();
    if let Some(update_seq) = last.filter(|_| is_acknowledged) {
        records.push(Checkpoint::Acknowledged { id, update_seq });
    }
    if let Some((verdict, grace)) = task.verdict.clone().filter(|_| task.is_live()) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        records.push(Checkpoint::Kill { id, verdict, grace_ms });
    }
    records
}
