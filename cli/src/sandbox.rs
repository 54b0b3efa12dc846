//! Reading the files of a task's sandbox, and running commands in it: asked from the agent, with a token from the master.
//!
//! ```text
//! master ──Locate──▶ address, token ──▶ agent ──Read──▶ pieces of files, while they grow
//!                                             └─Exec──▶ a command beside the task
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use mesos_host::protocol::agent_client::AgentClient;
use mesos_host::protocol::client::{MESSAGE_BYTES_MAX, MasterClient};
use mesos_host::protocol::{
    ExecInput, ExecOutput, FileChunk, Locate, Located, ReadFile, ReadFiles, SandboxAccess, TaskSelector, operator_call,
    operator_reply,
};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// How long an agent may be silent before it is asked, and how long it may take to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long a connection to an agent may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The way to the sandboxes of a cluster; one connection an agent, however many tasks are read there.
pub struct Sandboxes {
    master: MasterClient,
    agents: Mutex<BTreeMap<String, Channel>>,
}

impl Sandboxes {
    /// Sandboxes of this master's tasks.
    pub fn new(master: MasterClient) -> Self {
        Self { master, agents: Mutex::default() }
    }

    /// Asks the master where a task's sandbox is.
    ///
    /// # Errors
    /// The master doesn't know the task, or several frameworks have one of that name.
    pub async fn locate(&self, task: &str, framework: Option<&str>) -> Result<Located> {
        let task = TaskSelector { task: task.to_string(), framework: framework.map(ToString::to_string) };
        let replies = self.master.ask(operator_call::Call::Locate(Locate { task })).await?;
        let located = replies.into_iter().find_map(|reply| match reply {
            operator_reply::Reply::Located(located) => Some(located),
            _ => None,
        });
        located.ok_or_else(|| anyhow!("the master didn't say where the task is"))
    }

    /// Reads files of a sandbox, each from its offset on; with `follow` until the task has ended.
    ///
    /// # Errors
    /// The agent doesn't answer or refuses.
    pub async fn read(&self, located: &Located, files: Vec<ReadFile>, follow: bool) -> Result<Streaming<FileChunk>> {
        let request = ReadFiles { access: access(located), files, follow: follow.then_some(true) };
        let mut agent = self.agent(located).await?;
        let stream = agent.read(request).await.map_err(|status| anyhow!("{}", status.message()))?;
        Ok(stream.into_inner())
    }

    /// Runs a command in a sandbox.
    ///
    /// # Errors
    /// The agent doesn't answer or refuses.
    pub async fn exec(&self, located: &Located, input: mpsc::Receiver<ExecInput>) -> Result<Streaming<ExecOutput>> {
        let mut agent = self.agent(located).await?;
        let stream = agent.exec(ReceiverStream::new(input)).await.map_err(|status| anyhow!("{}", status.message()))?;
        Ok(stream.into_inner())
    }

    async fn agent(&self, located: &Located) -> Result<AgentClient<Channel>> {
        let host =
            if located.address.contains(':') { format!("[{}]", located.address) } else { located.address.clone() };
        let address = format!("{host}:{}", located.port);
        // Held while connecting, so that a thousand tasks of one agent open one connection.
        let mut agents = self.agents.lock().await;
        let channel = match agents.get(&address) {
            Some(channel) => channel.clone(),
            None => {
                let channel = connect(&address).await?;
                agents.insert(address, channel.clone());
                channel
            }
        };
        Ok(AgentClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}

async fn connect(address: &str) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    match endpoint.connect().await {
        Ok(channel) => Ok(channel),
        Err(error) => bail!("the agent at {address} doesn't answer: {}", root_cause(&error)),
    }
}

fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// What proves to the agent that the master let us in.
pub fn access(located: &Located) -> SandboxAccess {
    SandboxAccess {
        framework_id: located.framework_id.clone(),
        task_id: located.task_id.clone(),
        token: located.token.clone(),
        token_expires_ns: located.token_expires_ns,
    }
}
