//! What operators want of agents: `mesos agents drain`, `undrain`, `deactivate`, `reactivate`, `gone`.

use std::time::Duration;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};
use mesos_host::protocol::operator_call::Call;
use mesos_host::protocol::{
    DeactivateAgentCall, DrainAgentCall, MarkAgentGoneCall, ReactivateAgentCall, operator_reply,
};

use crate::context::Context;
use crate::errors::usage;
use crate::{cluster, output, values};

/// The verbs below `mesos agents`.
pub(super) fn commands() -> [Command; 5] {
    let agent = || Arg::new("agent").value_name("ID|HOST").required(true).help("Its id, as 'mesos agents' shows it");
    let grace = Arg::new("grace").long("grace").value_name("DURATION").help("How long tasks may go on; 60s if missing");
    let gone = Arg::new("mark-gone").long("mark-gone").action(ArgAction::SetTrue);
    [
        Command::new("drain")
            .about("Let an agent end its work, and give it no more")
            .long_about(
                "Gives the agent no more tasks and asks the frameworks that have some there to move away. By the end of the \
                 grace its tasks are killed: each is told in time, so that its own kill grace is over by then. When nothing \
                 runs there any more, the agent is drained, and stays so until 'mesos agents undrain'. To drain again moves \
                 the end.",
            )
            .arg(agent())
            .arg(grace)
            .arg(gone.help("Mark it as gone when it is drained, as 'mesos agents gone' does")),
        Command::new("undrain").about("Offer an agent again: ends a drain or a deactivation").arg(agent()),
        Command::new("deactivate")
            .about("Give an agent no more tasks")
            .long_about("Gives the agent no more tasks. Those that it has go on. 'mesos agents reactivate' ends that.")
            .arg(agent()),
        Command::new("reactivate").about("Offer an agent again: ends a deactivation or a drain").arg(agent()),
        Command::new("gone")
            .about("Say that an agent won't come back")
            .long_about(
                "Says that an agent won't come back: its tasks are gone for their frameworks, which need not wait for it any \
                 longer. If it does come back, all that it runs is killed, and it is refused. This can't be taken back; the \
                 machine may join again as a new agent, with an empty work folder.",
            )
            .arg(agent()),
    ]
}

/// Asks for it, and says what the master answers.
pub(super) fn run(context: &Context, verb: &str, given: &ArgMatches) -> Result<i32> {
    let agent = given.get_one::<String>("agent").cloned().expect("clap wants it");
    let call = match verb {
        "drain" => {
            let grace = given.get_one::<String>("grace").map(|text| values::duration(text)).transpose();
            let grace = grace.map_err(|problem| usage(format!("--grace: {problem}")))?;
            let millis = |grace: Duration| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            let mark_gone = given.get_flag("mark-gone").then_some(true);
            Call::DrainAgent(DrainAgentCall { agent, grace_ms: grace.map(millis), mark_gone })
        }
        "deactivate" => Call::DeactivateAgent(DeactivateAgentCall { agent }),
        "undrain" | "reactivate" => Call::ReactivateAgent(ReactivateAgentCall { agent }),
        "gone" => Call::MarkAgentGone(MarkAgentGoneCall { agent }),
        other => unreachable!("clap knows no {other}"),
    };
    for reply in cluster::ask(context, call)? {
        if let (operator_reply::Reply::Done(done), false) = (reply, context.quiet()) {
            output::remark(done.message.unwrap_or_default());
        }
    }
    Ok(0)
}
