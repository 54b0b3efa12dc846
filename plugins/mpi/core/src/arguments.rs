//! From the words of the command line to a [`Job`].

use std::time::Duration;

use mesos_plugin_api::Invocation;
use mesos_plugin_api::v1::EnvironmentVariable;
use thiserror::Error;

use crate::capacity::OVERSUBSCRIBED_MILLI_CPUS;
use crate::hostlist::{self, HostlistError};
use crate::messages::input::From;
use crate::messages::{Distribution, Input, Job, Mpi};
use crate::output::{self, PatternError};
use crate::time_limit;

/// What environment and arguments may take together, in bytes; they travel to each node in one message, and Linux itself
/// takes about twice as much.
pub const ENVIRONMENT_BYTES_MAX: usize = 1 << 20;
/// More ranks are a slip of the finger.
const RANKS_MAX: u32 = 1_000_000;

/// A job, and the files of this machine that it needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The job without its files.
    pub job: Job,
    /// The program is to be sent along.
    pub bcast: bool,
    /// The file that the ranks read.
    pub input_file: Option<String>,
    /// The name was chosen by the person and must be free.
    pub named: bool,
}

/// What is wrong with a command line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ArgumentError {
    /// A value that can't be read, or makes no sense.
    #[error("{flag} {value:?}: {problem}")]
    Value {
        /// The flag, with its hyphens.
        flag: &'static str,
        /// As it was typed.
        value: String,
        /// What was wanted.
        problem: String,
    },
    /// Two flags that don't go together.
    #[error("{flags}: {problem}")]
    Conflict {
        /// Both, with their values.
        flags: String,
        /// Why not.
        problem: &'static str,
    },
    /// Nothing to run.
    #[error("no program given: mesos run-mpi -n 4 ./program arguments…")]
    NoProgram,
    /// The habit of mpirun's users, which reads as `-n p`.
    #[error("-np is mpirun's word: write -n here")]
    Np,
    /// Several programs, as mpirun takes them.
    #[error(
        "{before:?} : {after:?}: one job runs one program on all its ranks; start one job each, or let a script choose by MESOS_RANK. A \
         program that takes a ':' itself can be started by one, too: sh -c '…'"
    )]
    SeveralPrograms {
        /// The first program.
        before: String,
        /// The word after the colon.
        after: String,
    },
    /// Environment and arguments are too large.
    #[error(
        "environment and arguments take {bytes} bytes, at most {ENVIRONMENT_BYTES_MAX} can go to every rank; the largest is \
         {largest} with {largest_bytes}: unset what the program doesn't need (env -u {largest})"
    )]
    Environment {
        /// Together.
        bytes: usize,
        /// The name of the largest variable.
        largest: String,
        /// Of its value.
        largest_bytes: usize,
    },
    /// A list of hosts.
    #[error("{flag}: {error}")]
    Hosts {
        /// The flag, with its hyphens.
        flag: &'static str,
        /// What is wrong with it.
        error: HostlistError,
    },
    /// A pattern for output.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

type Result<T> = std::result::Result<T, ArgumentError>;

/// Reads a command line.
///
/// # Errors
/// The first thing that is wrong with it, with flag and value.
pub fn plan(invocation: &Invocation) -> Result<Plan> {
    let program = invocation.trailing.first().filter(|program| !program.is_empty()).ok_or(ArgumentError::NoProgram)?;
    one_program(&invocation.trailing)?;
    let shape = Shape::read(invocation)?;
    let (input, input_file) = input(invocation, shape.ranks)?;
    let job = Job {
        name: name(invocation, program)?,
        ranks: shape.ranks,
        nodes: shape.nodes,
        ranks_per_node: shape.ranks_per_node,
        cpus_per_rank: cpus(invocation)?,
        mem_per_rank: memory(invocation)?,
        time_limit_ms: time(invocation)?,
        include_hosts: hosts(invocation, "nodelist", "-w")?,
        exclude_hosts: hosts(invocation, "exclude", "-x")?,
        distribution: Some(distribution(invocation)?.into()),
        label: invocation.flag("label").then_some(true),
        stdout: pattern(invocation, "output", "-o")?,
        stderr: pattern(invocation, "error", "-e")?,
        input: Some(input),
        mpi: Some(mpi(invocation)?.into()),
        mpirun: invocation.value("mpirun").map(String::from),
        gang_timeout_ms: gang_timeout(invocation)?,
        keep_on_bad_exit: keep_on_bad_exit(invocation)?,
        detached: invocation.flag("detach").then_some(true),
        argv: invocation.trailing.clone(),
        environment: environment(invocation)?,
        working_directory: invocation.working_directory.clone(),
        uris: Vec::new(),
        program_in_sandbox: None,
        kvs_name: None,
    };
    Ok(Plan { job, bcast: invocation.flag("bcast"), input_file, named: invocation.value("name").is_some() })
}

