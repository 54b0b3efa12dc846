//! Reading the files of a task's sandbox, and running commands in it: asked from the agent, with a token from the master.
//!
//! ```text
//! master ──Locate──▶ address, token ──▶ agent ──Read──▶ pieces of files, while they grow
//!                                             └─Exec──▶ a command beside the task
//! ```

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use mesos_host::protocol::agents::{AgentClient, Answers};
use mesos_host::protocol::client::MasterClient;
use mesos_host::protocol::exec_input::Input;
use mesos_host::protocol::{
    ExecOutput, ExecStart, FileChunk, Locate, Located, ReadFile, ReadFiles, SandboxAccess, TaskSelector, operator_call,
    operator_reply,
};
use mesos_plugin_api::v1::AgentId;
use tokio::sync::{Mutex, mpsc};

/// The way to the sandboxes of a cluster; one connection an agent, however many tasks are read there.
pub struct Sandboxes {
    master: MasterClient,
    agents: Mutex<BTreeMap<(String, u32), AgentClient>>,
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
        self.locate_on(None, task, framework).await
    }

    /// The same of one that was on this agent, if that is known: the master may have forgotten it.
    ///
    /// # Errors
    /// As above.
    pub async fn locate_on(&self, agent_id: Option<AgentId>, task: &str, framework: Option<&str>) -> Result<Located> {
        let task = TaskSelector { task: task.to_string(), framework: framework.map(ToString::to_string) };
        let replies = self.master.ask(operator_call::Call::Locate(Locate { task, agent_id })).await?;
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
    pub async fn read(&self, located: &Located, files: Vec<ReadFile>, follow: bool) -> Result<Answers<FileChunk>> {
        let request = ReadFiles { access: access(located), files, follow: follow.then_some(true) };
        Ok(self.agent(located).await?.read(request).await?)
    }

    /// Runs a command in a sandbox; what is sent goes to it.
    ///
    /// # Errors
    /// The agent doesn't answer or refuses.
    pub async fn exec(
        &self,
        located: &Located,
        start: ExecStart,
    ) -> Result<(mpsc::Sender<Input>, Answers<ExecOutput>)> {
        Ok(self.agent(located).await?.exec(start).await?)
    }

    async fn agent(&self, located: &Located) -> Result<AgentClient> {
        let address = (located.address.clone(), located.port);
        // Held while connecting, so that a thousand tasks of one agent open one connection.
        let mut agents = self.agents.lock().await;
        if let Some(agent) = agents.get(&address) {
            return Ok(agent.clone());
        }
        let agent = AgentClient::connect(&located.address, located.port).await?;
        agents.insert(address, agent.clone());
        Ok(agent)
    }
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
