//! The way to a master for agents, frameworks and the CLI: over gRPC, or within the process.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mesos_plugin_api::v1::scheduler;
use thiserror::Error;
use tokio::sync::mpsc;

use super::link::{LINK_BATCHES_MAX, Link};
use super::{AgentCall, AgentEvent, BlobStored, OperatorReply, operator_call, operator_reply};
use crate::election::Detector;
use crate::master::Caller;

pub use super::remote::{Patience, RemoteMaster};

/// The largest message that a connection takes, in bytes: a batch of tasks with environments of 2 MB fits.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A piece of a blob or a file, in bytes.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Who speaks, and the cluster's token where it is wanted.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Recorded with frameworks and requests.
    pub principal: String,
    /// The cluster's shared token; not needed on loopback.
    pub token: Option<String>,
}

/// Why a master couldn't be asked.
#[derive(Debug, Clone, Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error(
        "no master answers at {address} ({cause}); start one with 'mesos master', or a local cluster with 'mesos up'"
    )]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// As the system says it.
        cause: String,
    },
    /// Somewhere masters meet, and none of them leads.
    #[error(
        "no master leads at {place} yet; start one there with 'mesos master', or wait for those that run to choose one"
    )]
    NoLeader {
        /// Where it was looked for.
        place: String,
    },
    /// The address can't be one.
    #[error("{address:?} is not a master's address; write HOST:PORT")]
    BadAddress {
        /// As it was given.
        address: String,
    },
    /// The master answered with a refusal, which is a line for people.
    #[error("{0}")]
    Refused(String),
    /// The master hasn't got it, which is a line for people.
    #[error("{0}")]
    NotThere(String),
    /// The connection broke.
    #[error("the connection to the master at {address} broke: {cause}")]
    Broken {
        /// Whose.
        address: String,
        /// As the transport says it.
        cause: String,
    },
    /// An agent doesn't answer, or no longer.
    #[error("the agent at {address} does not answer: {cause}")]
    AgentLost {
        /// Where it was.
        address: String,
        /// As the transport says it.
        cause: String,
    },
    /// A local file can't be read or written.
    #[error("{path}: {cause}")]
    File {
        /// Which.
        path: PathBuf,
        /// As the system says it.
        cause: String,
    },
}

/// Within the process: what a master's shell offers to clients beside it.
#[derive(Debug, Clone)]
pub struct LocalMaster {
    pub(crate) connect: mpsc::Sender<Connect>,
    pub(crate) blobs: Arc<crate::master::BlobStore>,
}

/// What a master's shell is asked from outside.
pub(crate) enum Connect {
    Agent(Link<AgentEvent, AgentCall>),
    Scheduler { link: Link<scheduler::Event, scheduler::Call>, caller: Caller },
    Operate { call: operator_call::Call, caller: Caller, replies: mpsc::Sender<Result<OperatorReply, String>> },
}

/// The way to a master.
#[derive(Debug, Clone)]
pub enum MasterClient {
    /// In this process.
    Local(LocalMaster),
    /// Over gRPC.
    Remote(RemoteMaster),
}

/// The answers to an operator's call, in order; closed after the last.
pub type Replies = mpsc::Receiver<Result<OperatorReply, String>>;

impl MasterClient {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// The address is malformed, or nothing answers there.
    pub async fn connect(address: &str, credentials: Credentials) -> Result<Self, ClientError> {
        let remote = RemoteMaster::new(Detector::fixed(address), credentials);
        remote.reach().await?;
        Ok(Self::Remote(remote))
    }

    /// Where the master is, or where it is looked for, for messages.
    pub fn place(&self) -> &str {
        match self {
            Self::Local(_) => "this process",
            Self::Remote(remote) => remote.place(),
        }
    }

