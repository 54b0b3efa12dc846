//! The way to a master for agents, frameworks and the CLI: over gRPC, or within the process.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesos_plugin_api::v1::scheduler;
use prost::Message;
use thiserror::Error;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status, Streaming};

use super::link::{Batch, LINK_BATCHES_MAX, Link};
use super::master_client::MasterClient as Grpc;
use super::{
    AgentCall, AgentCallBatch, AgentEvent, BlobChunk, BlobName, BlobStored, OperatorCall, OperatorReply, operator_call,
    operator_reply,
};
use crate::master::Caller;

/// The largest message that a connection takes, in bytes: a batch of tasks with environments of 2 MB fits.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// A piece of a blob or a file, in bytes.
pub const CHUNK_BYTES: usize = 256 << 10;

/// How long a peer may be silent before it is asked, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

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
    /// The address can't be one.
    #[error("{address:?} is not a master's address; write HOST:PORT")]
    BadAddress {
        /// As it was given.
        address: String,
    },
    /// The master answered with a refusal, which is a line for people.
    #[error("{0}")]
    Refused(String),
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

/// A master in another process.
#[derive(Debug, Clone)]
pub struct RemoteMaster {
    address: String,
    grpc: Grpc<Channel>,
    credentials: Credentials,
}

/// The answers to an operator's call, in order; closed after the last.
pub type Replies = mpsc::Receiver<Result<OperatorReply, String>>;

impl MasterClient {
    /// Connects to `HOST:PORT`.
    ///
    /// # Errors
    /// The address is malformed, or nothing answers there.
    pub async fn connect(address: &str, credentials: Credentials) -> Result<Self, ClientError> {
        let bad = || ClientError::BadAddress { address: address.to_string() };
        if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            return Err(bad());
        }
        let channel = endpoint(address)
            .map_err(|_| bad())?
            .connect()
            .await
            .map_err(|error| ClientError::Unreachable { address: address.to_string(), cause: root_cause(&error) })?;
        let grpc = Grpc::new(channel)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self::Remote(RemoteMaster { address: address.to_string(), grpc, credentials }))
    }

    /// Where the master is, for messages.
    pub fn address(&self) -> &str {
        match self {
            Self::Local(_) => "this process",
            Self::Remote(remote) => &remote.address,
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
            Self::Remote(remote) => {
                let (out, calls) = mpsc::channel(LINK_BATCHES_MAX);
                let calls =
                    batches(calls, |Batch { epoch, items: calls }| AgentCallBatch { calls, master_epoch: Some(epoch) });
                let events = remote.grpc.clone().agent(remote.request(calls)).await;
                let events = events.map_err(|status| remote.refused(&status))?.into_inner();
                Ok(Link {
                    out,
                    inbox: inbox(events, |batch| Batch { epoch: batch.master_epoch(), items: batch.events }),
                })
            }
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
            Self::Remote(remote) => {
                let (out, calls) = mpsc::channel(LINK_BATCHES_MAX);
                let calls = batches(calls, |Batch { epoch, items: calls }| scheduler::CallBatch {
                    calls,
                    master_epoch: Some(epoch),
                });
                let events = remote.grpc.clone().scheduler(remote.request(calls)).await;
                let events = events.map_err(|status| remote.refused(&status))?.into_inner();
                Ok(Link {
                    out,
                    inbox: inbox(events, |batch| Batch { epoch: batch.master_epoch(), items: batch.events }),
                })
            }
        }
    }

    /// Asks the master as an operator.
    ///
    /// # Errors
    /// The master is gone; its refusals come through the stream.
    pub async fn operate(&self, call: operator_call::Call) -> Result<Replies, ClientError> {
        let (sender, replies) = mpsc::channel(LINK_BATCHES_MAX);
        match self {
            Self::Local(local) => {
                local.connect(Connect::Operate { call, caller: Caller::default(), replies: sender }).await?;
            }
            Self::Remote(remote) => {
                let request = remote.request(OperatorCall { call: Some(call) });
                let answer = remote.grpc.clone().operate(request).await.map_err(|status| remote.refused(&status))?;
                tokio::spawn(forward(answer.into_inner(), sender, remote.clone()));
            }
        }
        Ok(replies)
    }

    /// Asks as an operator and collects the answers.
    ///
    /// # Errors
    /// The master is gone or refuses.
    pub async fn ask(&self, call: operator_call::Call) -> Result<Vec<operator_reply::Reply>, ClientError> {
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
                let from = local.blobs.path(sha256).map_err(|error| ClientError::Refused(error.to_string()))?;
                tokio::fs::copy(from, into).await.map(|_| ()).map_err(file_error)
            }
            Self::Remote(remote) => {
                let request = remote.request(BlobName { sha256: sha256.to_string() });
                let answer = remote.grpc.clone().get_blob(request).await.map_err(|status| remote.refused(&status))?;
                let mut chunks = answer.into_inner();
                let mut file = tokio::fs::File::create(into).await.map_err(file_error)?;
                while let Some(chunk) = chunks.message().await.map_err(|status| remote.refused(&status))? {
                    tokio::io::AsyncWriteExt::write_all(&mut file, chunk.data()).await.map_err(file_error)?;
                }
                tokio::io::AsyncWriteExt::flush(&mut file).await.map_err(file_error)
            }
        }
    }
}

