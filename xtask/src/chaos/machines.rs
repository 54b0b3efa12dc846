//! The cluster of real processes, each of which can be killed, stopped and started again.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use harness::network::{Machine, Network};
use harness::processes::{self, Process};
use harness::{Cmd, Mesos, Running, Skip, ZooKeeper, poll};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plan::Fault;

/// Machines with an agent and its launcher.
pub const AGENTS: usize = 4;
/// Machines with a master and a ZooKeeper server.
pub const MASTERS: usize = 3;

/// What an agent has.
const RESOURCES: &str = "cpus:4;mem:4096";
const PORT: &str = "5050";
/// Only bounds the waits of the harness.
const DAEMON_LIMIT: Duration = Duration::from_secs(24 * 3600);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// Ends in the order of the fields: processes, what they left, machines.
pub struct Machines {
    agents: Vec<Running>,
    /// None while one is killed.
    masters: Vec<Option<Running>>,
    zookeeper: ZooKeeper,
    pub home: Arc<Mesos>,
    network: Network,
    /// How often a master ended by itself, as one does that may have lost the lead, and was started again.
    pub resigned: usize,
}

impl Machines {
    /// Returns when all agents are registered; why not, where machines can't be made.
    pub fn start() -> Result<Result<Machines, Skip>> {
        let prepare = || {
            let network = Network::new((AGENTS + MASTERS) as u8)?;
            Ok((ZooKeeper::on(&network.machines[AGENTS..])?, network))
        };
        let (zookeeper, network) = match prepare() {
            Ok(parts) => parts,
            Err(skip) => return Ok(Err(skip)),
        };
        let home = Arc::new(Mesos::new());
        make_token(&token(&home))?;
        let mut machines = Machines { agents: Vec::new(), masters: Vec::new(), zookeeper, home, network, resigned: 0 };
        machines.masters = (0..MASTERS).map(|index| Some(machines.start_master(index))).collect();
        machines.agents = (0..AGENTS).map(|index| machines.start_agent(index)).collect();
        machines.wait_until_whole().context("not all agents register")?;
        Ok(Ok(machines))
    }

    /// Makes commands for this cluster, for whoever runs them while faults are injected.
    pub fn commands(&self) -> impl Fn(&str) -> Cmd + Send + Sync + use<> {
        let (home, hub, address) = (self.home.clone(), self.network.hub.clone(), self.address());
        move |verb| home.cmd([verb, "--master", &address]).on(&hub).env("MESOS_TOKEN_FILE", token(&home))
    }

    /// Begins a fault. True unless it came to nothing, as there was nothing to hit.
    pub fn begin(&mut self, fault: Fault) -> bool {
        match fault {
            // Killed by the harness when it is dropped.
            Fault::KillMaster(master) => drop(self.masters[master].take()),
            Fault::PauseMaster(master) => self.signal_master(master, Signal::SIGSTOP),
            Fault::KillZooKeeper(server) => self.zookeeper.kill(server),
            Fault::KillZooKeeperLeader => {
                let leader = self.zookeeper.leader();
                self.zookeeper.kill(leader);
            }
            Fault::PauseZooKeeper(server) => self.zookeeper.pause(server),
            Fault::KillAgent(agent) => self.agents[agent].signal(Signal::SIGKILL),
            Fault::PauseAgent(agent) => self.agents[agent].signal(Signal::SIGSTOP),
            Fault::KillLauncher(agent) => return self.kill_launcher(agent),
            Fault::Partition(machine) => self.network.cut(&self.network.machines[machine]),
        }
        true
    }