    /// Opens an agent's stream.
    ///
    /// # Errors
    /// The master is gone or refuses.
    pub async fn agent_link(&self) -> Result<Link<AgentCall, AgentEvent>, ClientError> {
        match self {
            Self::Local(local) => {
                let (near, far) = Link::pair();
                local.connect(Connect::Agent(far)).await?;
                Ok(near)
            }
            Self::Remote(remote) => remote.agent_link().await,
        }
    }

    /// Opens a scheduler's stream.
    ///
    /// # Errors
    /// The master is gone or refuses.
    pub async fn scheduler_link(&self) -> Result<Link<scheduler::Call, scheduler::Event>, ClientError> {
        match self {
            Self::Local(local) => {
                let (near, far) = Link::pair();
                local.connect(Connect::Scheduler { link: far, caller: Caller::default() }).await?;
                Ok(near)
            }
            Self::Remote(remote) => remote.scheduler_link().await,
        }
    }

    /// Opens a framework's first stream; waits for a master where the caller is patient.
    ///
    /// # Errors
    /// The master is gone or refuses.
    pub async fn first_scheduler_link(&self) -> Result<Link<scheduler::Call, scheduler::Event>, ClientError> {
        match self {
            Self::Local(_) => self.scheduler_link().await,
            Self::Remote(remote) => remote.patiently(|| remote.scheduler_link()).await,
        }
    }

    /// Asks the master as an operator.
    ///
    /// # Errors
    /// The master is gone; its refusals come through the stream.
    pub async fn operate(&self, call: operator_call::Call) -> Result<Replies, ClientError> {
        match self {
            Self::Local(local) => {
                let (sender, replies) = mpsc::channel(LINK_BATCHES_MAX);
                local.connect(Connect::Operate { call, caller: Caller::default(), replies: sender }).await?;
                Ok(replies)
            }
            Self::Remote(remote) => remote.operate(call).await,
        }
    }

    /// Asks as an operator and collects the answers. Where another master may come, it is asked again what one that was lost
    /// may have done.
    ///
    /// # Errors
    /// The master is gone or refuses.
    pub async fn ask(&self, call: operator_call::Call) -> Result<Vec<operator_reply::Reply>, ClientError> {
        if let Self::Remote(remote) = self {
            return remote.ask(call).await;
        }
        let mut replies = self.operate(call).await?;
        let mut all = Vec::new();
        while let Some(reply) = replies.recv().await {
            all.extend(reply.map_err(ClientError::Refused)?.reply);
        }
        Ok(all)
    }

    /// Stores a file under its content's name unless the master has it.
    ///
    /// # Errors
    /// The file can't be read, the master is gone or has no room.
    pub async fn put_blob(&self, path: &Path, sha256: &str) -> Result<BlobStored, ClientError> {
        match self {
            Self::Local(local) => {
                local.blobs.put_file(path, sha256).map_err(|error| ClientError::Refused(error.to_string()))
            }
            Self::Remote(remote) => remote.put_blob(path, sha256).await,
        }
    }

    /// Fetches a blob into a new file; the caller checks its hash and moves it into place.
    ///
    /// # Errors
    /// The master is gone or doesn't have it, or the file can't be written.
    pub async fn get_blob(&self, sha256: &str, into: &Path) -> Result<(), ClientError> {
        let file_error =
            |cause: std::io::Error| ClientError::File { path: into.to_path_buf(), cause: cause.to_string() };
        match self {
            Self::Local(local) => {
                let from = local.blobs.path(sha256).map_err(|error| ClientError::NotThere(error.to_string()))?;
                tokio::fs::copy(from, into).await.map(|_| ()).map_err(file_error)
            }
            Self::Remote(remote) => remote.get_blob(sha256, into).await,
        }
    }
}

impl LocalMaster {
    async fn connect(&self, connect: Connect) -> Result<(), ClientError> {
        let gone = |_| ClientError::Refused("the embedded master has ended".to_string());
        self.connect.send(connect).await.map_err(gone)
    }
}
