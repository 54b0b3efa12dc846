//! Every key, in the order in which `mesos config` shows them.

use super::Key;
use crate::output::Format;
use crate::values;

const KEY: Key = Key {
    name: "",
    flag: "",
    short: None,
    variable: "",
    value: "",
    help: "",
    more: "",
    default: None,
    separator: None,
    check: anything,
};

/// Where the master is.
pub static MASTER: Key = Key {
    name: "master",
    flag: "master",
    variable: "MESOS_MASTER",
    value: "HOST:PORT",
    help: "The master to ask: its address, or where masters meet, like zk://a:2181,b:2181/mesos",
    more: "Without it: the cluster that 'mesos up' started; without that, 'run' and plugin commands start one of their own \
           on this machine and end it afterwards. ",
    check: |text| values::master(text).map(drop),
    ..KEY
};
/// Who we are to ZooKeeper.
pub static ZK_AUTH_FILE: Key = Key {
    name: "zk-auth-file",
    flag: "zk-auth-file",
    variable: "MESOS_ZK_AUTH_FILE",
    value: "FILE",
    help: "The file with user:password for ZooKeeper, one line that only its owner can read",
    more: "Masters with such a file let nobody else write there, nor read what they keep. ",
    ..KEY
};
/// The cluster's token.
pub static TOKEN_FILE: Key = Key {
    name: "token-file",
    flag: "token-file",
    variable: "MESOS_TOKEN_FILE",
    value: "FILE",
    help: "The file with the cluster's token",
    more: "A master that listens beyond loopback wants it from everyone. All masters of a cluster have the same. ",
    ..KEY
};
/// Folders with plugins.
pub static PLUGIN_DIR: Key = Key {
    name: "plugin-dir",
    flag: "plugin-dir",
    variable: "MESOS_PLUGIN_DIR",
    value: "DIR",
    help: "A folder with plugins, before the others; may be repeated",
    more: "After it come ~/.local/share/mesos/plugins and the folder plugins/ beside the program. ",
    separator: Some(':'),
    ..KEY
};
/// How listings look.
pub static OUTPUT: Key = Key {
    name: "output",
    flag: "output",
    short: Some('o'),
    variable: "MESOS_OUTPUT",
    value: "FORMAT",
    help: "How to show a listing: table, json, or quiet (ids only)",
    default: Some("table"),
    check: |text| Format::parse(text).map(drop),
    ..KEY
};
/// Where the local cluster's state is.
pub static STATE_DIR: Key = Key {
    name: "state-dir",
    flag: "state-dir",
    variable: "MESOS_STATE_DIR",
    value: "DIR",
    help: "Where the local cluster of 'mesos up' keeps its state",
    more: "One local cluster for each user and folder. By default ~/.local/state/mesos. ",
    ..KEY
};

/// `mesos run`: cores for each task.
pub static RUN_CPUS: Key = Key {
    name: "run.cpus",
    flag: "cpus",
    short: Some('c'),
    variable: "MESOS_RUN_CPUS",
    value: "N",
    help: "Cores for each task",
    default: Some("1"),
    check: |text| values::cpus(text).map(drop),
    ..KEY
};
/// `mesos run`: memory for each task.
pub static RUN_MEM: Key = Key {
    name: "run.mem",
    flag: "mem",
    short: Some('m'),
    variable: "MESOS_RUN_MEM",
    value: "MB",
    help: "Memory for each task, in megabytes (or 4g)",
    default: Some("128"),
    check: |text| values::megabytes(text).map(drop),
    ..KEY
};
/// `mesos run`: on whose share.
pub static RUN_ROLE: Key = Key {
    name: "run.role",
    flag: "role",
    variable: "MESOS_RUN_ROLE",
    value: "ROLE",
    help: "The role whose share of the cluster is used",
    default: Some("default"),
    check: nonempty,
    ..KEY
};

/// `mesos up`: how many agents.
pub static UP_AGENTS: Key = Key {
    name: "up.agents",
    flag: "agents",
    short: Some('n'),
    variable: "MESOS_UP_AGENTS",
    value: "N",
    help: "How many agents to start",
    default: Some("1"),
    check: |text| values::count(text).map(drop),
    ..KEY
};
/// `mesos up`: what each agent offers.
pub static UP_RESOURCES: Key = Key {
    name: "up.resources",
    flag: "resources",
    variable: "MESOS_UP_RESOURCES",
    value: "RESOURCES",
    help: "What each agent offers, like 'cpus:4;mem:4096'",
    more: "By default this machine's cores and memory, divided among the agents. ",
    check: |text| values::resources(text).map(drop),
    ..KEY
};

