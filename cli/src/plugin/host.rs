//! What the host does for a plugin's command.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result};
use mesos_host::loader::LoadedPlugin;
use mesos_host::protocol::client::MasterClient;
use mesos_host::protocol::{RequestFramework, operator_call, operator_reply};
use mesos_plugin_api::command::{Cluster as ClusterWords, Pieces, RunFramework, RunFrameworkResult};
use mesos_plugin_api::v1::{FrameworkInfo, PluginRef, Uri};
use mesos_plugin_api::{CommandHost, Framework, Injector};
use tokio::runtime::Runtime;

use crate::cluster::{self, Cluster};
use crate::context::{Context, user_name};
use crate::{detached, foreground, names, uris};

/// How long a framework in front survives a lost connection, unless its plugin says otherwise.
const FAILOVER_MS: u64 = 60_000;

/// The host of one command. A cluster is looked for, or started, when the plugin first needs one.
pub struct Host {
    context: Context,
    plugin: LoadedPlugin,
    runtime: Runtime,
    cluster: Mutex<Option<Cluster>>,
}

impl Host {
    /// The host of a command of this plugin.
    ///
    /// # Errors
    /// No threads can be had.
    pub fn new(context: Context, plugin: LoadedPlugin) -> Result<Self> {
        let runtime = context.runtime()?;
        Ok(Self { context, plugin, runtime, cluster: Mutex::default() })
    }

    /// Ends the cluster if it was started for this command.
    pub fn end(&self) {
        if let Some(cluster) = self.cluster.lock().unwrap_or_else(PoisonError::into_inner).take() {
            self.runtime.block_on(cluster.end());
        }
    }

    fn client(&self) -> Result<MasterClient> {
        let mut cluster = self.cluster.lock().unwrap_or_else(PoisonError::into_inner);
        if cluster.is_none() {
            *cluster = Some(self.runtime.block_on(cluster::find_or_embed(&self.context))?);
        }
        Ok(cluster.as_ref().expect("it was found a line above").client.clone())
    }

    fn run(&self, run: RunFramework) -> Result<RunFrameworkResult> {
        if run.detach == Some(true) {
            return self.hand_over(run);
        }
        let client = self.client()?;
        let file = self.plugin.file();
        let plugin = file.reference().with_context(|| format!("{} can't be read", file.path.display()))?;
        let stdin = run.stdin == Some(true);
        let info = framework_info(&run, &plugin);
        let make = maker(&self.plugin, run.config);
        let front = foreground::Options { quiet: self.context.quiet(), stdin };
        let ended = self.runtime.block_on(async {
            client.put_blob(&file.path, &plugin.sha256).await?;
            foreground::run(&client, info, Some(plugin), make, front).await
        })?;
        Ok(RunFrameworkResult { exit_code: ended.exit_code, framework_id: ended.framework_id })
    }

    fn hand_over(&self, run: RunFramework) -> Result<RunFrameworkResult> {
        let file = self.plugin.file();
        let plugin = file.reference().with_context(|| format!("{} can't be read", file.path.display()))?;
        let info = framework_info(&run, &plugin);
        self.runtime.block_on(async {
            // One that is embedded ends with us.
            let client = cluster::lasting(&self.context).await?;
            client.put_blob(&file.path, &plugin.sha256).await?;
            let framework_id = detached::hand_over(&client, info, run.config).await?;
            Ok(RunFrameworkResult { exit_code: 0, framework_id: Some(framework_id) })
        })
    }

    fn ask(&self, framework: &str, data: Vec<u8>, piece: &mut Pieces<'_>) -> Result<()> {
        // One that is started here has no framework that could answer.
        let client = match &*self.cluster.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(cluster) => cluster.client.clone(),
            None => self.runtime.block_on(cluster::lasting(&self.context))?,
        };
        let call = operator_call::Call::Request(RequestFramework { framework: framework.to_string(), data });
        self.runtime.block_on(async {
            let mut replies = client.operate(call).await?;
            while let Some(reply) = replies.recv().await {
                if let Some(operator_reply::Reply::Piece(reply)) = reply.map_err(anyhow::Error::msg)?.reply {
                    // Dropping the stream is how the master, and then the framework, hears of it.
                    if reply.data.is_some_and(|data| piece(&data).is_break()) {
                        break;
                    }
                }
            }
            Ok(())
        })
    }

    fn words(&self) -> Result<ClusterWords> {
        let state = self.runtime.block_on(cluster::state(&self.client()?))?;
        Ok(ClusterWords { agents: state.agents, embedded: state.embedded })
    }
}

impl CommandHost for Host {
    fn run_framework(&self, run: RunFramework) -> Result<RunFrameworkResult, String> {
        self.run(run).map_err(line)
    }

    fn request(&self, framework: &str, data: Vec<u8>, piece: &mut Pieces<'_>) -> Result<(), String> {
        self.ask(framework, data, piece).map_err(line)
    }

    fn upload(&self, path: &Path) -> Result<Uri, String> {
        let uploaded = self.client().and_then(|client| self.runtime.block_on(uris::upload(&client, path)));
        uploaded.map_err(line)
    }

    fn cluster(&self) -> Result<ClusterWords, String> {
        self.words().map_err(line)
    }
}

/// What the master is told of a framework of this plugin.
pub fn framework_info(run: &RunFramework, plugin: &PluginRef) -> FrameworkInfo {
    let unique = run.name_is_prefix == Some(true);
    FrameworkInfo {
        name: if unique { names::unique(&format!("{}-", run.name)) } else { run.name.clone() },
        user: user_name(),
        role: run.role.clone().unwrap_or_else(|| "default".to_string()),
        id: None,
        failover_timeout_ms: Some(run.failover_timeout_ms.unwrap_or(FAILOVER_MS)),
        hostname: crate::context::hostname(),
        plugin: Some(plugin.clone()),
        labels: Vec::new(),
    }
}

/// Makes the plugin's framework half when the runner is ready for it.
pub fn maker(
    plugin: &LoadedPlugin,
    config: Vec<u8>,
) -> impl FnOnce(Injector) -> Result<Box<dyn Framework>, String> + use<> {
    let plugin = plugin.clone();
    move |injector| Ok(Box::new(plugin.new_framework(&config, injector)?))
}

fn line(error: anyhow::Error) -> String {
    format!("{error:#}")
}
