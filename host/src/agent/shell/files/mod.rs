//! Serves the files of sandboxes to whoever follows them, and runs commands beside tasks. A token from the master opens a sandbox.

mod exec;
mod read;
mod watcher;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};

pub(super) use self::exec::Execs;
use self::watcher::Watcher;
use super::config::AgentError;
use super::sandboxes::{Sandbox, Sandboxes};
use crate::protocol::agent_server::{Agent, AgentServer};
use crate::protocol::client::MESSAGE_BYTES_MAX;
use crate::protocol::{ExecInput, ExecOutput, FileChunk, ReadFiles, SandboxAccess, exec_input, token};
use crate::time::Clock;

/// Chunks that wait for a slow reader.
const CHUNKS_MAX: usize = 4;
/// Files in one request, at most.
const FILES_MAX: usize = 256;
/// How long a reader may be silent before it is asked, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// What an agent serves to clients.
pub(super) struct Files {
    pub sandboxes: Arc<Sandboxes>,
    pub secret: Vec<u8>,
    pub clock: Clock,
    pub execs: Execs,
}

struct Service {
    files: Files,
    watcher: Arc<Watcher>,
}

/// Serves until aborted.
pub(super) fn serve(files: Files, listener: TcpListener, address: SocketAddr) -> Result<AbortHandle, AgentError> {
    let watcher = Watcher::new().map_err(|cause| AgentError::Listen { address, cause })?;
    let service = AgentServer::new(Service { files, watcher })
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .add_service(service)
        // Or each answer of two pieces waits 40 ms for an acknowledgement.
        .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)));
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::warn!("output is no longer served: {error}");
        }
    });
    Ok(task.abort_handle())
}

impl Service {
    /// The sandbox, if the token opens it.
    fn open(&self, access: &SandboxAccess) -> Result<Sandbox, Status> {
        let SandboxAccess { framework_id, task_id, token, token_expires_ns } = access;
        let (expires, now) = (mesos_plugin_api::Time(*token_expires_ns), self.files.clock.now());
        if !token::verify(&self.files.secret, framework_id, task_id, expires, now, token) {
            return Err(Status::unauthenticated(
                "the token for this sandbox is wrong or too old; ask the master again",
            ));
        }
        let missing = || Status::not_found(format!("the sandbox of task {task_id} is not on this agent any more"));
        self.files.sandboxes.find(framework_id, task_id).ok_or_else(missing)
    }
}

#[tonic::async_trait]
impl Agent for Service {
    type ReadStream = ReceiverStream<Result<FileChunk, Status>>;
    type ExecStream = Pin<Box<dyn Stream<Item = Result<ExecOutput, Status>> + Send>>;

    async fn read(&self, request: Request<ReadFiles>) -> Result<Response<Self::ReadStream>, Status> {
        let request = request.into_inner();
        let sandbox = self.open(&request.access)?;
        if request.files.len() > FILES_MAX {
            return Err(Status::invalid_argument(format!("at most {FILES_MAX} files are read at once")));
        }
        let (sender, chunks) = mpsc::channel(CHUNKS_MAX);
        let reader = read::Reader::new(sandbox, request.files, request.follow.unwrap_or(false), sender.clone());
        let watcher = self.watcher.clone();
        tokio::spawn(async move {
            tokio::select! {
                result = reader.run(&watcher) => if let Err(status) = result {
                    let _ = sender.send(Err(status)).await;
                },
                () = sender.closed() => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(chunks)))
    }

    async fn exec(&self, request: Request<Streaming<ExecInput>>) -> Result<Response<Self::ExecStream>, Status> {
        let mut input = request.into_inner();
        let first = input.message().await?.and_then(|message| message.input);
        let Some(exec_input::Input::Start(start)) = first else {
            return Err(Status::invalid_argument("the first message says what to run"));
        };
        let sandbox = self.open(&start.access)?;
        let outputs = self.files.execs.start(sandbox, start, input).await?;
        Ok(Response::new(Box::pin(outputs)))
    }
}
