//! `mesos master`: shares the agents' resources between frameworks.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::{Arg, ArgAction, Command};
use mesos_host::election::{Detector, ZooKeeper, ZooKeeperAddress};
use mesos_host::master::shell::{Keeps, MasterHandle, MasterOptions};
use mesos_host::master::{MasterConfig, RemovalRate};

use super::{Group, Verb, examples};
use crate::context::Context;
use crate::errors::usage;
use crate::output;
use crate::settings::{
    MASTER_ADVERTISE, MASTER_IP, MASTER_PING_TIMEOUT, MASTER_PING_TIMEOUTS, MASTER_PORT, MASTER_REMOVAL_RATE,
    MASTER_REREGISTER_TIMEOUT, MASTER_WEIGHTS, MASTER_WORK_DIR, MASTER_ZK, MASTER_ZK_SESSION_TIMEOUT, TOKEN_FILE,
};
use crate::values::MasterPlace;
use crate::{daemon, names, values};

pub const VERB: Verb = Verb { name: "master", group: Group::Clusters, command, run };

fn command(command: Command) -> Command {
    command
        .about("Run a master: it offers the agents' resources to frameworks")
        .long_about(
            "Runs a master in the foreground until it gets TERM or INT. Agents and frameworks connect to it; it offers what \
             the agents have to the frameworks, and passes tasks and their states on.\n\nWhat must survive it is in the work folder: \
             a master that is started there again takes over agents, tasks and frameworks as they are.\n\nOn loopback, the default, \
             everybody may use it, each as themselves and root as anybody. Beyond it, everyone must show the cluster's token: \
             it is made in the work folder when there is none, or taken from --token-file.\n\nWith --zk, several masters share a \
             cluster: one leads, the others stand by and tell everyone who does; what must survive is kept in ZooKeeper. All have \
             the same token. One that leads no longer ends with one line: let a supervisor start it again, to stand by.",
        )
        .args([MASTER_IP.arg(), MASTER_PORT.arg(), MASTER_ADVERTISE.arg(), MASTER_WORK_DIR.arg(), MASTER_WEIGHTS.arg()])
        .args([MASTER_ZK.arg(), MASTER_ZK_SESSION_TIMEOUT.arg()])
        .args([MASTER_PING_TIMEOUT.arg(), MASTER_PING_TIMEOUTS.arg()])
        .args([MASTER_REREGISTER_TIMEOUT.arg(), MASTER_REMOVAL_RATE.arg()])
        .arg(Arg::new("address-file").long("address-file").value_name("FILE").hide(true).help("Write the address there"))
        .arg(Arg::new("background").long("background").action(ArgAction::SetTrue).hide(true).help("Leave the terminal"))
        .after_long_help(examples(&[
            ("mesos master", "a master for this machine only, on port 5050"),
            ("mesos master --ip 10.0.0.1 --work-dir /srv/mesos", "one for a network; its token is in /srv/mesos/token"),
            (
                "mesos master --zk zk://a:2181,b:2181,c:2181/mesos --ip 10.0.0.1 --token-file token",
                "one of several masters; the same on each machine, but for --ip",
            ),
            ("mesos up --agents 4", "a whole cluster on this machine, in the background"),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let ip = context.read_or_default(&MASTER_IP, values::ip)?;
    let port = context.read_or_default(&MASTER_PORT, values::port)?;
    let work_dir = match context.find(&MASTER_WORK_DIR) {
        Some(value) => PathBuf::from(value.text),
        None => daemon::work_dir("master")?,
    };
    let weights = match context.find(&MASTER_WEIGHTS) {
        Some(value) => crate::settings::read(&value, values::weights)?,
        None => BTreeMap::new(),
    };
    let patience = patience(context)?;
    let named = context.find(&TOKEN_FILE).map(|value| value.text);
    let meeting = context.read(&MASTER_ZK, values::zookeeper)?;
    if meeting.is_some() && !ip.is_loopback() && named.is_none() {
        return Err(usage("masters that meet have the same token: give each a copy of one file, with --token-file"));
    }
    daemon::leave_terminal(context.given("background"))?;
    context.runtime()?.block_on(async {
        let token = daemon::token(ip, named.as_deref(), &work_dir)?;
        let config = MasterConfig { master_id: names::unique("m"), weights, ..patience };
        let listen = Some(SocketAddr::new(ip, port));
        let with_token = if token.is_some() { ", wants the cluster's token" } else { "" };
        let keeps = match &meeting {
            Some(meeting) => together(context, meeting, ip)?,
            None => Keeps::WorkDir,
        };
        let mut master = MasterHandle::stand_by(MasterOptions { config, work_dir, keeps, listen, token }).await?;
        let address = master.address().expect("it listens").to_string();
        match &meeting {
            Some(meeting) => output::remark(format!("master listens on {address}{with_token}, stands by at {meeting}")),
            None => {
                master.leads().await?;
                output::remark(format!("master listens on {address}{with_token}"));
            }
        }
        daemon::tell_address(context.text("address-file"), &address)?;
        attend(&mut master, meeting.is_some()).await
    })
}

/// Until it is told to end, or can't go on.
async fn attend(master: &mut MasterHandle, stands_by: bool) -> Result<i32> {
    let leads = master.leads();
    let say = async {
        if leads.await.is_ok() && stands_by {
            output::remark("this master leads now");
        }
        std::future::pending().await
    };
    tokio::select! {
        told = daemon::until_told_to_end() => told.map(|()| 0),
        line = master.ended() => bail!(line),
        never = say => never,
    }
}

/// One of several masters.
fn together(context: &Context, meeting: &ZooKeeperAddress, ip: IpAddr) -> Result<Keeps> {
    let timeout = context.read_or_default(&MASTER_ZK_SESSION_TIMEOUT, values::session_timeout)?;
    let auth = context.zookeeper_auth()?;
    let problem = || format!("{meeting} can't be watched");
    let coordinator = ZooKeeper::new(meeting, auth.clone(), timeout).with_context(problem)?;
    let detector = Detector::zookeeper(meeting, auth).with_context(problem)?;
    let advertise = match context.read(&MASTER_ADVERTISE, values::ip)? {
        Some(address) => address,
        None => daemon::reachable(ip, &daemon::towards(&MasterPlace::ZooKeeper(meeting.clone())))?,
    };
    Ok(Keeps::Together { coordinator: Box::new(coordinator), detector, advertise: Some(advertise) })
}

/// How long agents are waited for.
fn patience(context: &Context) -> Result<MasterConfig> {
    let (count, per) = context.read_or_default(&MASTER_REMOVAL_RATE, values::rate)?;
    Ok(MasterConfig {
        ping_interval: context.read_or_default(&MASTER_PING_TIMEOUT, values::period)?,
        pings_missed_max: context.read_or_default(&MASTER_PING_TIMEOUTS, values::count)?,
        agent_reregister_timeout: context.read_or_default(&MASTER_REREGISTER_TIMEOUT, values::duration)?,
        agent_removal_rate: RemovalRate { count, per },
        ..MasterConfig::default()
    })
}
