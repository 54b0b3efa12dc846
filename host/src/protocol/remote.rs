//! A master in another process, wherever that is at present.
//!
//! ```text
//! call ──▶ Detector: who leads? ──▶ connection ──▶ that master ──┬──▶ answer
//!            ▲                                                   └──▶ "I stand by, X leads" ──▶ X
//!            └── nobody, or nobody answers: asked again while the caller is patient
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mesos_plugin_api::v1::scheduler;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use super::client::{CHUNK_BYTES, ClientError, Credentials, MESSAGE_BYTES_MAX, Replies};
use super::link::{Batch, LINK_BATCHES_MAX, Link};
use super::master_client::MasterClient as Grpc;
use super::{
    AgentCall, AgentCallBatch, AgentEvent, BlobChunk, BlobName, BlobStored, FollowBlobNames, OperatorCall,
    OperatorReply, operator_call, operator_reply,
};
use crate::election::{Detector, Leader};

/// How long a peer may be silent before it is asked, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Masters that may send a call on to each other before it is given up.
const REDIRECTS_MAX: usize = 3;
/// Between tries of whoever is patient.
const TRY_AGAIN: Duration = Duration::from_millis(200);
/// Stands in the answer of a master that doesn't lead; its value is the address of the one that does, if it knows.
const LEADER_KEY: &str = "mesos-leader";

/// How long a call waits for a master, and where that is said. Without it, a call fails at once.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For how long.
    pub wait: Duration,
    /// Hears of the first wait.
    pub say: fn(&str),
}

/// A master in another process. Clones share its connection.
#[derive(Debug, Clone)]
pub struct RemoteMaster {
    detector: Detector,
    credentials: Credentials,
    patience: Option<Patience>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    connection: Mutex<Option<Connection>>,
    /// By hash, what was uploaded: the next master gets it too.
    uploads: Mutex<BTreeMap<String, PathBuf>>,
    /// That it waits.
    said: AtomicBool,
}

#[derive(Debug, Clone)]
struct Connection {
    /// What the detector said when it was made.
    named: Leader,
    /// Of that one, or of whom it named as the leader.
    address: String,
    grpc: Grpc<Channel>,
}

impl RemoteMaster {
    /// Whichever the detector names; connects to none yet.
    pub fn new(detector: Detector, credentials: Credentials) -> Self {
        Self { detector, credentials, patience: None, shared: Arc::default() }
    }

    /// The same, but calls wait for a master.
    pub fn patient(self, patience: Patience) -> Self {
        Self { patience: Some(patience), ..self }
    }

    /// Where it is, or where it is looked for.
    pub fn place(&self) -> &str {
        self.detector.place()
    }

    /// Returns when one leads that wasn't known before; never, at an address that somebody gave.
    pub async fn leader_found(&mut self) {
        loop {
            self.detector.changed().await;
            if self.detector.leader().is_some() {
                return;
            }
        }
    }

    /// Connects, to say early that nobody is there.
    ///
    /// # Errors
    /// The address is malformed, nothing answers there, or no master leads.
    pub async fn reach(&self) -> Result<(), ClientError> {
        self.patiently(|| async { self.connection().await.map(drop) }).await
    }

    pub(super) async fn agent_link(&self) -> Result<Link<AgentCall, AgentEvent>, ClientError> {
        let opened = self.call(|mut grpc| {
            let (out, calls) = mpsc::channel(LINK_BATCHES_MAX);
            let calls =
                batches(calls, |Batch { epoch, items: calls }| AgentCallBatch { calls, master_epoch: Some(epoch) });
            let request = self.request(calls);
            async move { Ok(grpc.agent(request).await?.map(|events| (out, events))) }
        });
        let ((out, events), from) = opened.await?;
        let unwrap = |batch: super::AgentEventBatch| Batch { epoch: batch.master_epoch(), items: batch.events };
        Ok(Link { out, inbox: self.inbox(events, from, unwrap) })
    }