impl LocalMaster {
    async fn connect(&self, connect: Connect) -> Result<(), ClientError> {
        let gone = |_| ClientError::Refused("the embedded master has ended".to_string());
        self.connect.send(connect).await.map_err(gone)
    }
}

impl RemoteMaster {
    fn request<T>(&self, message: T) -> Request<T> {
        with_credentials(message, &self.credentials)
    }

    fn refused(&self, status: &Status) -> ClientError {
        match status.code() {
            tonic::Code::Unavailable => {
                ClientError::Unreachable { address: self.address.clone(), cause: status.message().to_string() }
            }
            tonic::Code::Unknown | tonic::Code::Cancelled | tonic::Code::Internal => {
                ClientError::Broken { address: self.address.clone(), cause: status.message().to_string() }
            }
            _ => ClientError::Refused(status.message().to_string()),
        }
    }

    async fn put_blob(&self, path: &Path, sha256: &str) -> Result<BlobStored, ClientError> {
        let name = BlobName { sha256: sha256.to_string() };
        let has = self.grpc.clone().has_blob(self.request(name)).await.map_err(|status| self.refused(&status))?;
        if has.get_ref().present {
            return Ok(has.into_inner());
        }
        let file_error =
            |cause: std::io::Error| ClientError::File { path: path.to_path_buf(), cause: cause.to_string() };
        let mut file = tokio::fs::File::open(path).await.map_err(file_error)?;
        let (sender, chunks) = mpsc::channel(4);
        let mut sha256 = Some(sha256.to_string());
        let read = tokio::spawn(async move {
            loop {
                let mut data = vec![0; CHUNK_BYTES];
                let length = file.read(&mut data).await?;
                data.truncate(length);
                let chunk = BlobChunk { sha256: sha256.take(), data: Some(data) };
                if sender.send(chunk).await.is_err() || length == 0 {
                    return Ok(());
                }
            }
        });
        let stored = self.grpc.clone().put_blob(self.request(ReceiverStream::new(chunks))).await;
        match read.await {
            Ok(outcome) => outcome.map_err(file_error)?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
        Ok(stored.map_err(|status| self.refused(&status))?.into_inner())
    }
}

/// A connection with keep-alive: without it a client stays stuck after a partition.
pub(crate) fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(Duration::from_secs(5))
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20))
}

/// Puts token and principal into a request's metadata.
pub(crate) fn with_credentials<T>(message: T, credentials: &Credentials) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    if let Some(token) =
        credentials.token.as_ref().and_then(|token| MetadataValue::try_from(format!("Bearer {token}")).ok())
    {
        metadata.insert("authorization", token);
    }
    if let Ok(principal) = MetadataValue::try_from(credentials.principal.as_str()) {
        metadata.insert("mesos-principal", principal);
    }
    request
}

fn batches<T: Send + 'static, B: Message + 'static>(
    queue: mpsc::Receiver<Batch<T>>,
    wrap: impl Fn(Batch<T>) -> B + Send + 'static,
) -> impl tokio_stream::Stream<Item = B> + Send + 'static {
    tokio_stream::StreamExt::map(ReceiverStream::new(queue), wrap)
}

fn inbox<B: Send + 'static, T: Send + 'static>(
    mut stream: Streaming<B>,
    unwrap: impl Fn(B) -> Batch<T> + Send + 'static,
) -> mpsc::Receiver<Batch<T>> {
    let (sender, inbox) = mpsc::channel(LINK_BATCHES_MAX);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                batch = stream.message() => match batch {
                    Ok(Some(batch)) => if sender.send(unwrap(batch)).await.is_err() { return },
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(%status, "stream ended");
                        return;
                    }
                },
                () = sender.closed() => return,
            }
        }
    });
    inbox
}

async fn forward(
    mut stream: Streaming<OperatorReply>,
    sender: mpsc::Sender<Result<OperatorReply, String>>,
    remote: RemoteMaster,
) {
    loop {
        let reply = match stream.message().await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => return,
            Err(status) => Err(remote.refused(&status).to_string()),
        };
        let last = reply.is_err();
        if sender.send(reply).await.is_err() || last {
            return;
        }
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
