//! `cargo xtask chaos`: a cluster of real processes among faults, and a comparison of what ran with what was reported.
//!
//! ```text
//! seed ─▶ plan ─▶ faults ─▶ machines (three with a master and a ZooKeeper server, four with an agent and its launcher)
//!                              ▲  │
//!            commands ─────────┘  └─▶ tasks ─▶ records
//!               └─ exit codes ───▶ compare ◀──────┘
//! ```
//! Every task writes a record of its own where all machines see it. No fault here may lose a task: none outlasts the patience of a
//! master with an agent, and agents come back to what they ran. Only how a task ends whose launcher was killed can't be known: commands
//! that a killed launcher excuses are counted apart.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Arg, ArgMatches, Command, value_parser};
use harness::{Cmd, Mpi, Running, Skip, programs};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::workspace::{self, Profile};

mod machines;
mod plan;
mod records;

use machines::{AGENTS, MASTERS, Machines};
use plan::{Fault, Step};
use records::{Ended, Told};

/// How long commands may take to end after everything is well again.
const SETTLED_WITHIN: Duration = Duration::from_secs(120);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Only bounds the waits of the harness.
const COMMAND_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// What is run over and over: tasks of a command, and how many seconds each takes.
const LOADS: &[(usize, &str)] = &[(4, "0.2"), (2, "3"), (1, "15")];
/// The same of an MPI job.
const RANKS: &str = "4";
const MPI_SECONDS: &str = "10";

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// The command line.
pub fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        let at_least_one = value_parser!(u64).range(1..);
        Arg::new(name).long(name).value_name("N").default_value(default).value_parser(at_least_one).help(help)
    };
    Command::new("chaos")
        .about("Kill, stop and cut off the processes of a real cluster, and compare what ran with what was reported")
        .arg(number("minutes", "2", "How long faults are injected"))
        .arg(number("seed", "1", "The same seed gives the same faults"))
}

/// True if nothing differs.
///
/// # Errors
/// It doesn't build, or a process ends by itself.
pub fn run(matches: &ArgMatches) -> Result<bool> {
    let [minutes, seed] = ["minutes", "seed"].map(|name| *matches.get_one::<u64>(name).expect("it has a default"));
    workspace::build(Profile::Dev)?;
    heed_interrupts()?;
    let (mut machines, program) = match start()? {
        Ok(parts) => parts,
        Err(skip) => {
            skip.tell();
            return Ok(true);
        }
    };
    let steps = plan::plan(seed, AGENTS, MASTERS, Duration::from_secs(60 * minutes));
    println!("seed {seed}: {} faults in {minutes} minutes; files in {}", steps.len(), machines.home.folder().display());
    let records = machines.home.work().join("records");
    std::fs::create_dir(&records).context("make the folder for records")?;
    let load = Load::new(&machines, program);
    let (injected, survived) = thread::scope(|scope| {
        for (worker, (tasks, seconds)) in LOADS.iter().enumerate() {
            let load = &load;
            scope.spawn(move || load.go_on(worker, *tasks, |command| load.tasks(command, *tasks, seconds)));
        }
        scope.spawn(|| load.go_on(LOADS.len(), 0, |_| load.mpi_job()));
        // Also in a panic: the commands that run on would be waited for otherwise.
        let _over = EndLoad(&load.over);
        let injected = inject(&mut machines, &steps, &load.launchers_killed);
        let settled = injected.and_then(|injected| machines.wait_until_whole().map(|()| injected));
        (settled, machines.check())
    });
    if INTERRUPTED.load(Ordering::Acquire) {
        eprintln!("interrupted: nothing is compared");
        return Ok(false);
    }
    survived?;
    report(&injected?, &load.told.into_inner().unwrap_or_else(PoisonError::into_inner), &records, machines)
}

/// The machines and the program of the MPI jobs; why not, where a part can't be had.
fn start() -> Result<Result<(Machines, PathBuf), Skip>> {
    let program = match Mpi::mpich() {
        Ok(mpi) => programs::compiled(&mpi, "rounds"),
        Err(skip) => return Ok(Err(skip)),
    };
    Ok(Machines::start()?.map(|machines| (machines, program)))
}

/// Carries the plan out, and counts.
fn inject(
    machines: &mut Machines,
    steps: &[Step],
    launchers_killed: &AtomicUsize,
) -> Result<BTreeMap<&'static str, usize>> {
    let mut injected = BTreeMap::new();
    for Step { after, fault, lasts } in steps {
        if !pause(*after, machines)? {
            break;
        }
        if matches!(fault, Fault::KillLauncher(_)) {
            // Before it is killed: a command may end at once.
            launchers_killed.fetch_add(1, Ordering::AcqRel);
        }
        let begun = machines.begin(*fault);
        let goes_on = pause(*lasts, machines)?;
        machines.heal(*fault);
        *injected.entry(fault.kind()).or_default() += usize::from(begun);
        if !goes_on {
            break;
        }
    }
    Ok(injected)
}

