//! The launchers, which are fake, and the processes that they would start.

use std::collections::{BTreeMap, BTreeSet};

use mesos_host::agent::{Event, Found, Launch, LocalId, Others, Refusal};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{CommandInfo, ExitStatus, FrameworkId, Reason, Resources, TaskId};

use super::{ExecutorProcess, Happening, Lane, World};
use crate::sight::Sight;
use crate::workload::program::Program;

/// What an agent asks of its launcher.
#[derive(Debug)]
pub(crate) enum Request {
    /// Start what was prepared.
    Launch { id: LocalId, launch: Box<Launch> },
    /// Signal all processes of a container.
    Signal { id: LocalId, signal: i32 },
    /// Say what there is.
    List,
}

/// A process on an agent's machine.
pub struct Process {
    /// The machine.
    pub agent: usize,
    /// Its launcher's incarnation.
    pub launcher: u64,
    /// The agent's name for its container.
    pub container: LocalId,
    /// What it is.
    pub kind: Kind,
    /// KILL has been sent.
    pub dying: bool,
    /// Its launcher was killed: nobody knows of it any more.
    pub orphan: bool,
}

/// What a process is.
pub enum Kind {
    /// A command task's.
    #[allow(missing_docs)]
    Command { framework: FrameworkId, task: TaskId, program: Program, resources: Resources },
    /// An executor's.
    Executor(Box<ExecutorProcess>),
}

impl Process {
    /// When its own deadline passes.
    pub fn due(&self) -> Option<Time> {
        match &self.kind {
            Kind::Command { .. } => None,
            Kind::Executor(executor) => executor.timers.values().min().copied(),
        }
    }
}

impl World {
    pub(super) fn request(&mut self, agent: usize, request: Request) {
        let (wait, incarnation) = (self.chance.wait(2, 300), self.agents[agent].launcher);
        self.follow(Lane::ToLauncher(agent), wait, Happening::LauncherTakes { agent, incarnation, request });
    }

    pub(super) fn launcher_takes(&mut self, agent: usize, incarnation: u64, request: Request) {
        if incarnation != self.agents[agent].launcher {
            return;
        }
        match request {
            Request::Launch { id, launch } => self.launch(agent, id, *launch),
            Request::Signal { id, signal } => {
                let of_container = |(pid, process): (&u64, &Process)| {
                    (process.agent == agent && process.launcher == incarnation && process.container == id)
                        .then_some(*pid)
                };
                if let Some(pid) = self.processes.iter().find_map(of_container) {
                    self.signal_process(pid, signal);
                }
            }
            Request::List => self.list(agent, incarnation),
        }
    }

    fn list(&mut self, agent: usize, launcher: u64) {
        let here = |process: &&Process| process.agent == agent && process.launcher == launcher && !process.orphan;
        let running = self.processes.values().filter(here).map(|process| (process.container, Found::Running));
        let mut containers: BTreeMap<LocalId, Found> = running.collect();
        containers.extend(self.agents[agent].ended.clone());
        // What others are, the agent itself knows.
        self.launcher_tells(agent, Event::Found { containers, others: Others::Unstarted });
    }

    fn launch(&mut self, agent: usize, id: LocalId, launch: Launch) {
        if self.chance.percent(1) {
            self.watch.counts.add("fault: launch failed", 1);
            let refusal = Refusal { reason: Reason::CommandNotLaunched, message: "cannot allocate memory".into() };
            self.agents[agent].ended.insert(id, Found::Failed(refusal.clone()));
            return self.launcher_tells(agent, Event::LaunchFailed { id, refusal });
        }
        let pid = self.next_pid();
        let launcher = self.agents[agent].launcher;
        let kind = match launch {
            Launch::Task(task) => {
                let framework = task.framework.id.clone().expect("always with an id");
                let program = Program::of(task.task.command.as_ref().unwrap_or(&CommandInfo::default()));
                let (task, resources) = (task.task.id.clone(), task.task.resources.clone());
                let sight = Sight::TaskStarted { agent, framework: &framework, task: &task, resources: &resources };
                self.watch.see(self.now, &sight);
                Kind::Command { framework, task, program, resources }
            }
            Launch::Executor(executor) => {
                let resources = executor.executor.resources.clone();
                self.watch.see(self.now, &Sight::Executor { agent, pid, resources: Some(&resources) });
                Kind::Executor(Box::new(ExecutorProcess::new(executor)))
            }
        };
        let ends = match &kind {
            Kind::Command { program, .. } => program.ends(),
            Kind::Executor(_) => None,
        };
        let process = Process { agent, launcher, container: id, kind, dying: false, orphan: false };
        let is_executor = matches!(process.kind, Kind::Executor(_));
        self.processes.insert(pid, process);
        self.launcher_tells(agent, Event::Launched { id });
        if let Some((wait, exit)) = ends {
            self.after(wait, Happening::ProcessEnds { pid, exit });
        }
        if is_executor {
            let wait = self.chance.wait(100, 5000);
            self.after(wait, Happening::ExecutorConnects { pid });
        }
    }

    pub(super) fn launcher_tells(&mut self, agent: usize, event: Event) {
        let (wait, incarnation) = (self.chance.wait(2, 300), self.agents[agent].incarnation);
        self.follow(Lane::FromLauncher(agent), wait, Happening::AgentHears { agent, incarnation, event });
    }