    /// Ends it.
    pub fn heal(&mut self, fault: Fault) {
        match fault {
            Fault::KillMaster(master) => self.masters[master] = Some(self.start_master(master)),
            Fault::PauseMaster(master) => self.signal_master(master, Signal::SIGCONT),
            Fault::KillZooKeeper(_) | Fault::KillZooKeeperLeader => self.zookeeper.launch_missing(),
            Fault::PauseZooKeeper(server) => self.zookeeper.go_on(server),
            Fault::KillAgent(agent) => self.agents[agent] = self.start_agent(agent),
            Fault::PauseAgent(agent) => self.agents[agent].signal(Signal::SIGCONT),
            // Its agent starts another.
            Fault::KillLauncher(_) => {}
            Fault::Partition(machine) => self.network.heal(&self.network.machines[machine]),
        }
    }

    /// What a supervisor does: a master that may have lost the lead ends by itself, and is started again.
    ///
    /// # Errors
    /// One ended in another way.
    pub fn tend(&mut self) -> Result<()> {
        for index in 0..MASTERS {
            let Some(master) = self.masters[index].take_if(|master| master.has_ended()) else { continue };
            let ended = master.wait();
            let in_order = ended.code == Some(1) && !ended.stderr.contains("panicked");
            ensure!(in_order, "master {index} has ended with {:?}: {}", ended.code, ended.stderr.trim());
            self.resigned += 1;
            self.masters[index] = Some(self.start_master(index));
        }
        Ok(())
    }

    /// Says which of the agents has ended without being killed.
    pub fn check(&mut self) -> Result<()> {
        for (number, agent) in self.agents.iter_mut().enumerate() {
            ensure!(!agent.has_ended(), "agent {} has ended by itself: {}", number + 1, agent.stderr().trim());
        }
        Ok(())
    }

    /// Waits until a master leads and all agents are there.
    pub fn wait_until_whole(&mut self) -> Result<()> {
        let commands = self.commands();
        let listed = || {
            self.tend().ok()?;
            let listed = commands("agents").args(["--output", "quiet"]).run();
            (listed.code == Some(0) && listed.stdout.lines().count() == AGENTS).then_some(())
        };
        poll::within(READY_WITHIN, listed).context("the cluster isn't whole after a minute")
    }

    fn address(&self) -> String {
        self.zookeeper.address("/mesos")
    }

    fn signal_master(&self, master: usize, signal: Signal) {
        self.masters[master].as_ref().expect("one fault at a time").signal(signal);
    }

    fn kill_launcher(&self, agent: usize) -> bool {
        let folder = self.work_dir("agent", agent).display().to_string();
        let Some(launcher) = processes::naming(&folder).into_iter().find(Process::is_launcher) else { return false };
        kill(Pid::from_raw(launcher.pid), Signal::SIGKILL).is_ok()
    }

    fn start_master(&self, index: usize) -> Running {
        let machine = &self.network.machines[AGENTS + index];
        let cmd = self.home.cmd(["master", "--zk", &self.address(), "--zk-session-timeout", "4s"]);
        let cmd = cmd.args(["--ip", &machine.address, "--port", PORT, "--token-file"]).arg(token(&self.home));
        cmd.arg("--work-dir").arg(self.work_dir("master", index)).on(machine).limit(DAEMON_LIMIT).start()
    }

    fn start_agent(&self, index: usize) -> Running {
        let machine @ Machine { hostname, address: ip, .. } = &self.network.machines[index];
        let cmd = self.home.cmd(["agent", "--master", &self.address(), "--resources", RESOURCES]);
        let cmd = cmd.args(["--hostname", hostname, "--ip", ip, "--port", PORT, "--work-dir"]);
        let cmd = cmd.arg(self.work_dir("agent", index)).on(machine);
        cmd.env("MESOS_TOKEN_FILE", token(&self.home)).limit(DAEMON_LIMIT).start()
    }

    fn work_dir(&self, kind: &str, index: usize) -> PathBuf {
        self.home.folder().join(format!("{kind}{}", index + 1))
    }
}

/// All masters have the same.
fn token(home: &Mesos) -> PathBuf {
    home.folder().join("token")
}

fn make_token(path: &std::path::Path) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    // It guards nothing but namespaces that nobody else is in.
    Ok(std::io::Write::write_all(&mut file, "chaos".repeat(10).as_bytes())?)
}