fn report(
    injected: &BTreeMap<&'static str, usize>,
    told: &[Told],
    folder: &std::path::Path,
    machines: Machines,
) -> Result<bool> {
    let records = records::read(folder)?;
    let findings = records::compare(told, &records);
    for (kind, count) in injected {
        println!("{count:6}  {kind}");
    }
    println!("{:6}  masters that gave the lead up by themselves, and were started again", machines.resigned);
    let jobs = told.iter().filter(|told| told.tasks == 0).count();
    println!("{:6}  commands, {} tasks started; {jobs} of them MPI jobs", told.len(), records.len());
    println!("{:6}  commands that a killed launcher excuses", findings.excused.len());
    let mut holds = true;
    for (what, ids) in findings.counts() {
        println!("{:6}  {what}", ids.len());
        ids.iter().for_each(|id| println!("          {id}"));
        holds &= ids.is_empty();
    }
    if !holds {
        let kept = std::env::temp_dir().join(format!("mesos-chaos-{}", std::process::id()));
        copy(machines.home.folder(), &kept)?;
        println!("what the processes wrote is in {}", kept.display());
    }
    Ok(holds)
}

/// For whoever looks for the reason; without sockets and devices.
fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    workspace::run(std::process::Command::new("cp").args(["-r", "--no-preserve=all"]).args([
        from.join("outputs"),
        from.join("work"),
        to.to_path_buf(),
    ]))
}

/// Commands that run tasks, one after the other, several at a time.
struct Load {
    /// Builds a command; made before, as the machines are busy with faults.
    commands: Box<dyn Fn(&str) -> Cmd + Send + Sync>,
    script: String,
    records: String,
    mpi_program: PathBuf,
    /// How many, up to now.
    launchers_killed: AtomicUsize,
    over: AtomicBool,
    told: Mutex<Vec<Told>>,
}

/// Ends the load when it is dropped.
struct EndLoad<'a>(&'a AtomicBool);

impl Drop for EndLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Load {
    fn new(machines: &Machines, mpi_program: PathBuf) -> Self {
        let script = machines.home.script("task", records::SCRIPT).display().to_string();
        let records = machines.home.work().join("records").display().to_string();
        Self {
            commands: Box::new(machines.commands()),
            script,
            records,
            mpi_program,
            launchers_killed: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            told: Mutex::default(),
        }
    }

    /// One after the other until all is over; `run` gets the number of each.
    fn go_on(&self, worker: usize, tasks: usize, run: impl Fn(usize) -> Ended) {
        for turn in 0.. {
            if self.over.load(Ordering::Acquire) {
                return;
            }
            let command = turn * (LOADS.len() + 1) + worker;
            let before = self.launchers_killed.load(Ordering::Acquire);
            let ended = run(command);
            let excused = self.launchers_killed.load(Ordering::Acquire) != before;
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(Told { command, tasks, ended, excused });
        }
    }

    fn tasks(&self, command: usize, tasks: usize, seconds: &str) -> Ended {
        let cmd = (self.commands)("run").args(["--count", &tasks.to_string(), "--cpus", "0.1", "--mem", "16", "--"]);
        let cmd = cmd.args([&self.script, &self.records, &command.to_string()]).arg(seconds);
        self.wait(cmd.limit(COMMAND_LIMIT).start()).0
    }

    /// Ends well only if all ranks have met in every round.
    fn mpi_job(&self) -> Ended {
        let cmd =
            (self.commands)("run-mpi").args(["-n", RANKS, "--ntasks-per-node", "1", "-c", "1", "--mem-per-rank", "64"]);
        match self.wait(cmd.arg(&self.mpi_program).arg(MPI_SECONDS).limit(COMMAND_LIMIT).start()) {
            (Ended::Code(Some(0)), said) if !said.contains("agreed in every round") => Ended::Code(None),
            (ended, _) => ended,
        }
    }

    /// For its end, and what it has printed, or until it has had all the time in the world.
    fn wait(&self, mut running: Running) -> (Ended, String) {
        let mut well_since = None;
        while !running.has_ended() {
            if self.over.load(Ordering::Acquire) {
                let since: Instant = *well_since.get_or_insert_with(Instant::now);
                if since.elapsed() > SETTLED_WITHIN || INTERRUPTED.load(Ordering::Acquire) {
                    return (Ended::Never, String::new());
                }
            }
            thread::sleep(LOOK_AGAIN);
        }
        let ended = running.wait();
        if ended.code != Some(0) {
            eprintln!("a command has ended with {:?}: {}", ended.code, ended.stderr.trim());
        }
        (Ended::Code(ended.code), ended.stdout)
    }
}

/// Looks after the machines meanwhile. Whether it may go on afterwards.
fn pause(length: Duration, machines: &mut Machines) -> Result<bool> {
    let until = Instant::now() + length;
    while Instant::now() < until && !INTERRUPTED.load(Ordering::Acquire) {
        machines.tend()?;
        thread::sleep(LOOK_AGAIN);
    }
    Ok(!INTERRUPTED.load(Ordering::Acquire))
}

/// Ctrl-C ends it like the end of the plan: with everything that it has started.
fn heed_interrupts() -> Result<()> {
    extern "C" fn heed(_: i32) {
        INTERRUPTED.store(true, Ordering::Release);
    }
    let action = SigAction::new(SigHandler::Handler(heed), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }.context("heed interrupts")?;
    }
    Ok(())
}