    /// Patient only when it is the framework's first.
    pub(super) async fn scheduler_link(&self) -> Result<Link<scheduler::Call, scheduler::Event>, ClientError> {
        self.upload_again().await;
        let opened = self.call(|mut grpc| {
            let (out, calls) = mpsc::channel(LINK_BATCHES_MAX);
            let calls = batches(calls, |Batch { epoch, items: calls }| scheduler::CallBatch {
                calls,
                master_epoch: Some(epoch),
            });
            let request = self.request(calls);
            async move { Ok(grpc.scheduler(request).await?.map(|events| (out, events))) }
        });
        let ((out, events), from) = opened.await?;
        let unwrap = |batch: scheduler::EventBatch| Batch { epoch: batch.master_epoch(), items: batch.events };
        Ok(Link { out, inbox: self.inbox(events, from, unwrap) })
    }

    pub(super) async fn operate(&self, call: operator_call::Call) -> Result<Replies, ClientError> {
        self.reach().await?;
        // Once: a request may do something that isn't to be done twice.
        let (stream, from) = self.open_operation(&call).await?;
        let (sender, replies) = mpsc::channel(LINK_BATCHES_MAX);
        tokio::spawn(forward(stream, sender, from.address));
        Ok(replies)
    }

    /// What doesn't come to its end with one master is asked of the next: whoever asks this way asks for what may be done twice.
    pub(super) async fn ask(&self, call: operator_call::Call) -> Result<Vec<operator_reply::Reply>, ClientError> {
        let attempt = || async {
            let (mut stream, from) = self.open_operation(&call).await?;
            let mut all = Vec::new();
            while let Some(reply) = stream.message().await.map_err(|status| error(&status, &from.address))? {
                all.extend(reply.reply);
            }
            Ok(all)
        };
        self.patiently(attempt).await
    }

    async fn open_operation(
        &self,
        call: &operator_call::Call,
    ) -> Result<(Streaming<OperatorReply>, Connection), ClientError> {
        self.call(|mut grpc| {
            let request = self.request(OperatorCall { call: Some(call.clone()) });
            async move { grpc.operate(request).await }
        })
        .await
    }

    pub(super) async fn put_blob(&self, path: &Path, sha256: &str) -> Result<BlobStored, ClientError> {
        let stored = self.patiently(|| self.put_blob_once(path, sha256)).await?;
        self.uploads().insert(sha256.to_string(), path.to_path_buf());
        Ok(stored)
    }

    async fn put_blob_once(&self, path: &Path, sha256: &str) -> Result<BlobStored, ClientError> {
        let name = || BlobName { sha256: sha256.to_string() };
        let (has, _) = self
            .call(|mut grpc| {
                let request = self.request(name());
                async move { grpc.has_blob(request).await }
            })
            .await?;
        if has.present {
            return Ok(has);
        }
        let file_error =
            |cause: std::io::Error| ClientError::File { path: path.to_path_buf(), cause: cause.to_string() };
        // Opened once to say what is wrong with it, and again by each try.
        drop(std::fs::File::open(path).map_err(file_error)?);
        let upload = self.call(|mut grpc| {
            let (chunks, read) = chunks_of(path.to_path_buf(), sha256.to_string());
            let request = self.request(ReceiverStream::new(chunks));
            async move {
                let stored = grpc.put_blob(request).await;
                match read.await {
                    Ok(outcome) => outcome.map_err(|cause| Status::invalid_argument(cause.to_string()))?,
                    Err(panic) => std::panic::resume_unwind(panic.into_panic()),
                }
                stored
            }
        });
        Ok(upload.await?.0)
    }

    /// A master that was chosen after an upload hasn't got it, and the framework's next tasks need it. A file that is gone or was
    /// changed is no reason to stay away: what runs has it.
    async fn upload_again(&self) {
        let uploads = self.uploads().clone();
        for (sha256, path) in uploads {
            if let Err(problem) = self.put_blob_once(&path, &sha256).await {
                match problem {
                    ClientError::File { .. } | ClientError::Refused(_) => tracing::warn!(
                        "the master has no copy of {} and can't be given one: {problem}; tasks that need it will fail",
                        path.display()
                    ),
                    // The link is about to tell of that.
                    _ => return,
                }
            }
        }
    }

    /// Names of what is stored there, and of what comes. For masters that stand by.
    pub(crate) async fn blob_names(&self) -> Result<mpsc::Receiver<String>, ClientError> {
        let opened = self.call(|mut grpc| {
            let request = self.request(FollowBlobNames {});
            async move { grpc.blob_names(request).await }
        });
        let (mut stream, from) = opened.await?;
        let (sender, names) = mpsc::channel(LINK_BATCHES_MAX);
        let detector = self.detector.clone();
        tokio::spawn(async move {
            let replaced = replaced(detector, from.named);
            tokio::pin!(replaced);
            loop {
                tokio::select! {
                    name = stream.message() => match name {
                        Ok(Some(name)) => if sender.send(name.sha256).await.is_err() { return },
                        Ok(None) | Err(_) => return,
                    },
                    _ = &mut replaced => return,
                    () = sender.closed() => return,
                }
            }
        });
        Ok(names)
    }

