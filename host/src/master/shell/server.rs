//! The master's port: gRPC for agents, schedulers and operators, HTTP for health and state.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mesos_plugin_api::v1::scheduler;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpUserTimeout;
use nix::unistd::{Uid, User};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

use super::blobs::BlobError;
use super::peer::{Ends, uid_of};
use super::{Role, copies};
use crate::master::Caller;
use crate::protocol::client::{CHUNK_BYTES, Connect, LocalMaster, MESSAGE_BYTES_MAX};
use crate::protocol::link::{Batch, LINK_BATCHES_MAX, Link};
use crate::protocol::master_server::{Master, MasterServer};
use crate::protocol::token::same;
use crate::protocol::{
    AgentCallBatch, AgentEventBatch, BlobChunk, BlobName, BlobStored, FollowBlobNames, OperatorCall, OperatorReply,
};

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// How long a client's machine may be silent before it is asked.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Between further questions, and how many of them stay without an answer before the connection is over.
const ASK_AGAIN: (Duration, u32) = (Duration::from_secs(2), 3);
/// How long what was sent may stay without an answer.
const ANSWER_MAX_MS: u32 = 10_000;

/// Connections that may wait to be taken: all of a cluster come at once when a master begins to lead. The system may allow fewer.
const BACKLOG: u32 = 16_384;

/// Takes the port.
pub(super) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // The connections of a master that has ended may hold it for a minute.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the task is aborted.
pub(super) async fn serve(listener: TcpListener, master: LocalMaster, role: Role, token: Option<String>) {
    let token: Option<Arc<str>> = token.map(Arc::from);
    let face = crate::http::router(master.clone(), role.clone(), token.clone());
    let service = Service { master, role, token };
    let grpc = MasterServer::new(service)
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let router = Routes::new(grpc).into_axum_router().reset_fallback().merge(face);
    let served = tonic::transport::Server::builder()
        .accept_http1(true)
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(16 << 20)
        .add_routes(Routes::from(router))
        .serve_with_incoming(connections(listener))
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the master's port failed");
    }
}

/// Connections end with their machines or processes. The kernels ask each other, and not the programs: a command that somebody
/// stopped with Ctrl-Z is still there, and so is its job.
fn connections(listener: TcpListener) -> TcpIncoming {
    // Connections inherit it.
    if let Err(error) = setsockopt(&listener, TcpUserTimeout, &ANSWER_MAX_MS) {
        tracing::warn!(%error, "clients whose machine is lost are noticed late");
    }
    let (interval, times) = ASK_AGAIN;
    // Without the first, each answer of two pieces waits 40 ms for an acknowledgement.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEP_ALIVE));
    incoming.with_keepalive_interval(Some(interval)).with_keepalive_retries(Some(times))
}

struct Service {
    master: LocalMaster,
    role: Role,
    token: Option<Arc<str>>,
}

impl Service {
    /// Who it is, if this master leads; otherwise they are sent to the one that does.
    fn authenticate<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let caller = self.caller(request)?;
        self.role.check()?;
        Ok(caller)
    }

    /// On a machine of many users, not everybody may be a part of the cluster.
    fn authenticate_daemon<T>(&self, request: &Request<T>, what: &str) -> Result<(), Status> {
        let Some(user) = self.authenticate(request)?.user else { return Ok(()) };
        let message = format!("{user} may not {what} this cluster: only root and the user who started it may");
        Err(Status::permission_denied(message))
    }

    /// By the cluster's token, or without one by the user whose connection on this machine it is.
    fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let text = |key: &str| request.metadata().get(key).and_then(|value| value.to_str().ok());
        let principal = text("mesos-principal").unwrap_or("").to_string();
        let Some(token) = &self.token else {
            let user = local_user(request.remote_addr().zip(request.local_addr()))?;
            return Ok(Caller { principal: user.clone().unwrap_or(principal), user });
        };
        let given = text("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or("");
        if !same(given.as_bytes(), token.as_bytes()) {
            let problem = if given.is_empty() { "wants the cluster's token" } else { "was given a wrong token" };
            return Err(Status::unauthenticated(format!(
                "the master {problem}; give the file that it was started with by --token-file"
            )));
        }
        Ok(Caller { principal, user: None })
    }

    async fn connect(&self, connect: Connect) -> Result<(), Status> {
        self.master.connect.send(connect).await.map_err(|_| Status::unavailable("the master is ending"))
    }
}

/// The user of a loopback connection; none for root and for the user whose master this is.
fn local_user(ends: Option<(SocketAddr, SocketAddr)>) -> Result<Option<String>, Status> {
    let unknown =
        || Status::permission_denied("the master can't tell whose connection this is; start it with --token-file");
    let uid = ends.and_then(|(theirs, ours)| uid_of(Ends { theirs, ours })).ok_or_else(unknown)?;
    if uid.is_root() || uid == Uid::effective() {
        return Ok(None);
    }
    let user = User::from_uid(uid).ok().flatten();
    Ok(Some(user.map_or_else(|| uid.to_string(), |user| user.name)))
}