/// `mesos master`: the address to listen on.
pub static MASTER_IP: Key = Key {
    name: "daemon.master.ip",
    flag: "ip",
    variable: "MESOS_MASTER_IP",
    value: "ADDRESS",
    help: "The address to listen on",
    more: "Beyond loopback everyone must show the cluster's token. ",
    default: Some("127.0.0.1"),
    check: |text| values::ip(text).map(drop),
    ..KEY
};
/// `mesos master`: the port.
pub static MASTER_PORT: Key = Key {
    name: "daemon.master.port",
    flag: "port",
    short: Some('p'),
    variable: "MESOS_MASTER_PORT",
    value: "PORT",
    help: "The port to listen on; 0 for any free one",
    default: Some("5050"),
    check: |text| values::port(text).map(drop),
    ..KEY
};
/// `mesos master`: what roles count.
pub static MASTER_WEIGHTS: Key = Key {
    name: "daemon.master.weights",
    flag: "weights",
    variable: "MESOS_MASTER_WEIGHTS",
    value: "ROLE:WEIGHT;…",
    help: "A role of weight 2 gets twice what a role of weight 1 gets",
    more: "Roles that aren't named weigh 1. ",
    check: |text| values::weights(text).map(drop),
    ..KEY
};
/// `mesos master`: how often agents are asked whether they live.
pub static MASTER_PING_TIMEOUT: Key = Key {
    name: "daemon.master.agent-ping-timeout",
    flag: "agent-ping-timeout",
    variable: "MESOS_MASTER_AGENT_PING_TIMEOUT",
    value: "DURATION",
    help: "How long an agent may take to answer a ping; the next one follows then",
    default: Some("5s"),
    check: |text| values::period(text).map(drop),
    ..KEY
};
/// `mesos master`: how often they may not answer.
pub static MASTER_PING_TIMEOUTS: Key = Key {
    name: "daemon.master.max-agent-ping-timeouts",
    flag: "max-agent-ping-timeouts",
    variable: "MESOS_MASTER_MAX_AGENT_PING_TIMEOUTS",
    value: "COUNT",
    help: "An agent that leaves so many pings unanswered is unreachable",
    default: Some("5"),
    check: |text| values::count(text).map(drop),
    ..KEY
};
/// `mesos master`: how long what runs on an unreachable agent is waited for.
pub static MASTER_REREGISTER_TIMEOUT: Key = Key {
    name: "daemon.master.agent-reregister-timeout",
    flag: "agent-reregister-timeout",
    variable: "MESOS_MASTER_AGENT_REREGISTER_TIMEOUT",
    value: "DURATION",
    help: "How long an unreachable agent may come back with its tasks; then they are lost",
    default: Some("10m"),
    check: |text| values::duration(text).map(drop),
    ..KEY
};
/// `mesos master`: how many agents may become unreachable at a time.
pub static MASTER_REMOVAL_RATE: Key = Key {
    name: "daemon.master.agent-removal-rate-limit",
    flag: "agent-removal-rate-limit",
    variable: "MESOS_MASTER_AGENT_REMOVAL_RATE_LIMIT",
    value: "COUNT/DURATION",
    help: "At most so many agents become unreachable within so long: a broken network doesn't empty the cluster at once",
    default: Some("20/1m"),
    check: |text| values::rate(text).map(drop),
    ..KEY
};
/// `mesos master`: its folder.
pub static MASTER_WORK_DIR: Key = Key {
    name: "daemon.master.work-dir",
    flag: "work-dir",
    short: Some('w'),
    variable: "MESOS_MASTER_WORK_DIR",
    value: "DIR",
    help: "Where the master keeps what must last; one master a folder",
    more: "By default ~/.local/state/mesos/master, for root /var/lib/mesos/master. ",
    ..KEY
};

/// `mesos master`: where it meets the others.
pub static MASTER_ZK: Key = Key {
    name: "daemon.master.zk",
    flag: "zk",
    variable: "MESOS_MASTER_ZK",
    value: "zk://…",
    help: "Where the masters of this cluster meet, like zk://a:2181,b:2181/mesos",
    more: "One of them leads, the others stand by. What must survive them is kept there. ",
    check: |text| values::zookeeper(text).map(drop),
    ..KEY
};
/// `mesos master`: how long it may be silent.
pub static MASTER_ZK_SESSION_TIMEOUT: Key = Key {
    name: "daemon.master.zk-session-timeout",
    flag: "zk-session-timeout",
    variable: "MESOS_MASTER_ZK_SESSION_TIMEOUT",
    value: "TIME",
    help: "How long a master may be silent before another one leads",
    more: "ZooKeeper takes it between 2 and 20 of its ticks. ",
    default: Some("10s"),
    check: |text| values::session_timeout(text).map(drop),
    ..KEY
};
/// `mesos master`: the address that others reach.
pub static MASTER_ADVERTISE: Key = Key {
    name: "daemon.master.advertise",
    flag: "advertise",
    variable: "MESOS_MASTER_ADVERTISE",
    value: "ADDRESS",
    help: "With --zk, the address that others reach this master by",
    more: "By default the address it listens on; with --ip 0.0.0.0 the one towards ZooKeeper. ",
    check: |text| values::ip(text).map(drop),
    ..KEY
};

