//! The server without its threads: what comes before a launch.

use super::*;
use crate::launcher::connection::{Request, hello, pack};
use crate::launcher::spec::LaunchSpec;
use crate::launcher::{fuzz, wire};

#[test]
fn what_an_agent_has_sent_counts_when_another_one_comes_in_the_same_round() {
    let (mut server, agent) = fuzz::idle();
    for name in ["first", "second"] {
        let launch = Request::Launch(Box::new(LaunchSpec::new(name, ["true"])));
        for packet in pack([launch]).expect("small") {
            packet.send(agent.as_fd()).expect("there is room");
        }
    }
    let (newer, theirs) = wire::pair().expect("a pair");
    server.add_channel(theirs, Role::Stranger);
    hello(AgentLoss::Keep(None)).send(newer.as_fd()).expect("there is room");

    let stranger = server.channel_last;
    server.read(stranger, 1);

    assert_eq!(server.channels.values().map(|channel| channel.role).collect::<Vec<_>>(), [Role::Agent]);
    assert!(server.containers.named("first").is_some() && server.containers.named("second").is_some());
    assert_eq!(server.workers.queued(), 2);
}