    pub(crate) async fn get_blob(&self, sha256: &str, into: &Path) -> Result<(), ClientError> {
        let file_error =
            |cause: std::io::Error| ClientError::File { path: into.to_path_buf(), cause: cause.to_string() };
        let name = || BlobName { sha256: sha256.to_string() };
        let (mut chunks, from) = self
            .call(|mut grpc| {
                let request = self.request(name());
                async move { grpc.get_blob(request).await }
            })
            .await?;
        let mut file = tokio::fs::File::create(into).await.map_err(file_error)?;
        while let Some(chunk) = chunks.message().await.map_err(|status| error(&status, &from.address))? {
            file.write_all(chunk.data()).await.map_err(file_error)?;
        }
        file.flush().await.map_err(file_error)
    }

    /// Asks the master that leads; gives the answer and where it came from.
    async fn call<T, F>(&self, ask: impl Fn(Grpc<Channel>) -> F) -> Result<(T, Connection), ClientError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        for _ in 0..=REDIRECTS_MAX {
            let connection = self.connection().await?;
            let answer = tokio::select! {
                answer = ask(connection.grpc.clone()) => answer,
                leader = replaced(self.detector.clone(), connection.named.clone()) => {
                    self.forget(&connection);
                    let cause = format!("the master at {} leads now", leader.address);
                    return Err(ClientError::Broken { address: connection.address, cause });
                }
            };
            let status = match answer {
                Ok(answer) => return Ok((answer.into_inner(), connection)),
                Err(status) => status,
            };
            match redirection(&status) {
                Some(Some(leader)) => self.follow(&connection, leader).await?,
                Some(None) => {
                    self.forget(&connection);
                    return Err(self.no_leader());
                }
                None => {
                    let error = error(&status, &connection.address);
                    if !matches!(error, ClientError::Refused(_)) {
                        self.forget(&connection);
                    }
                    return Err(error);
                }
            }
        }
        Err(self.no_leader())
    }

    /// The connection that there is, unless another one leads by now.
    async fn connection(&self) -> Result<Connection, ClientError> {
        let named = self.detector.leader().ok_or_else(|| self.no_leader())?;
        if let Some(known) = self.known().clone().filter(|known| known.named == named) {
            return Ok(known);
        }
        let grpc = connect(&named.address).await?;
        let connection = Connection { address: named.address.clone(), named, grpc };
        *self.known() = Some(connection.clone());
        Ok(connection)
    }

    /// To the one that a standby has named. Whom the detector named is asked again when that one is lost.
    async fn follow(&self, from: &Connection, leader: String) -> Result<(), ClientError> {
        self.forget(from);
        let grpc = connect(&leader).await?;
        *self.known() = Some(Connection { named: from.named.clone(), address: leader, grpc });
        Ok(())
    }

    fn forget(&self, connection: &Connection) {
        let mut known = self.known();
        if known.as_ref().is_some_and(|known| known.address == connection.address) {
            *known = None;
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<Connection>> {
        self.shared.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn uploads(&self) -> MutexGuard<'_, BTreeMap<String, PathBuf>> {
        self.shared.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn no_leader(&self) -> ClientError {
        ClientError::NoLeader { place: self.place().to_string() }
    }

    /// Tries again while another master may come, as long as the caller is patient.
    pub(super) async fn patiently<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, ClientError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let Some(patience) = self.patience else { return attempt().await };
        let deadline = Instant::now() + patience.wait;
        let mut detector = self.detector.clone();
        loop {
            let problem = match attempt().await {
                Err(problem) if self.may_pass(&problem) && Instant::now() < deadline => problem,
                outcome => return outcome,
            };
            if !self.shared.said.swap(true, Ordering::Relaxed) {
                (patience.say)(&format!("{problem}; waiting up to {} s for one", patience.wait.as_secs()));
            }
            tokio::select! {
                () = detector.changed() => {}
                () = tokio::time::sleep(TRY_AGAIN) => {}
            }
        }
    }

    /// Whether the next master may do better. At an address that somebody gave there is none.
    fn may_pass(&self, problem: &ClientError) -> bool {
        match problem {
            ClientError::NoLeader { .. } => true,
            ClientError::Unreachable { .. } | ClientError::Broken { .. } => !self.detector.is_fixed(),
            _ => false,
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        with_credentials(message, &self.credentials)
    }

    /// What comes from a master, until it ends or another one leads.
    fn inbox<B: Send + 'static, T: Send + 'static>(
        &self,
        mut stream: Streaming<B>,
        from: Connection,
        unwrap: impl Fn(B) -> Batch<T> + Send + 'static,
    ) -> mpsc::Receiver<Batch<T>> {
        let (sender, inbox) = mpsc::channel(LINK_BATCHES_MAX);
        let detector = self.detector.clone();
        tokio::spawn(async move {
            let replaced = replaced(detector, from.named);
            tokio::pin!(replaced);
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
                    leader = &mut replaced => {
                        tracing::info!("the master at {} leads now, and not the one at {}", leader.address, from.address);
                        return;
                    }
                    () = sender.closed() => return,
                }
            }
        });
        inbox
    }
}