#[tonic::async_trait]
impl Master for Service {
    type SchedulerStream = Answers<scheduler::EventBatch>;
    type AgentStream = Answers<AgentEventBatch>;
    type OperateStream = Answers<OperatorReply>;
    type GetBlobStream = Answers<BlobChunk>;
    type BlobNamesStream = Answers<BlobName>;

    async fn scheduler(
        &self,
        request: Request<Streaming<scheduler::CallBatch>>,
    ) -> Result<Response<Self::SchedulerStream>, Status> {
        let caller = self.authenticate(&request)?;
        let unwrap = |batch: scheduler::CallBatch| Batch { epoch: batch.master_epoch(), items: batch.calls };
        let (near, events) = link(request.into_inner(), unwrap);
        self.connect(Connect::Scheduler { link: near, caller }).await?;
        let batches =
            events.map(|Batch { epoch, items }| Ok(scheduler::EventBatch { events: items, master_epoch: Some(epoch) }));
        Ok(Response::new(Box::pin(batches)))
    }

    async fn agent(&self, request: Request<Streaming<AgentCallBatch>>) -> Result<Response<Self::AgentStream>, Status> {
        self.authenticate_daemon(&request, "add agents to")?;
        let unwrap = |batch: AgentCallBatch| Batch { epoch: batch.master_epoch(), items: batch.calls };
        let (near, events) = link(request.into_inner(), unwrap);
        self.connect(Connect::Agent(near)).await?;
        let batches =
            events.map(|Batch { epoch, items }| Ok(AgentEventBatch { events: items, master_epoch: Some(epoch) }));
        Ok(Response::new(Box::pin(batches)))
    }

    async fn operate(&self, request: Request<OperatorCall>) -> Result<Response<Self::OperateStream>, Status> {
        let caller = self.authenticate(&request)?;
        let call = request.into_inner().call.ok_or_else(|| {
            Status::unimplemented("this master does not know that call; it may be older than the command")
        })?;
        let (replies, answers) = mpsc::channel(LINK_BATCHES_MAX);
        self.connect(Connect::Operate { call, caller, replies }).await?;
        let answers = ReceiverStream::new(answers).map(|reply| reply.map_err(Status::failed_precondition));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn has_blob(&self, request: Request<BlobName>) -> Result<Response<BlobStored>, Status> {
        self.authenticate(&request)?;
        Ok(Response::new(self.master.blobs.has(&request.get_ref().sha256).map_err(blob_status)?))
    }

    async fn put_blob(&self, request: Request<Streaming<BlobChunk>>) -> Result<Response<BlobStored>, Status> {
        self.authenticate(&request)?;
        let mut chunks = request.into_inner();
        let first =
            chunks.message().await?.ok_or_else(|| Status::invalid_argument("an upload without a first piece"))?;
        let mut upload = self.master.blobs.upload(first.sha256()).map_err(blob_status)?;
        upload.write(first.data()).map_err(blob_status)?;
        while let Some(chunk) = chunks.message().await? {
            upload.write(chunk.data()).map_err(blob_status)?;
        }
        Ok(Response::new(upload.finish().map_err(blob_status)?))
    }

    async fn get_blob(&self, request: Request<BlobName>) -> Result<Response<Self::GetBlobStream>, Status> {
        self.authenticate(&request)?;
        let path = self.master.blobs.path(&request.get_ref().sha256).map_err(blob_status)?;
        let file = tokio::fs::File::open(&path).await.map_err(|error| Status::not_found(error.to_string()))?;
        let chunks = tokio_util::io::ReaderStream::with_capacity(file, CHUNK_BYTES);
        let chunks = chunks.map(|chunk| match chunk {
            Ok(data) => Ok(BlobChunk { sha256: None, data: Some(data.to_vec()) }),
            Err(error) => Err(Status::internal(error.to_string())),
        });
        Ok(Response::new(Box::pin(chunks)))
    }

    async fn blob_names(&self, request: Request<FollowBlobNames>) -> Result<Response<Self::BlobNamesStream>, Status> {
        // Who knows a name may read what it names.
        self.authenticate_daemon(&request, "stand by for")?;
        Ok(Response::new(Box::pin(copies::names(self.master.blobs.clone()))))
    }
}

/// Turns a gRPC stream into the near end of a link, and gives what the link sends out.
fn link<B: Send + 'static, In: Send + 'static, Out: Send + 'static>(
    mut calls: Streaming<B>,
    unwrap: fn(B) -> Batch<In>,
) -> (Link<Out, In>, ReceiverStream<Batch<Out>>) {
    let (near, far) = Link::pair();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                batch = calls.message() => match batch {
                    Ok(Some(batch)) => if far.out.send(unwrap(batch)).await.is_err() { return },
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(%status, "stream ended");
                        return;
                    }
                },
                () = far.out.closed() => return,
            }
        }
    });
    (near, ReceiverStream::new(far.inbox))
}

fn blob_status(error: BlobError) -> Status {
    match error {
        BlobError::BadName { .. } | BlobError::Mismatch { .. } => Status::invalid_argument(error.to_string()),
        BlobError::Missing { .. } => Status::not_found(error.to_string()),
        BlobError::Io { .. } => Status::resource_exhausted(error.to_string()),
    }
}
