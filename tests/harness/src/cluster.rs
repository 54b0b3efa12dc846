//! A cluster of real processes: on machines made of network namespaces, on loopback, or started by `mesos up`.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::time::Duration;

use crate::network::{Machine, Network};
use crate::{Cmd, Mesos, Running, Skip, poll};

/// What each agent has to offer.
pub const AGENT_RESOURCES: &str = "cpus:4;mem:4096";

const PORT: u16 = 5050;

/// Master and agents. Commands of a test are started with [`Cluster::mesos`], which finds the master by itself. Everything ends when
/// this is dropped, in the order of the fields: the processes, then what they left, then the machines.
pub struct Cluster {
    /// The agents in the order of their machines; empty for one that `mesos up` started.
    pub agents: Vec<Option<Running>>,
    /// The master; `None` for one that `mesos up` started.
    pub master: Option<Running>,
    /// The binary and its folders.
    pub home: Mesos,
    /// The machines; `None` on loopback.
    pub network: Option<Network>,
    address: Option<String>,
    /// Given to each master.
    options: Vec<String>,
}

impl Cluster {
    /// A master on the hub and an agent on each of `count` machines.
    ///
    /// # Errors
    /// The reason, where machines can't be made here.
    pub fn on_machines(count: u8) -> Result<Cluster, Skip> {
        let network = Network::new(count)?;
        Ok(Cluster::start(Some(network), count, &[]))
    }

    /// A master and `count` agents on loopback.
    pub fn on_loopback(count: u8) -> Cluster {
        Cluster::start(None, count, &[])
    }

    /// The same with more flags for the master.
    pub fn on_loopback_with(count: u8, options: &[&str]) -> Cluster {
        Cluster::start(None, count, options)
    }

    /// `mesos up --agents COUNT`.
    pub fn up(count: u8) -> Cluster {
        Cluster::up_with(count, AGENT_RESOURCES)
    }

    /// The same with other resources.
    pub fn up_with(count: u8, resources: &str) -> Cluster {
        let cluster = Cluster {
            agents: Vec::new(),
            master: None,
            home: Mesos::new(),
            network: None,
            address: None,
            options: Vec::new(),
        };
        let count = count.to_string();
        cluster.mesos(["up", "--agents", &count, "--resources", resources]).run().expect_success();
        cluster
    }

    /// A `mesos` command for this cluster. The place of `--master` is after the first argument, the verb.
    pub fn mesos<I: IntoIterator<Item: AsRef<OsStr>>>(&self, args: I) -> Cmd {
        let mut args = args.into_iter();
        let mut cmd = self.home.cmd(args.next());
        if let Some(address) = &self.address {
            cmd = cmd.args(["--master", address]);
        }
        if let Some(network) = &self.network {
            cmd = cmd.on(&network.hub).env("MESOS_TOKEN_FILE", self.token_file());
        }
        cmd.args(args)
    }

    /// Where the master puts the token that it makes beyond loopback.
    fn token_file(&self) -> std::path::PathBuf {
        self.home.folder().join("master/token")
    }

    /// The master's address.
    pub fn address(&self) -> &str {
        self.address.as_deref().expect("a cluster that `mesos up` started is found without an address")
    }

    /// The ids that a listing such as `agents` or `tasks` prints with `--output quiet`.
    pub fn ids(&self, verb: &str) -> Vec<String> {
        let listed = self.mesos([verb, "--output", "quiet"]).run().expect_success();
        listed.stdout.lines().map(str::to_string).collect()
    }

    /// Waits until that many agents are connected.
    pub fn wait_for_agents(&self, count: usize) {
        poll::until(Duration::from_secs(30), &format!("{count} agents"), || {
            let listed = self.mesos(["agents", "--output", "json"]).run();
            let agents: serde_json::Value = serde_json::from_str(&listed.stdout).ok()?;
            let connected = agents.as_array()?.iter().filter(|agent| agent["connected"] == true).count();
            (listed.code == Some(0) && connected == count).then_some(())
        });
    }

    /// Ends the cluster as a person would and asserts that it leaves nothing behind.
    #[track_caller]
    pub fn stop_and_assert_nothing_left(mut self) {
        if self.address.is_none() {
            self.mesos(["down"]).run().expect_success();
        }
        for daemon in self.agents.drain(..).flatten().chain(self.master.take()) {
            daemon.stop().expect_success();
        }
        self.home.assert_nothing_left();
    }

    /// Kills the agent's process, and nothing else on its machine.
    pub fn kill_agent(&mut self, index: usize) {
        let agent = self.agents[index].take().expect("it was not killed before");
        agent.signal(nix::sys::signal::Signal::SIGKILL);
        agent.wait();
    }

    /// Kills the master's process.
    pub fn kill_master(&mut self) {
        let master = self.master.take().expect("it was not killed before");
        master.signal(nix::sys::signal::Signal::SIGKILL);
        master.wait();
    }

    /// Starts a master with the address and the folder of the one that was killed.
    pub fn start_next_master(&mut self) {
        let (ip, port) = self.address().rsplit_once(':').expect("an address");
        self.master = Some(self.start_master(ip, port.parse().expect("a port")));
    }

    fn start(network: Option<Network>, count: u8, options: &[&str]) -> Cluster {
        let (ip, port) = match &network {
            Some(network) => (network.hub.address.clone(), PORT),
            None => ("127.0.0.1".to_string(), free_port()),
        };
        let address = Some(format!("{ip}:{port}"));
        let options = options.iter().map(ToString::to_string).collect();
        let mut cluster = Cluster { agents: Vec::new(), master: None, home: Mesos::new(), network, address, options };
        cluster.master = Some(cluster.start_master(&ip, port));
        cluster.wait_for_agents(0);
        cluster.agents = (0..count).map(|index| Some(cluster.start_agent(index, AGENT_RESOURCES))).collect();
        cluster.wait_for_agents(count.into());
        cluster
    }

    fn start_master(&self, ip: &str, port: u16) -> Running {
        let folder = self.home.folder().join("master");
        let mut cmd = self
            .home
            .cmd(["master", "--ip", ip, "--port", &port.to_string(), "--work-dir"])
            .arg(folder)
            .args(&self.options);
        if let Some(network) = &self.network {
            cmd = cmd.on(&network.hub);
        }
        cmd.limit(DAEMON_LIMIT).start()
    }

    /// Starts an agent on the machine of that index.
    pub fn start_agent(&self, index: u8, resources: &str) -> Running {
        let machine = self.network.as_ref().map(|network| &network.machines[usize::from(index)]);
        let folder = self.home.folder().join(format!("agent{}", index + 1));
        let (ip, port) = match machine {
            Some(Machine { address, .. }) => (address.as_str(), PORT + 1),
            None => ("127.0.0.1", free_port()),
        };
        let hostname = format!("m{}", index + 1);
        let place = ["--hostname", &hostname, "--ip", ip, "--port", &port.to_string()];
        let cmd = self.home.cmd(["agent", "--master", self.address(), "--resources", resources]).args(place);
        // What outlives an agent by design would make every test wait for its end; tests of that start their own.
        let cmd = cmd.args(["--on-agent-loss", "kill", "--work-dir"]).arg(folder).limit(DAEMON_LIMIT);
        let cmd = match machine {
            Some(machine) => cmd.on(machine).env("MESOS_TOKEN_FILE", self.token_file()),
            None => cmd,
        };
        cmd.start()
    }
}

/// A daemon runs as long as its test; this only bounds the wait for its end.
const DAEMON_LIMIT: Duration = Duration::from_secs(600);

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("loopback has free ports");
    listener.local_addr().expect("it is bound").port()
}
