//! A cluster inside this process: a master and agents that end with it.
//!
//! ```text
//! Cluster::builder().start() ──▶ master ◀──channels──▶ agent ──▶ launcher (a process of its own)
//!          .client() ──▶ what a framework runner or an operator needs
//!          .stop()   ──▶ tasks are killed, nothing is left
//! ```
//!
//! A program that embeds one calls [`crate::init`] first in its `main`. If the program is killed, the launcher notices, kills what
//! it launched and removes the work folder.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use mesos_plugin_api::v1::{Attribute, Resources};
use thiserror::Error;

use crate::agent::{self, AgentConfig, AgentError, AgentHandle, Bounds, MachineFiles};
use crate::hex::{fresh_random, hex};
use crate::launcher::{AgentLoss, SharedFolder};
use crate::master::MasterConfig;
use crate::master::shell::{Keeps, MasterHandle, MasterOptions, StartError};
use crate::protocol::client::{ClientError, MasterClient};
use crate::protocol::{ListAgents, operator_call};

/// Why no cluster starts in this process.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// Its folder can't be made.
    #[error("cannot make a work folder in {}: {cause}; name another with TMPDIR", path.display())]
    WorkDir {
        /// Where.
        path: PathBuf,
        /// As the system says it.
        cause: std::io::Error,
    },
    /// The master doesn't start.
    #[error(transparent)]
    Master(#[from] StartError),
    /// An agent doesn't start.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// An agent ended before it was registered.
    #[error("the agent of the embedded cluster ended: {0}")]
    AgentEnded(String),
    /// The master ended.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What the cluster is to be.
#[derive(Debug, Clone, Default)]
pub struct ClusterBuilder {
    agents: Option<usize>,
    resources: Option<Resources>,
    attributes: Vec<Attribute>,
    work_dir: Option<PathBuf>,
    program: Option<PathBuf>,
}

/// A cluster that runs. Stop it: dropping it leaves the end of its tasks to its launchers.
#[derive(Debug)]
pub struct Cluster {
    // In the order of their end.
    agents: Vec<AgentHandle>,
    master: MasterHandle,
    // Its last share is mostly ours; a launcher's if this process is killed.
    folder: SharedFolder,
}

impl ClusterBuilder {
    /// So many agents instead of one; each has the resources given.
    pub fn agents(mut self, count: usize) -> Self {
        self.agents = Some(count);
        self
    }

    /// What each agent has, instead of this machine's share.
    pub fn resources(mut self, resources: Resources) -> Self {
        self.resources = Some(resources);
        self
    }

    /// What constraints may speak of.
    pub fn attributes(mut self, attributes: Vec<Attribute>) -> Self {
        self.attributes = attributes;
        self
    }

    /// Where its work folder is made, instead of the folder for temporary files.
    pub fn work_dir(mut self, parent: impl Into<PathBuf>) -> Self {
        self.work_dir = Some(parent.into());
        self
    }

    /// A program that calls [`crate::init`] first in its `main`, if this process's own doesn't.
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = Some(program.into());
        self
    }

    /// Starts it on the current tokio runtime; returns when all agents are registered.
    ///
    /// # Errors
    /// A folder can't be made, or an agent has no launcher.
    pub async fn start(self) -> Result<Cluster, ClusterError> {
        let folder = make_work_dir(self.work_dir.as_deref())?;
        let config = MasterConfig { master_id: "local".into(), embedded: true, ..MasterConfig::default() };
        let work_dir = folder.path().join("master");
        let options = MasterOptions { config, work_dir, keeps: Keeps::Memory, listen: None, token: None };
        let master = MasterHandle::start(options).await?;
        let mut cluster = Cluster { agents: Vec::new(), master, folder };
        let count = self.agents.unwrap_or(1);
        for number in 1..=count {
            let hostname = agent::detect::hostname();
            let config = AgentConfig {
                work_dir: cluster.folder.path().join(format!("agent-{number}")),
                hostname: if count == 1 { hostname } else { format!("{hostname}-{number}") },
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                listen: (Ipv4Addr::LOCALHOST, 0).into(),
                resources: self.resources.clone().unwrap_or_else(|| agent::detect::resources(number - 1, count)),
                attributes: self.attributes.clone(),
                on_agent_loss: AgentLoss::Kill,
                remove_at_end: true,
                shared_folder: Some(cluster.folder.path().to_owned()),
                program: self.program.clone(),
                bounds: Bounds::default(),
                machine: MachineFiles::default(),
            };
            let agent = agent::start(config, agent::Master::Local(cluster.master.local())).await?;
            cluster.agents.push(agent);
        }
        cluster.await_agents().await?;
        Ok(cluster)
    }
}

impl Cluster {
    /// A cluster of one agent that has this machine's cores and memory, unless something else is said.
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// The way to its master.
    pub fn client(&self) -> MasterClient {
        MasterClient::Local(self.master.local())
    }

    /// Kills what runs, and returns when nothing of it is left.
    pub async fn stop(self) {
        for agent in self.agents {
            agent.stop().await;
        }
        drop(self.master);
        // The launchers have ended, so that the folder goes too.
        drop(self.folder);
    }

    async fn await_agents(&mut self) -> Result<(), ClusterError> {
        let client = self.client();
        let wanted = self.agents.len();
        let registered = async {
            while client.ask(operator_call::Call::ListAgents(ListAgents::default())).await?.len() < wanted {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            Ok(())
        };
        let ended = async {
            let ends: Vec<_> = self.agents.iter_mut().map(|agent| Box::pin(agent.ended())).collect();
            first(ends).await
        };
        tokio::select! {
            registered = registered => registered,
            line = ended => Err(ClusterError::AgentEnded(line)),
        }
    }
}

/// The output of whichever is ready first; never of none.
async fn first<F: Future<Output = String> + Unpin>(mut futures: Vec<F>) -> String {
    std::future::poll_fn(|context| {
        for future in &mut futures {
            if let std::task::Poll::Ready(line) = std::pin::Pin::new(future).poll(context) {
                return std::task::Poll::Ready(line);
            }
        }
        std::task::Poll::Pending
    })
    .await
}

/// A new folder that every user may enter, as tasks of other users do.
fn make_work_dir(parent: Option<&Path>) -> Result<SharedFolder, ClusterError> {
    let parent = parent.map_or_else(std::env::temp_dir, Path::to_path_buf);
    let path = parent.join(format!("mesos-{}-{}", std::process::id(), hex(&fresh_random::<6>())));
    let make = || {
        std::fs::create_dir_all(&parent)?;
        std::fs::create_dir(&path)?;
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o711))?;
        SharedFolder::share(&path)
    };
    make().map_err(|cause| ClusterError::WorkDir { path: path.clone(), cause })
}