    /// All processes of the container get it.
    pub fn signal_process(&mut self, pid: u64, signal: i32) {
        let Some(process) = self.processes.get_mut(&pid) else { return };
        let stuck = self.agents[process.agent].stuck_until > self.now;
        let wait = match (&process.kind, signal) {
            (_, 9) if std::mem::replace(&mut process.dying, true) => return,
            (_, 9) if stuck => {
                self.watch.counts.add("fault: process that KILL does not end at once", 1);
                self.chance.ms(1000, 20_000)
            }
            (_, 9) => self.chance.ms(0, 5),
            (Kind::Command { program, .. }, _) => match program.heeds_term {
                Some(wait) => wait,
                None => return,
            },
            (Kind::Executor(_), _) => self.chance.ms(0, 20),
        };
        self.after(wait, Happening::ProcessEnds { pid, exit: ExitStatus::signal(signal) });
    }

    /// Nothing of its container is left; its launcher says so.
    pub(super) fn process_ends(&mut self, pid: u64, exit: ExitStatus) {
        let Some(process) = self.processes.remove(&pid) else { return };
        let agent = process.agent;
        self.watch.log(self.now, format_args!("agent {agent} process {pid}"), &exit);
        match process.kind {
            Kind::Command { framework, task, .. } => {
                self.watch.see(self.now, &Sight::TaskStopped { agent, framework: &framework, task: &task });
            }
            Kind::Executor(executor) => self.executor_ended(agent, pid, process.container, *executor),
        }
        if process.launcher == self.agents[agent].launcher && !process.orphan {
            let found = Found::Exited { exit, last_words: None, output_bytes: None };
            self.agents[agent].ended.insert(process.container, found);
            self.launcher_tells(
                agent,
                Event::Exited { id: process.container, exit, last_words: None, output_bytes: None },
            );
        }
    }

    /// Whose tasks run where, leaving out what nobody knows of.
    pub fn running_tasks(&self) -> BTreeSet<(FrameworkId, TaskId, String)> {
        let mut running = BTreeSet::new();
        for process in self.processes.values().filter(|process| !process.orphan) {
            let host = &self.agents[process.agent].hostname;
            match &process.kind {
                Kind::Command { framework, task, .. } => {
                    running.insert((framework.clone(), task.clone(), host.clone()));
                }
                Kind::Executor(executor) => {
                    let framework = executor.framework();
                    running.extend(executor.tasks().map(|task| (framework.clone(), task.clone(), host.clone())));
                }
            }
        }
        running
    }

    /// KILL to all that launchers of this machine know of. Whether there is anything.
    pub(super) fn end_processes_of(&mut self, agent: usize) -> bool {
        let known = |process: &Process| process.agent == agent && !process.orphan;
        let pids: Vec<u64> = self.processes.iter().filter(|(_, process)| known(process)).map(|(pid, _)| *pid).collect();
        pids.iter().for_each(|pid| self.signal_process(*pid, 9));
        !pids.is_empty()
    }

    /// It is killed. Its tasks run on and nobody knows of them; its agent ends and begins anew.
    pub fn launcher_dies(&mut self, agent: usize) -> bool {
        if self.agents[agent].core.is_none() {
            return false;
        }
        self.watch.log(self.now, format_args!("agent {agent} launcher"), &"dies");
        self.agents[agent].launcher += 1;
        self.agents[agent].ended.clear();
        let orphans: Vec<u64> =
            self.processes.iter().filter(|(_, process)| process.agent == agent).map(|(pid, _)| *pid).collect();
        for pid in orphans {
            self.abandon_process(pid);
        }
        let incarnation = self.agents[agent].incarnation;
        let event = Event::LauncherLost { cause: "its channel is closed".into() };
        let wait = self.chance.ms(0, 20);
        self.follow(Lane::FromLauncher(agent), wait, Happening::AgentHears { agent, incarnation, event });
        true
    }

    /// What nobody knows of is left out of all sums until launchers adopt: see `Process::orphan`.
    fn abandon_process(&mut self, pid: u64) {
        let Some(process) = self.processes.get_mut(&pid).filter(|process| !process.orphan) else { return };
        process.orphan = true;
        let agent = process.agent;
        match &process.kind {
            Kind::Command { framework, task, .. } => {
                let (framework, task) = (framework.clone(), task.clone());
                self.watch.see(self.now, &Sight::TaskStopped { agent, framework: &framework, task: &task });
            }
            // An executor's channel to the launcher is closed with it: it ends.
            Kind::Executor(executor) => {
                let framework = executor.framework();
                for task in executor.tasks() {
                    self.watch.see(self.now, &Sight::TaskStopped { agent, framework: &framework, task });
                }
                self.watch.see(self.now, &Sight::Executor { agent, pid, resources: None });
                let wait = self.chance.ms(0, 100);
                self.after(wait, Happening::ProcessEnds { pid, exit: ExitStatus::code(1) });
            }
        }
    }

    /// The machine loses its power: nothing runs on, nobody is told.
    pub fn machine_dies(&mut self, agent: usize) -> bool {
        let connection = self.agents[agent].connection;
        if let Some(connection) = connection {
            self.net.cut(connection, &mut self.chance);
            let wait = self.chance.ms(5_000, 30_000);
            self.after(wait, Happening::Noticed { connection, client: false });
        }
        let pids: Vec<u64> =
            self.processes.iter().filter(|(_, process)| process.agent == agent).map(|(pid, _)| *pid).collect();
        for pid in pids {
            self.process_ends(pid, ExitStatus::signal(9));
        }
        self.agents[agent].launcher += 1;
        self.agents[agent].boots += 1;
        self.agents[agent].ended.clear();
        self.agent_dies(agent)
    }
}