/// Who is used to mpirun would get the first program, on other ranks than they think, with the others as its arguments.
fn one_program(words: &[Vec<u8>]) -> Result<()> {
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    match words.iter().position(|word| word == b":").and_then(|colon| words.get(colon + 1)) {
        Some(after) => Err(ArgumentError::SeveralPrograms { before: text(&words[0]), after: text(after) }),
        None => Ok(()),
    }
}

/// Ranks and nodes, which depend on each other.
struct Shape {
    ranks: u32,
    nodes: Option<u32>,
    ranks_per_node: Option<u32>,
}

impl Shape {
    fn read(invocation: &Invocation) -> Result<Self> {
        let ranks = count(invocation, "ntasks", "-n", "ranks")?;
        let nodes = count(invocation, "nodes", "-N", "nodes")?;
        let ranks_per_node = count(invocation, "ntasks-per-node", "--ntasks-per-node", "ranks")?;
        let by_nodes = nodes.map(|nodes| nodes.saturating_mul(ranks_per_node.unwrap_or(1)));
        let shape = Self { ranks: ranks.or(by_nodes).unwrap_or(1), nodes, ranks_per_node };
        shape.checked()
    }

    fn checked(self) -> Result<Self> {
        let Self { ranks, nodes, ranks_per_node } = self;
        if ranks > RANKS_MAX {
            return Err(value("-n", &ranks.to_string(), format!("at most {RANKS_MAX} ranks")));
        }
        if let Some(nodes) = nodes.filter(|nodes| *nodes > ranks) {
            return Err(conflict(format!("-N {nodes} -n {ranks}"), "there are more nodes than ranks"));
        }
        if let (Some(nodes), Some(each)) = (nodes, ranks_per_node)
            && nodes.saturating_mul(each) < ranks
        {
            let flags = format!("-N {nodes} --ntasks-per-node {each} -n {ranks}");
            return Err(conflict(flags, "so many ranks don't fit on so many nodes"));
        }
        Ok(self)
    }
}

fn count(invocation: &Invocation, name: &str, flag: &'static str, what: &str) -> Result<Option<u32>> {
    let Some(text) = invocation.value(name) else { return Ok(None) };
    match text.parse() {
        Ok(0) => Err(value(flag, text, format!("at least one of the {what} is needed"))),
        Ok(count) => Ok(Some(count)),
        Err(_) if text == "p" => Err(ArgumentError::Np),
        Err(_) => Err(value(flag, text, format!("not a number of {what}"))),
    }
}

fn cpus(invocation: &Invocation) -> Result<i64> {
    let given = invocation.value("cpus-per-rank");
    match (given, invocation.flag("oversubscribe")) {
        (Some(given), true) => {
            Err(conflict(format!("-c {given} --oversubscribe"), "ranks that share cores have none of their own"))
        }
        (None, true) => Ok(OVERSUBSCRIBED_MILLI_CPUS),
        (None, false) => Ok(1000),
        (Some(text), false) => match text.parse::<f64>() {
            Ok(cpus) if (0.01..=100_000.0).contains(&cpus) => Ok((cpus * 1000.0).round() as i64),
            _ => Err(value("-c", text, "not a number of cores above 0".into())),
        },
    }
}

/// Megabytes; K, M, G and T are understood as srun does. 0 if it isn't given.
fn memory(invocation: &Invocation) -> Result<i64> {
    let Some(text) = invocation.value("mem-per-rank") else { return Ok(0) };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "K" | "KB" => 1.0 / 1024.0,
        "" | "M" | "MB" => 1.0,
        "G" | "GB" => 1024.0,
        "T" | "TB" => 1024.0 * 1024.0,
        _ => 0.0,
    };
    let milli = digits.parse::<f64>().map_or(0.0, |number| (number * factor * 1000.0).round());
    if (1.0..=1e15).contains(&milli) {
        Ok(milli as i64)
    } else {
        Err(value("--mem-per-rank", text, "not an amount of memory in megabytes, like 512 or 2G".into()))
    }
}

fn time(invocation: &Invocation) -> Result<Option<u64>> {
    let Some(text) = invocation.value("time") else { return Ok(None) };
    let limit = time_limit::parse(text)
        .ok_or_else(|| value("-t", text, "write minutes, min:sec, h:min:sec, d-h, d-h:min or d-h:min:sec".into()))?;
    Ok(Some(milliseconds(limit)))
}

/// Seconds, or with a unit.
fn gang_timeout(invocation: &Invocation) -> Result<Option<u64>> {
    let Some(text) = invocation.value("gang-timeout") else { return Ok(None) };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => Some(1),
        "m" | "min" => Some(60),
        "h" => Some(3600),
        _ => None,
    };
    let seconds = digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
    let seconds = seconds.filter(|seconds| *seconds > 0);
    let wanted = || value("--gang-timeout", text, "not a time above 0, like 30s, 5m or 2h".into());
    Ok(Some(milliseconds(Duration::from_secs(seconds.ok_or_else(wanted)?))))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn hosts(invocation: &Invocation, name: &str, flag: &'static str) -> Result<Vec<String>> {
    let mut hosts = Vec::new();
    for list in invocation.values(name) {
        hosts.extend(hostlist::expand(list).map_err(|error| ArgumentError::Hosts { flag, error })?);
    }
    Ok(hosts)
}

