//! What breaks. Each of these can happen to the real system; how often differs from world to world.

use std::time::Duration;

use mesos_host::protocol::{KillCall, ListTasks, TaskSelector, TeardownCall, operator_call, operator_reply};

use crate::network::Peer;
use crate::world::{Kind, World};

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A connection loses its tail; each end notices by itself.
    Break,
    /// Nothing arrives on a connection for a while.
    Stall,
    /// Nothing passes between a peer and the master.
    Partition,
    /// A process gets no time to run: everything for it waits.
    Pause,
    /// An agent's process dies.
    AgentCrash,
    /// A launcher is killed.
    LauncherCrash,
    /// A machine loses its power.
    MachineCrash,
    /// A scheduler's process dies.
    SchedulerCrash,
    /// The master dies; the next one begins with a higher epoch.
    MasterCrash,
    /// A task's or an executor's process is killed from outside.
    ProcessKilled,
    /// The socket between an executor and its agent breaks.
    ExecutorBreak,
    /// What is to be kept takes long, at an agent.
    SlowAgentDisk,
    /// The same at the master.
    SlowMasterDisk,
    /// The master can't keep anything.
    FullMasterDisk,
    /// Processes don't end at once of KILL.
    StuckProcesses,
    /// A person kills a task.
    OperatorKill,
    /// A person ends a framework.
    OperatorTeardown,
    /// A person interrupts a job.
    Interrupt,
}

/// Each fault, its name in the table, and how likely it is beside the others.
pub const ALL: &[(Fault, &str, u32)] = &[
    (Fault::Break, "fault: connection broken", 20),
    (Fault::Stall, "fault: connection stalled", 12),
    (Fault::Partition, "fault: partition", 8),
    (Fault::Pause, "fault: process paused", 8),
    (Fault::AgentCrash, "fault: agent crash", 4),
    (Fault::LauncherCrash, "fault: launcher crash", 2),
    (Fault::MachineCrash, "fault: machine crash", 2),
    (Fault::SchedulerCrash, "fault: scheduler crash", 5),
    (Fault::MasterCrash, "fault: master crash", 1),
    (Fault::ProcessKilled, "fault: process killed", 8),
    (Fault::ExecutorBreak, "fault: executor's socket broken", 6),
    (Fault::SlowAgentDisk, "fault: disk of an agent gets slow", 4),
    (Fault::SlowMasterDisk, "fault: disk of the master gets slow", 3),
    (Fault::FullMasterDisk, "fault: disk of the master gets full", 2),
    (Fault::StuckProcesses, "fault: processes of a machine get stuck", 3),
    (Fault::OperatorKill, "fault: operator kills a task", 4),
    (Fault::OperatorTeardown, "fault: operator ends a framework", 1),
    (Fault::Interrupt, "fault: a person interrupts a job", 2),
];

/// What must have come of them, beside their names above.
pub const CONSEQUENCES: &[&str] = &[
    "fault: half-open connection",
    "fault: words late beside a new connection",
    "fault: effects lost at a crash",
    "fault: slow disk of the master",
    "fault: full disk of the master",
    "fault: slow disk of an agent",
    "fault: fetch failed",
    "fault: launch failed",
    "fault: process that KILL does not end at once",
    "fault: agent recovered from its checkpoints",
    "fault: death of the master heard of late",
    "fault: write of a dying master that it did not hear of",
];

impl World {
    /// Breaks something, if there is something of the kind that chance wants.
    pub fn break_something(&mut self) {
        let total: u32 = ALL.iter().map(|(_, _, weight)| weight).sum();
        let mut roll = self.chance.between(0, u64::from(total) - 1) as u32;
        for (fault, name, weight) in ALL {
            if roll < *weight {
                if self.strike(*fault) {
                    self.watch.counts.add(name, 1);
                }
                return;
            }
            roll -= weight;
        }
    }

