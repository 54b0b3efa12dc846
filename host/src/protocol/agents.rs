//! The way to an agent for whoever follows output or runs a command beside a task.

use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::agent_client::AgentClient as Grpc;
use super::client::{ClientError, MESSAGE_BYTES_MAX};
use super::link::LINK_BATCHES_MAX;
use super::remote::endpoint;
use super::{ExecInput, ExecOutput, ExecStart, FileChunk, ReadFiles, exec_input};

/// An agent, as clients see it.
#[derive(Debug, Clone)]
pub struct AgentClient {
    address: String,
    grpc: Grpc<Channel>,
}

/// What comes from an agent, in order; closed after the last.
pub type Answers<T> = mpsc::Receiver<Result<T, ClientError>>;

impl AgentClient {
    /// Connects to an agent.
    ///
    /// # Errors
    /// It isn't there.
    pub async fn connect(address: &str, port: u32) -> Result<Self, ClientError> {
        let address = match address.contains(':') {
            true => format!("[{address}]:{port}"),
            false => format!("{address}:{port}"),
        };
        let endpoint = endpoint(&address).map_err(|_| ClientError::BadAddress { address: address.clone() })?;
        let lost = |cause: tonic::transport::Error| ClientError::AgentLost {
            address: address.clone(),
            cause: cause.to_string(),
        };
        let grpc = Grpc::new(endpoint.connect().await.map_err(lost)?)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { address, grpc })
    }

    /// Reads files of a sandbox.
    ///
    /// # Errors
    /// The agent is gone or refuses.
    pub async fn read(&self, files: ReadFiles) -> Result<Answers<FileChunk>, ClientError> {
        let answer = self.grpc.clone().read(files).await.map_err(|status| self.error(&status))?;
        Ok(self.answers(answer.into_inner(), None))
    }

    /// Runs a command beside a task; what is sent goes to it, and its exit comes last.
    ///
    /// # Errors
    /// The agent is gone or refuses.
    pub async fn exec(
        &self,
        start: ExecStart,
    ) -> Result<(mpsc::Sender<exec_input::Input>, Answers<ExecOutput>), ClientError> {
        let (sender, mut inputs) = mpsc::channel(LINK_BATCHES_MAX);
        let (to_agent, stream) = mpsc::channel(1);
        let start = to_agent.try_send(ExecInput { input: Some(exec_input::Input::Start(start)) });
        start.expect("a new channel has room");
        let answer = self.grpc.clone().exec(ReceiverStream::new(stream)).await.map_err(|status| self.error(&status))?;
        let (over, is_over) = oneshot::channel();
        // An open input would keep the call alive when nobody takes its answers any more.
        tokio::spawn(async move {
            let forward = async {
                while let Some(input) = inputs.recv().await {
                    if to_agent.send(ExecInput { input: Some(input) }).await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = forward => {}
                _ = is_over => {}
            }
        });
        Ok((sender, self.answers(answer.into_inner(), Some(over))))
    }

    /// `over` is dropped with the stream.
    fn answers<T: Send + 'static>(&self, mut stream: Streaming<T>, over: Option<oneshot::Sender<()>>) -> Answers<T> {
        let (sender, answers) = mpsc::channel(LINK_BATCHES_MAX);
        let client = self.clone();
        tokio::spawn(async move {
            let _over = over;
            loop {
                let answer = tokio::select! {
                    answer = stream.message() => answer,
                    () = sender.closed() => return,
                };
                let answer = match answer {
                    Ok(Some(answer)) => Ok(answer),
                    Ok(None) => return,
                    Err(status) => Err(client.error(&status)),
                };
                let last = answer.is_err();
                if sender.send(answer).await.is_err() || last {
                    return;
                }
            }
        });
        answers
    }

    fn error(&self, status: &Status) -> ClientError {
        match status.code() {
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal => {
                ClientError::AgentLost { address: self.address.clone(), cause: status.message().to_string() }
            }
            _ => ClientError::Refused(status.message().to_string()),
        }
    }
}
