//! Real ZooKeeper servers: one or an ensemble of three on loopback, or one on each of some machines.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::jars::{self, Jar};
use crate::network::Machine;
use crate::{Cmd, Running, Skip, packages, poll};

/// On a machine of its own.
const CLIENT_PORT: u16 = 2181;
/// In milliseconds: sessions last at least two, and servers miss each other after ten.
const TICK: u32 = 500;
/// A loaded machine starts Java slowly.
const READY_WITHIN: Duration = Duration::from_secs(60);
const RUNS_AT_MOST: Duration = Duration::from_secs(3600);
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

/// Servers that end with this.
pub struct ZooKeeper {
    folder: TempDir,
    class_path: String,
    servers: Vec<Server>,
}

struct Server {
    /// Where it runs, if that isn't here.
    machine: Option<Machine>,
    client: SocketAddr,
    config: PathBuf,
    running: Option<Running>,
}

impl ZooKeeper {
    /// One server that is ready.
    ///
    /// # Errors
    /// The reason, where Java is missing and may not be installed.
    pub fn single() -> Result<ZooKeeper, Skip> {
        let mut all = ZooKeeper::prepared(1)?;
        all.start(0);
        Ok(all)
    }

    /// Three servers that have a leader.
    ///
    /// # Errors
    /// As for [`single`](Self::single).
    pub fn ensemble() -> Result<ZooKeeper, Skip> {
        let mut all = ZooKeeper::prepared(3)?;
        all.launch_missing();
        all.wait_until_ready();
        Ok(all)
    }

    /// An ensemble that has a leader, with a server on each of these.
    ///
    /// # Errors
    /// As for [`single`](Self::single).
    pub fn on(machines: &[Machine]) -> Result<ZooKeeper, Skip> {
        let places = machines.iter().map(|machine| {
            let ip = machine.address.parse().expect("it is an address");
            (Some(machine.clone()), SocketAddr::new(ip, CLIENT_PORT))
        });
        let mut all = ZooKeeper::of(places.collect())?;
        all.launch_missing();
        all.wait_until_ready();
        Ok(all)
    }

    /// One server that doesn't run yet.
    ///
    /// # Errors
    /// As for [`single`](Self::single).
    pub fn stopped() -> Result<ZooKeeper, Skip> {
        ZooKeeper::prepared(1)
    }

    fn prepared(count: u16) -> Result<ZooKeeper, Skip> {
        let (ip, port) = fresh_place();
        ZooKeeper::of((0..count).map(|number| (None, SocketAddr::new(ip, port + number))).collect())
    }

    fn of(places: Vec<(Option<Machine>, SocketAddr)>) -> Result<ZooKeeper, Skip> {
        let class_path = jars::class_path("zookeeper-3.9.4", JARS)?;
        let folder = tempfile::tempdir().expect("the folder for temporary files is writable");
        let servers = places.into_iter().enumerate().map(|(number, (machine, client))| Server {
            machine,
            client,
            config: folder.path().join(number.to_string()).join("zoo.cfg"),
            running: None,
        });
        let all = ZooKeeper { servers: servers.collect(), folder, class_path };
        all.configure();
        Ok(all)
    }

    fn configure(&self) {
        let peer = |(number, server): (usize, &Server)| {
            let (ip, port) = (server.client.ip(), server.client.port());
            format!("server.{}={ip}:{}:{}\n", number + 1, port + 10, port + 20)
        };
        let peers: String = self.servers.iter().enumerate().map(peer).collect();
        for (number, server) in self.servers.iter().enumerate() {
            let folder = server.config.parent().expect("it has a folder");
            fs::create_dir_all(folder).expect("our folder");
            fs::write(folder.join("myid"), (number + 1).to_string()).expect("our folder");
            let text = format!(
                "tickTime={TICK}\nmaxSessionTimeout=60000\ninitLimit=20\nsyncLimit=10\ndataDir={}\nclientPort={}\nclientPortAddress={}\nadmin.enableServer=false\n\
                 4lw.commands.whitelist=*\n{}",
                folder.display(),
                server.client.port(),
                server.client.ip(),
                if self.servers.len() > 1 { &peers } else { "" }
            );
            fs::write(&server.config, text).expect("our folder");
        }
    }

    /// As in a connect string, without `zk://` and the node.
    pub fn servers(&self) -> String {
        self.servers.iter().map(|server| server.client.to_string()).collect::<Vec<_>>().join(",")
    }

    /// `zk://…` with this node.
    pub fn address(&self, node: &str) -> String {
        format!("zk://{}{node}", self.servers())
    }

    /// A folder that ends with the servers.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a server that doesn't run, with what it has kept, and waits until it serves.
    pub fn start(&mut self, server: usize) {
        self.launch(server);
        self.wait_until_serving(server);
    }

    /// Ends it as a failing machine does.
    pub fn kill(&mut self, server: usize) {
        drop(self.servers[server].running.take().expect("it runs"));
    }

    /// It answers nobody from now on, and its connections stay.
    pub fn pause(&self, server: usize) {
        self.servers[server].running.as_ref().expect("it runs").signal(Signal::SIGSTOP);
    }

    /// It goes on where it was.
    pub fn go_on(&self, server: usize) {
        self.servers[server].running.as_ref().expect("it runs").signal(Signal::SIGCONT);
    }

    /// The one that leads an ensemble.
    pub fn leader(&self) -> usize {
        poll::until(READY_WITHIN, "an ensemble with a leader", || {
            (0..self.servers.len()).find(|server| self.mode(*server).as_deref() == Some("leader"))
        })
    }