/// Returns when somebody else leads. That nobody is known to is no news of a master that answers.
async fn replaced(mut detector: Detector, by: Leader) -> Leader {
    loop {
        if let Some(leader) = detector.leader().filter(|leader| *leader != by) {
            return leader;
        }
        detector.changed().await;
    }
}

/// A file in pieces, the first of them with its name.
fn chunks_of(
    path: PathBuf,
    sha256: String,
) -> (mpsc::Receiver<BlobChunk>, tokio::task::JoinHandle<std::io::Result<()>>) {
    let (sender, chunks) = mpsc::channel(4);
    let mut sha256 = Some(sha256);
    let read = tokio::spawn(async move {
        let mut file = tokio::fs::File::open(path).await?;
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
    (chunks, read)
}

/// What a master that stands by answers; clients follow it to the leader.
pub(crate) fn not_the_leader(leader: Option<&str>) -> Status {
    let text = leader.map_or("none is known to lead yet".to_string(), |leader| format!("the leader is {leader}"));
    let mut status = Status::unavailable(format!("this master stands by; {text}"));
    if let Ok(value) = MetadataValue::try_from(leader.unwrap_or_default()) {
        status.metadata_mut().insert(LEADER_KEY, value);
    }
    status
}

/// Where that answer sends us, if it is one; `Some(None)` if it doesn't know.
fn redirection(status: &Status) -> Option<Option<String>> {
    let leader = status.metadata().get(LEADER_KEY)?.to_str().unwrap_or_default();
    Some((!leader.is_empty()).then(|| leader.to_string()))
}

fn error(status: &Status, address: &str) -> ClientError {
    let (address, cause) = (address.to_string(), status.message().to_string());
    match status.code() {
        Code::Unavailable => ClientError::Unreachable { address, cause },
        Code::Unknown | Code::Cancelled | Code::Internal => ClientError::Broken { address, cause },
        Code::NotFound => ClientError::NotThere(cause),
        _ => ClientError::Refused(cause),
    }
}

async fn connect(address: &str) -> Result<Grpc<Channel>, ClientError> {
    let bad = || ClientError::BadAddress { address: address.to_string() };
    if address.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
        return Err(bad());
    }
    let connected = endpoint(address).map_err(|_| bad())?.connect().await;
    let unreachable = |error| ClientError::Unreachable { address: address.to_string(), cause: root_cause(&error) };
    let grpc = Grpc::new(connected.map_err(unreachable)?);
    Ok(grpc.max_decoding_message_size(MESSAGE_BYTES_MAX).max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// A connection with keep-alive: without it a client stays stuck after a partition.
pub(super) fn endpoint(address: &str) -> Result<Endpoint, tonic::transport::Error> {
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
fn with_credentials<T>(message: T, credentials: &Credentials) -> Request<T> {
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

async fn forward(
    mut stream: Streaming<OperatorReply>,
    sender: mpsc::Sender<Result<OperatorReply, String>>,
    address: String,
) {
    loop {
        let reply = match stream.message().await {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => return,
            Err(status) => Err(error(&status, &address).to_string()),
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