    /// Whether there was something to strike.
    fn strike(&mut self, fault: Fault) -> bool {
        self.watch.log(self.now, format_args!("fault"), &fault);
        let agent = self.chance.below(self.agents.len());
        let soon = self.chance.ms(50, 10_000);
        match fault {
            Fault::Break => self.any_connection().is_some_and(|id| self.break_connection(id)),
            Fault::Stall => {
                let id = self.any_connection();
                id.into_iter().for_each(|id| self.net.stall(id, self.now + soon));
                id.is_some()
            }
            Fault::Partition => {
                let peer = self.any_peer();
                let length = self.chance.ms(100, 40_000);
                self.partition(peer, length);
                true
            }
            Fault::Pause => self.pause_somebody(soon),
            Fault::AgentCrash => {
                let struck = self.agent_dies(agent);
                self.start_agent_after(agent, soon);
                struck
            }
            Fault::LauncherCrash => self.launcher_dies(agent),
            Fault::MachineCrash => {
                let struck = self.machine_dies(agent);
                self.start_agent_after(agent, soon * 3);
                struck
            }
            Fault::SchedulerCrash => {
                let scheduler = self.chance.below(self.schedulers.len());
                let struck = self.scheduler_dies(scheduler);
                self.start_scheduler_after(scheduler, soon);
                struck
            }
            Fault::MasterCrash => {
                let struck = self.master_dies();
                self.start_master_after(soon);
                struck
            }
            Fault::ProcessKilled => {
                let pids: Vec<u64> = self.processes.keys().copied().collect();
                let pid = self.chance.pick(&pids).copied();
                pid.into_iter().for_each(|pid| self.signal_process(pid, 9));
                pid.is_some()
            }
            Fault::ExecutorBreak => {
                let executors = self.processes.iter().filter(|(_, p)| matches!(p.kind, Kind::Executor(_)));
                let pids: Vec<u64> = executors.map(|(pid, _)| *pid).collect();
                self.chance.pick(&pids).copied().is_some_and(|pid| self.break_executor(pid))
            }
            Fault::SlowAgentDisk => {
                self.agents[agent].slow_disk_until = self.now + soon;
                true
            }
            Fault::SlowMasterDisk => {
                self.master.slow_disk_until = self.now + soon;
                true
            }
            Fault::FullMasterDisk => {
                self.master.full_disk_until = self.now + soon;
                true
            }
            Fault::StuckProcesses => {
                self.agents[agent].stuck_until = self.now + soon * 2;
                true
            }
            Fault::OperatorKill => self.operator_kills(),
            Fault::OperatorTeardown => self.operator_tears_down(),
            Fault::Interrupt => self.interrupt(),
        }
    }

    fn any_connection(&mut self) -> Option<u64> {
        let ids = self.net.ids();
        self.chance.pick(&ids).copied()
    }

    fn any_peer(&mut self) -> Peer {
        let at = self.chance.below(self.agents.len() + self.schedulers.len());
        if at < self.agents.len() { Peer::Agent(at) } else { Peer::Scheduler(at - self.agents.len()) }
    }

    fn pause_somebody(&mut self, length: Duration) -> bool {
        let until = self.now + length;
        if self.chance.percent(25) {
            self.pause_master(until);
        } else {
            let peer = self.any_peer();
            self.pause_peer(peer, until);
        }
        true
    }

    fn interrupt(&mut self) -> bool {
        let jobs = self.schedulers.iter().enumerate();
        let jobs = jobs.filter(|(_, node)| node.runner.is_some() && !node.work.is_restarted());
        let jobs: Vec<usize> = jobs.map(|(at, _)| at).collect();
        let job = self.chance.pick(&jobs).copied();
        job.into_iter().for_each(|job| self.signal_scheduler(job, 2));
        job.is_some()
    }

    fn operator_kills(&mut self) -> bool {
        let rows = self.ask_master(operator_call::Call::ListTasks(ListTasks::default()));
        let task = |reply: operator_reply::Reply| match reply {
            operator_reply::Reply::Task(row) => Some((row.task.id, row.framework_id)),
            _ => None,
        };
        let tasks: Vec<_> = rows.into_iter().filter_map(task).collect();
        let Some((task, framework)) = self.chance.pick(&tasks).cloned() else { return false };
        let selector = TaskSelector { task: task.to_string(), framework: Some(framework.to_string()) };
        // Impatient people ask twice.
        for _ in 0..self.chance.between(1, 2) {
            self.ask_master(operator_call::Call::Kill(KillCall { task: selector.clone() }));
        }
        true
    }

    fn operator_tears_down(&mut self) -> bool {
        let known: Vec<_> = self.schedulers.iter().filter(|node| node.ended.is_none()).collect();
        let known: Vec<String> = known.iter().filter_map(|node| Some(node.known_as.as_ref()?.0.to_string())).collect();
        let Some(framework) = self.chance.pick(&known).cloned() else { return false };
        self.ask_master(operator_call::Call::Teardown(TeardownCall { framework, ..Default::default() }));
        true
    }
}