/// `mesos agent`: the address to listen on.
pub static AGENT_IP: Key = Key {
    name: "daemon.agent.ip",
    flag: "ip",
    variable: "MESOS_AGENT_IP",
    value: "ADDRESS",
    help: "The address to listen on",
    more: "Whoever follows a task's output connects to it. ",
    default: Some("127.0.0.1"),
    check: |text| values::ip(text).map(drop),
    ..KEY
};
/// `mesos agent`: the port.
pub static AGENT_PORT: Key = Key {
    name: "daemon.agent.port",
    flag: "port",
    short: Some('p'),
    variable: "MESOS_AGENT_PORT",
    value: "PORT",
    help: "The port to listen on; 0 for any free one",
    default: Some("5051"),
    check: |text| values::port(text).map(drop),
    ..KEY
};
/// `mesos agent`: the address that others reach.
pub static AGENT_ADVERTISE: Key = Key {
    name: "daemon.agent.advertise",
    flag: "advertise",
    variable: "MESOS_AGENT_ADVERTISE",
    value: "ADDRESS",
    help: "The address that other machines reach this agent by",
    more: "By default the address it listens on; with --ip 0.0.0.0 the one towards the master. ",
    check: |text| values::ip(text).map(drop),
    ..KEY
};
/// `mesos agent`: its name.
pub static AGENT_HOSTNAME: Key = Key {
    name: "daemon.agent.hostname",
    flag: "hostname",
    variable: "MESOS_AGENT_HOSTNAME",
    value: "NAME",
    help: "The name that offers show",
    more: "By default this machine's host name. ",
    check: nonempty,
    ..KEY
};
/// `mesos agent`: what it offers.
pub static AGENT_RESOURCES: Key = Key {
    name: "daemon.agent.resources",
    flag: "resources",
    short: Some('r'),
    variable: "MESOS_AGENT_RESOURCES",
    value: "RESOURCES",
    help: "What it offers, like 'cpus:4;mem:4096;ports:[31000-32000]'",
    more: "Memory and disk are in megabytes. By default this machine's cores and memory. ",
    check: |text| values::resources(text).map(drop),
    ..KEY
};
/// `mesos agent`: its properties.
pub static AGENT_ATTRIBUTES: Key = Key {
    name: "daemon.agent.attributes",
    flag: "attributes",
    variable: "MESOS_AGENT_ATTRIBUTES",
    value: "ATTRIBUTES",
    help: "Properties that frameworks choose by, like 'rack:r1;zone:a'",
    separator: Some(';'),
    check: |text| values::attributes(text).map(drop),
    ..KEY
};
/// `mesos agent`: its folder.
pub static AGENT_WORK_DIR: Key = Key {
    name: "daemon.agent.work-dir",
    flag: "work-dir",
    short: Some('w'),
    variable: "MESOS_AGENT_WORK_DIR",
    value: "DIR",
    help: "Where sandboxes and checkpoints are; one agent a folder",
    more: "By default ~/.local/state/mesos/agent, for root /var/lib/mesos/agent. ",
    ..KEY
};
/// `mesos agent`: what becomes of its tasks without it.
pub static AGENT_ON_LOSS: Key = Key {
    name: "daemon.agent.on-agent-loss",
    flag: "on-agent-loss",
    variable: "MESOS_AGENT_ON_AGENT_LOSS",
    value: "WHAT",
    help: "What becomes of tasks when the agent's process dies: keep, keep:DURATION or kill",
    more: "keep lets them run on until the agent is started again, for 15 minutes unless a duration is given. ",
    default: Some("keep"),
    check: |text| values::on_agent_loss(text).map(drop),
    ..KEY
};

/// Every key.
pub static ALL: &[&Key] = &[
    &MASTER,
    &ZK_AUTH_FILE,
    &TOKEN_FILE,
    &PLUGIN_DIR,
    &OUTPUT,
    &STATE_DIR,
    &RUN_CPUS,
    &RUN_MEM,
    &RUN_ROLE,
    &UP_AGENTS,
    &UP_RESOURCES,
    &MASTER_IP,
    &MASTER_PORT,
    &MASTER_WEIGHTS,
    &MASTER_PING_TIMEOUT,
    &MASTER_PING_TIMEOUTS,
    &MASTER_REREGISTER_TIMEOUT,
    &MASTER_REMOVAL_RATE,
    &MASTER_WORK_DIR,
    &MASTER_ZK,
    &MASTER_ZK_SESSION_TIMEOUT,
    &MASTER_ADVERTISE,
    &AGENT_IP,
    &AGENT_PORT,
    &AGENT_ADVERTISE,
    &AGENT_HOSTNAME,
    &AGENT_RESOURCES,
    &AGENT_ATTRIBUTES,
    &AGENT_WORK_DIR,
    &AGENT_ON_LOSS,
];

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

fn nonempty(text: &str) -> Result<(), String> {
    if text.trim().is_empty() { Err("is empty".to_string()) } else { Ok(()) }
}