    /// Waits until one of these leads.
    pub fn wait_for_leader_among(&self, servers: &[usize]) {
        poll::until(READY_WITHIN, "another leader", || {
            servers.iter().find(|server| self.mode(**server).as_deref() == Some("leader"))
        });
    }

    /// Waits until all servers that run serve.
    pub fn wait_until_ready(&mut self) {
        for server in 0..self.servers.len() {
            if self.servers[server].running.is_some() {
                self.wait_until_serving(server);
            }
        }
    }

    fn wait_until_serving(&mut self, server: usize) {
        poll::until(READY_WITHIN, "a ZooKeeper server that serves", || {
            self.assert_alive(server);
            self.mode(server)
        });
    }

    /// Starts those that don't run, with what they have kept, and doesn't wait until they serve.
    pub fn launch_missing(&mut self) {
        let missing: Vec<usize> =
            (0..self.servers.len()).filter(|server| self.servers[*server].running.is_none()).collect();
        missing.into_iter().for_each(|server| self.launch(server));
    }

    fn launch(&mut self, number: usize) {
        let server = &mut self.servers[number];
        assert!(server.running.is_none(), "server {number} runs already");
        let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
        let java = packages::find("java").expect("it was installed");
        let command = Cmd::new(java, self.folder.path())
            .args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &self.class_path, main])
            .arg(&server.config)
            .limit(RUNS_AT_MOST);
        let command = match &server.machine {
            Some(machine) => command.on(machine),
            None => command,
        };
        server.running = Some(command.start());
    }

    fn assert_alive(&mut self, server: usize) {
        let running = self.servers[server].running.as_mut().expect("it was started");
        assert!(!running.has_ended(), "ZooKeeper has ended: {}", running.stderr());
    }

    /// `standalone`, `leader` or `follower`; none while it doesn't serve.
    fn mode(&self, server: usize) -> Option<String> {
        let said = self.ask(server, "srvr")?;
        said.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_string)
    }

    /// What a server answers to one of ZooKeeper's words of four letters.
    pub fn ask(&self, server: usize, word: &str) -> Option<String> {
        let Server { machine, client, .. } = &self.servers[server];
        match machine {
            Some(machine) => machine.from_within(|| said(client, word)),
            None => said(client, word),
        }
    }
}

fn said(client: &SocketAddr, word: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(client, ANSWERS_WITHIN).ok()?;
    stream.set_read_timeout(Some(ANSWERS_WITHIN)).ok()?;
    stream.write_all(word.as_bytes()).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    Some(said)
}

/// An address and a port that no other test has: each process has addresses of its own, away from those that the kernel picks.
fn fresh_place() -> (IpAddr, u16) {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let [_, a, b, c] = (std::process::id() & 0x003f_ffff).to_be_bytes();
    let port = 20_000 + COUNT.fetch_add(1, Ordering::Relaxed) * 40;
    (IpAddr::from([127, 64 + a, b, c]), u16::try_from(port).expect("a test program starts a few"))
}

/// What a server needs of its release.
const JARS: &[Jar] = &[
    Jar {
        group: "org.apache.zookeeper",
        name: "zookeeper",
        version: "3.9.4",
        sha256: "7bb3bb38bbddbc71424c59a7a0b170a1b2147313a84c972225ab0568dab513bf",
    },
    Jar {
        group: "org.apache.zookeeper",
        name: "zookeeper-jute",
        version: "3.9.4",
        sha256: "bd9750935add09b6cb920f7bcf0fa7b9a8165c45cdafd8ee1fc6808c46ec9094",
    },
    Jar {
        group: "org.apache.yetus",
        name: "audience-annotations",
        version: "0.12.0",
        sha256: "ffb101fc066360ff3c77457c927fd7967fb096a6ee9e046ab7071447d8208efc",
    },
    Jar {
        group: "commons-io",
        name: "commons-io",
        version: "2.17.0",
        sha256: "4aa4ca48f3dfd30b78220b7881d8cb93eac4093ec94361b6befa9487998a550b",
    },
    Jar {
        group: "io.dropwizard.metrics",
        name: "metrics-core",
        version: "4.1.12.1",
        sha256: "cec34936faa625039f4e46123eccaa10a9eb9d9a40c6075830cd81330e259cf9",
    },
    Jar {
        group: "io.netty",
        name: "netty-buffer",
        version: "4.1.119.Final",
        sha256: "32226218d854c2e51d4935a7ebe4663b72ecb9af4da881b86bf518e61aed48d3",
    },
    Jar {
        group: "io.netty",
        name: "netty-common",
        version: "4.1.119.Final",
        sha256: "991a69b1594dcad9926e268e7e94530cfdaa89feef42af26922a302d3e2e9212",
    },
    Jar {
        group: "io.netty",
        name: "netty-handler",
        version: "4.1.119.Final",
        sha256: "9b49be98e36bb79a2025ffb5159aec87da2720cfa545f56de39c3bc108587b1b",
    },
    Jar {
        group: "io.netty",
        name: "netty-transport",
        version: "4.1.119.Final",
        sha256: "c0921ea0e79c3b936daabe08a26e926642a4ad24951d6115fb43362c21dfeb10",
    },
    Jar {
        group: "org.slf4j",
        name: "slf4j-api",
        version: "2.0.13",
        sha256: "e7c2a48e8515ba1f49fa637d57b4e2f590b3f5bd97407ac699c3aa5efb1204a9",
    },
    Jar {
        group: "org.xerial.snappy",
        name: "snappy-java",
        version: "1.1.10.5",
        sha256: "0f3f1857ed33116583f480b4df5c0218836c47bfbc9c6221c0d73f356decf37b",
    },
];
