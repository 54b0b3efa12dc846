//! `mesos agent`: gives this machine's resources to a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Arg, ArgAction, Command};
use mesos_host::agent::{self, AgentConfig, Bounds, MachineFiles, Master};
use mesos_host::launcher::AgentLoss;

use super::{Group, Verb, examples};
use crate::cluster;
use crate::context::Context;
use crate::daemon::{self, Told};
use crate::errors::{EXIT_FAILURE, usage};
use crate::output;
use crate::settings::{
    AGENT_ADVERTISE, AGENT_ATTRIBUTES, AGENT_HOSTNAME, AGENT_IP, AGENT_ON_LOSS, AGENT_PORT, AGENT_RESOURCES,
    AGENT_WORK_DIR, MASTER,
};
use crate::values::{self, MasterPlace, OnAgentLoss};

pub const VERB: Verb = Verb { name: "agent", group: Group::Clusters, command, run };

fn command(command: Command) -> Command {
    command
        .about("Run an agent: it gives this machine's resources to a cluster and runs tasks")
        .long_about(
            "Runs an agent in the foreground. It says to its master what it has, runs the tasks that it is given, and serves their \
             output. A master that isn't there yet, or is lost, is looked for again and again.\n\nThe agent may die, be \
             killed or be ended by TERM, and its tasks run on for a while (see --on-agent-loss): started again with the same \
             --work-dir, also as a newer version, it takes them up. INT (Ctrl-C) or USR1 ends it for good: its tasks are killed, and \
             the next agent in that folder is a new one.\n\nTasks run as the user who submitted them, if the agent runs as root; otherwise as its own \
             user.",
        )
        .args([AGENT_IP.arg(), AGENT_PORT.arg(), AGENT_ADVERTISE.arg(), AGENT_HOSTNAME.arg(), AGENT_RESOURCES.arg()])
        .arg(AGENT_ATTRIBUTES.arg().action(ArgAction::Append))
        .args([AGENT_WORK_DIR.arg(), AGENT_ON_LOSS.arg()])
        .arg(hidden_file("boot-id-file", "A file with another content after each boot"))
        .arg(hidden_file("machine-id-file", "A file with another content on each machine"))
        .arg(Arg::new("background").long("background").action(ArgAction::SetTrue).hide(true).help("Leave the terminal"))
        .after_long_help(examples(&[
            ("mesos agent --master 10.0.0.1:5050 --ip 10.0.0.2 --token-file token", "this machine, all of it"),
            ("mesos agent --master zk://a:2181,b:2181/mesos --ip 10.0.0.2", "for whichever master leads"),
            (
                "mesos agent --master 10.0.0.1:5050 --resources 'cpus:4;mem:4096;gpus:2' --attributes 'rack:r1;zone:a'",
                "a part of it, with properties that frameworks choose by",
            ),
        ]))
}

fn run(context: &Context) -> Result<i32> {
    let no_master =
        || usage("an agent needs a master: name it with --master HOST:PORT, --master zk://… or MESOS_MASTER");
    let place = context.read(&MASTER, values::master)?.ok_or_else(no_master)?;
    let config = config(context, &place)?;
    let master = cluster::remote(context, &place)?;
    let keeps = config.on_agent_loss != AgentLoss::Kill;
    daemon::leave_terminal(context.given("background"))?;
    context.runtime()?.block_on(async {
        let mut agent = agent::start(config, Master::Remote(master)).await?;
        output::remark(format!("agent serves output on port {}, its master is {place}", agent.port()));
        tokio::select! {
            line = agent.ended() => {
                output::remark(line);
                return Ok(EXIT_FAILURE);
            }
            told = daemon::until_agent_is_told() => match told? {
                Told::Restart if keeps => agent.leave().await,
                Told::Restart | Told::EndForGood => agent.stop().await,
            },
        }
        Ok(0)
    })
}

fn config(context: &Context, master: &MasterPlace) -> Result<AgentConfig> {
    let ip = context.read_or_default(&AGENT_IP, values::ip)?;
    let port = context.read_or_default(&AGENT_PORT, values::port)?;
    let on_agent_loss = match context.read_or_default(&AGENT_ON_LOSS, values::on_agent_loss)? {
        OnAgentLoss::Keep(timeout) => AgentLoss::Keep(Some(timeout)),
        OnAgentLoss::Kill => AgentLoss::Kill,
    };
    Ok(AgentConfig {
        work_dir: match context.find(&AGENT_WORK_DIR) {
            Some(value) => PathBuf::from(value.text),
            None => daemon::work_dir("agent")?,
        },
        hostname: context.find(&AGENT_HOSTNAME).map_or_else(agent::detect::hostname, |value| value.text),
        address: match context.read(&AGENT_ADVERTISE, values::ip)? {
            Some(address) => address,
            None => daemon::reachable(ip, &daemon::towards(master))?,
        },
        listen: SocketAddr::new(ip, port),
        resources: context.read(&AGENT_RESOURCES, values::resources)?.unwrap_or_else(|| agent::detect::resources(0, 1)),
        attributes: context.read(&AGENT_ATTRIBUTES, values::attributes)?.unwrap_or_default(),
        on_agent_loss,
        remove_at_end: false,
        shared_folder: None,
        program: None,
        bounds: Bounds::default(),
        machine: machine(context),
    })
}

/// For tests of what a reboot, or another machine, does.
fn hidden_file(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("FILE").hide(true).help(help)
}

fn machine(context: &Context) -> MachineFiles {
    let usual = MachineFiles::default();
    let named = |name, usual| context.text(name).map_or(usual, PathBuf::from);
    MachineFiles {
        boot_id: named("boot-id-file", usual.boot_id),
        machine_id: named("machine-id-file", usual.machine_id),
    }
}