fn distribution(invocation: &Invocation) -> Result<Distribution> {
    match invocation.value("distribution") {
        None | Some("block") => Ok(Distribution::Block),
        Some("cyclic") => Ok(Distribution::Cyclic),
        Some(text) => Err(value("--distribution", text, "block or cyclic is wanted".into())),
    }
}

fn pattern(invocation: &Invocation, name: &str, flag: &'static str) -> Result<Option<String>> {
    let Some(pattern) = invocation.value(name) else { return Ok(None) };
    output::check(flag, pattern)?;
    Ok(Some(pattern.to_string()))
}

fn mpi(invocation: &Invocation) -> Result<Mpi> {
    let mpirun = invocation.value("mpirun");
    match (invocation.value("mpi"), mpirun) {
        (None | Some("auto"), None) => Ok(Mpi::Auto),
        (Some("pmi1"), None) => Ok(Mpi::Pmi1),
        (None | Some("auto" | "openmpi"), _) => Ok(Mpi::Openmpi),
        (Some("pmi1"), Some(mpirun)) => {
            Err(conflict(format!("--mpi=pmi1 --mpirun {mpirun}"), "ranks are launched without mpirun then"))
        }
        (Some(text), _) => Err(value("--mpi", text, "auto, pmi1 or openmpi is wanted".into())),
    }
}

fn keep_on_bad_exit(invocation: &Invocation) -> Result<Option<bool>> {
    match invocation.value("kill-on-bad-exit") {
        None | Some("1") => Ok(None),
        Some("0") => Ok(Some(true)),
        Some(text) => Err(value("--kill-on-bad-exit", text, "0 or 1 is wanted".into())),
    }
}

/// Who reads, and the file on this machine if it is one.
fn input(invocation: &Invocation, ranks: u32) -> Result<(Input, Option<String>)> {
    let detached = invocation.flag("detach");
    let input = |from| Input { from: Some(from) };
    let from = match invocation.value("input") {
        None if detached => From::None(true),
        None => From::Rank(0),
        Some("none") => From::None(true),
        Some("all") => From::All(true),
        Some(text) => match text.parse::<u32>() {
            Ok(rank) if rank < ranks => From::Rank(rank),
            Ok(_) => return Err(value("--input", text, format!("ranks go from 0 to {}", ranks - 1))),
            Err(_) => return Ok((input(From::File(INPUT_FILE.into())), Some(text.to_string()))),
        },
    };
    if detached && !matches!(from, From::None(_)) {
        return Err(conflict("--detach --input".into(), "nobody is there to give input; name a file"));
    }
    Ok((input(from), None))
}

/// The name of the file that ranks read, in each sandbox.
pub const INPUT_FILE: &str = "mesos-input";

fn name(invocation: &Invocation, program: &[u8]) -> Result<String> {
    match invocation.value("name") {
        Some(name) if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '/') => {
            Err(value("--name", name, "a name has no slash and no white space".into()))
        }
        Some(name) => Ok(name.to_string()),
        None => {
            let program = String::from_utf8_lossy(program).into_owned();
            let base = program.rsplit('/').find(|part| !part.is_empty()).unwrap_or("program");
            let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
            Ok(format!("mpi-{}", base.chars().map(plain).take(40).collect::<String>()))
        }
    }
}

fn environment(invocation: &Invocation) -> Result<Vec<EnvironmentVariable>> {
    let size = |variable: &EnvironmentVariable| variable.name.len() + variable.value.len() + 2;
    let arguments: usize = invocation.trailing.iter().map(|word| word.len() + 1).sum();
    let bytes = arguments + invocation.environment.iter().map(size).sum::<usize>();
    if bytes <= ENVIRONMENT_BYTES_MAX {
        return Ok(invocation.environment.clone());
    }
    let largest = invocation.environment.iter().max_by_key(|variable| variable.value.len());
    let (largest, largest_bytes) = largest
        .map_or(("the arguments".to_string(), arguments), |variable| (variable.name.clone(), variable.value.len()));
    Err(ArgumentError::Environment { bytes, largest, largest_bytes })
}

fn value(flag: &'static str, value: &str, problem: String) -> ArgumentError {
    ArgumentError::Value { flag, value: value.to_string(), problem }
}

fn conflict(flags: String, problem: &'static str) -> ArgumentError {
    ArgumentError::Conflict { flags, problem }
}

#[cfg(test)]
mod tests;
