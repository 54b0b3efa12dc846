//! The cluster of real processes, each of which can be killed, stopped and started again.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::network::{Machine, Network};
use harness::{Cmd, Mesos, Running, Skip, poll};
use nix::sys::signal::Signal;

use super::plan::Fault;

/// What an agent has.
const RESOURCES: &str = "cpus:4;mem:4096";
const PORT: u16 = 5050;
/// Only bounds the waits of the harness.
const DAEMON_LIMIT: Duration = Duration::from_secs(24 * 3600);
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A master on the hub and an agent on each machine. Ends in the order of the fields: processes, what they left, machines.
pub struct Machines {
    agents: Vec<Running>,
    master: Running,
    pub home: Arc<Mesos>,
    network: Network,
}

impl Machines {
    /// Returns when all agents are registered; why not, where machines can't be made.
    pub fn start(count: u8) -> Result<Result<Machines, Skip>> {
        let network = match Network::new(count) {
            Ok(network) => network,
            Err(skip) => return Ok(Err(skip)),
        };
        let home = Arc::new(Mesos::new());
        let master = start_master(&home, &network);
        let mut machines = Machines { agents: Vec::new(), master, home, network };
        let ready = |machines: &Machines, count: usize| {
            poll::within(READY_WITHIN, || (machines.agents_listed() == Some(count)).then_some(()))
        };
        ready(&machines, 0).context("the master doesn't answer")?;
        for index in 0..usize::from(count) {
            let agent = start_agent(&machines.home, &machines.network, index);
            machines.agents.push(agent);
        }
        ready(&machines, count.into()).context("not all agents register")?;
        Ok(Ok(machines))
    }

    /// Makes commands for this cluster, for whoever runs them while faults are injected.
    pub fn commands(&self) -> impl Fn(&str) -> Cmd + Send + Sync + use<> {
        let (home, hub, address) = (self.home.clone(), self.network.hub.clone(), address(&self.network));
        move |verb| {
            let cmd = home.cmd([verb, "--master", &address]).on(&hub);
            cmd.env("MESOS_TOKEN_FILE", home.folder().join("master/token"))
        }
    }

    /// Begins a fault.
    pub fn begin(&mut self, fault: Fault) {
        match fault {
            Fault::KillMaster => self.master.signal(Signal::SIGKILL),
            Fault::PauseMaster => self.master.signal(Signal::SIGSTOP),
            Fault::KillAgent(agent) => self.agents[agent].signal(Signal::SIGKILL),
            Fault::PauseAgent(agent) => self.agents[agent].signal(Signal::SIGSTOP),
            Fault::Partition(agent) => self.network.cut(&self.network.machines[agent]),
        }
    }

    /// Ends it.
    pub fn heal(&mut self, fault: Fault) {
        match fault {
            Fault::KillMaster => self.master = start_master(&self.home, &self.network),
            Fault::PauseMaster => self.master.signal(Signal::SIGCONT),
            Fault::KillAgent(agent) => self.agents[agent] = start_agent(&self.home, &self.network, agent),
            Fault::PauseAgent(agent) => self.agents[agent].signal(Signal::SIGCONT),
            Fault::Partition(agent) => self.network.heal(&self.network.machines[agent]),
        }
    }

    /// Says which of the daemons has ended without being killed.
    pub fn check(&mut self) -> Result<()> {
        let all = std::iter::once(&mut self.master).chain(&mut self.agents);
        for (number, daemon) in all.enumerate() {
            if daemon.has_ended() {
                let name = if number == 0 { "the master".to_string() } else { format!("agent {number}") };
                bail!("{name} has ended by itself: {}", daemon.stderr().trim());
            }
        }
        Ok(())
    }

    fn agents_listed(&self) -> Option<usize> {
        let listed = (self.commands())("agents").args(["--output", "quiet"]).run();
        (listed.code == Some(0)).then(|| listed.stdout.lines().count())
    }
}

fn address(network: &Network) -> String {
    format!("{}:{PORT}", network.hub.address)
}

fn start_master(home: &Mesos, network: &Network) -> Running {
    let port = PORT.to_string();
    let cmd = home.cmd(["master", "--ip", &network.hub.address, "--port", &port, "--work-dir"]);
    cmd.arg(home.folder().join("master")).on(&network.hub).limit(DAEMON_LIMIT).start()
}

fn start_agent(home: &Mesos, network: &Network, index: usize) -> Running {
    let machine @ Machine { hostname, address: ip, .. } = &network.machines[index];
    let port = (PORT + 1).to_string();
    let cmd = home.cmd(["agent", "--master", &address(network), "--resources", RESOURCES]);
    let cmd = cmd.args(["--hostname", hostname, "--ip", ip, "--port", &port, "--work-dir"]);
    let cmd = cmd.arg(home.folder().join(format!("agent{}", index + 1))).on(machine);
    cmd.env("MESOS_TOKEN_FILE", home.folder().join("master/token")).limit(DAEMON_LIMIT).start()
}
