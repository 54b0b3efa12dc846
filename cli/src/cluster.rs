//! Which cluster a command speaks to.
//!
//! ```text
//! --master, MESOS_MASTER, config.toml ──▶ that master
//! else a running 'mesos up' of this user ──▶ its master
//! else ──▶ none: commands that start programs embed one, the others say so
//! ```

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mesos_host::cluster::Cluster as Embedded;
use mesos_host::election::Detector;
use mesos_host::protocol::client::{MasterClient, Patience, RemoteMaster};
use mesos_host::protocol::{ClusterState, GetCluster, operator_call, operator_reply};

use crate::context::Context;
use crate::errors::EXIT_FAILURE;
use crate::local::{self, Record, StateFolders};
use crate::output;
use crate::settings::{MASTER, STATE_DIR, Source};
use crate::values::{self, MasterPlace};

/// How long a command waits where no master leads at present.
const MASTER_WAIT: Duration = Duration::from_secs(10);

/// Where a command finds its master.
#[derive(Debug, PartialEq, Eq)]
pub enum Way {
    /// Someone said where.
    Configured(MasterPlace, Source),
    /// `mesos up` started it.
    Local(String),
    /// Nowhere.
    None,
}

/// Looks for a master; connects to none.
///
/// # Errors
/// The address that was said can't be one, or the local cluster's record can't be read.
pub fn way(context: &Context) -> Result<Way> {
    if let Some(value) = context.find(&MASTER) {
        let place = crate::settings::read(&value, values::master)?;
        return Ok(Way::Configured(place, value.source));
    }
    let record = local::running(&state_folders(context)?)?;
    Ok(record.map_or(Way::None, |record| Way::Local(record.master.address)))
}

/// A cluster for a command that starts programs.
pub struct Cluster {
    /// The way to its master.
    pub client: MasterClient,
    embedded: Option<Embedded>,
}

impl Cluster {
    /// Ends it if it was started for this command; returns when nothing of it is left.
    pub async fn end(self) {
        if let Some(embedded) = self.embedded {
            embedded.stop().await;
        }
    }
}

/// The cluster that is known, or one of our own.
///
/// # Errors
/// The one that is known doesn't answer, or none can be started.
pub async fn find_or_embed(context: &Context) -> Result<Cluster> {
    if way(context)? != Way::None {
        return Ok(Cluster { client: lasting(context).await?, embedded: None });
    }
    let embedded = Embedded::builder().start().await?;
    Ok(Cluster { client: embedded.client(), embedded: Some(embedded) })
}

/// Where the local cluster keeps its state.
///
/// # Errors
/// There is no home folder and no `--state-dir`.
pub fn state_folders(context: &Context) -> Result<StateFolders> {
    StateFolders::find(context.find(&STATE_DIR).map(|value| value.text.into()))
}

/// A cluster that outlives this command.
///
/// # Errors
/// There is none, or its master doesn't answer.
pub async fn lasting(context: &Context) -> Result<MasterClient> {
    match way(context)? {
        Way::Configured(place, source) => connect(context, &place, &format!("{source} names that address")).await,
        Way::Local(address) => connect(context, &MasterPlace::Address(address), "'mesos up' started it there").await,
        Way::None if Record::read(&state_folders(context)?)?.is_some() => bail!(
            "the master of the local cluster has died; 'mesos down' ends what is left of it, and 'mesos up' starts another"
        ),
        Way::None => bail!(
            "no cluster is known here; 'mesos up' starts one on this machine, or name a master with --master HOST:PORT or \
             MESOS_MASTER"
        ),
    }
}

/// Connects to a master, or waits a while for one that leads; an error says who named its address.
///
/// # Errors
/// The token can't be read, or nothing answers there.
pub async fn connect(context: &Context, place: &MasterPlace, named_by: &str) -> Result<MasterClient> {
    let say: fn(&str) = if context.quiet() { |_| {} } else { |line| output::remark(line) };
    let remote = remote(context, place)?.patient(Patience { wait: MASTER_WAIT, say });
    remote.reach().await.map_err(|error| anyhow::anyhow!("{error} ({named_by})"))?;
    Ok(MasterClient::Remote(remote))
}

/// The way to a master that need not be there yet.
///
/// # Errors
/// The token, or what ZooKeeper wants, can't be read.
pub fn remote(context: &Context, place: &MasterPlace) -> Result<RemoteMaster> {
    let detector = match place {
        MasterPlace::Address(address) => Detector::fixed(address.as_str()),
        MasterPlace::ZooKeeper(address) => {
            let detector = Detector::zookeeper(address, context.zookeeper_auth()?);
            detector.with_context(|| format!("{address} can't be watched"))?
        }
    };
    Ok(RemoteMaster::new(detector, context.credentials()?))
}

/// What a cluster has.
///
/// # Errors
/// The master doesn't answer.
pub async fn state(client: &MasterClient) -> Result<ClusterState> {
    let replies = client.ask(operator_call::Call::GetCluster(GetCluster {})).await?;
    let state = replies.into_iter().find_map(|reply| match reply {
        operator_reply::Reply::Cluster(state) => Some(state),
        _ => None,
    });
    state.context("the master didn't say what the cluster has")
}

/// Asks a lasting cluster's master and collects its answers.
///
/// # Errors
/// There is none, it doesn't answer, or it refuses.
pub fn ask(context: &Context, call: operator_call::Call) -> Result<Vec<operator_reply::Reply>> {
    context.runtime()?.block_on(async { Ok(lasting(context).await?.ask(call).await?) })
}

/// Asks a lasting cluster's master for one thing after the other. What it refuses is said, and the others are done; the exit code
/// tells whether all were.
///
/// # Errors
/// There is none, or it doesn't answer.
pub fn ask_each(context: &Context, calls: impl Iterator<Item = operator_call::Call>) -> Result<i32> {
    context.runtime()?.block_on(async {
        let client = lasting(context).await?;
        let mut exit_code = 0;
        for call in calls {
            if let Err(error) = client.ask(call).await {
                output::remark(error);
                exit_code = EXIT_FAILURE;
            }
        }
        Ok(exit_code)
    })
}
