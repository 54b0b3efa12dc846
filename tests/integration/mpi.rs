//! Real MPI programs of three MPIs, on agents in network namespaces of their own and on `mesos up --agents 4`.

#[path = "mpi/everywhere.rs"]
mod everywhere;
#[path = "mpi/lost.rs"]
mod lost;
#[path = "mpi/options.rs"]
mod options;

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use harness::{Cluster, Cmd, Finished, Mpi, Skip, programs};

/// How many agents each cluster has.
const AGENTS: u8 = 4;

/// Four ranks and their daemons, on a busy machine with two cores.
const LIMIT: Duration = Duration::from_secs(120);

/// Where the agents are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Each on a machine of its own: a network namespace with its own host name.
    Machines,
    /// All on this machine, started by `mesos up`.
    Up,
}

/// One job at a time: waiting ranks spin, and two jobs on two cores would only wait for each other.
type Turn = MutexGuard<'static, ()>;

/// A cluster, and an MPI to run programs of.
struct Setting {
    cluster: Cluster,
    mpi: Mpi,
    place: Place,
    turn: Option<Turn>,
}

impl Setting {
    fn new(place: Place, mpi: fn() -> Result<Mpi, Skip>) -> Result<Setting, Skip> {
        let mpi = mpi()?;
        let turn = next_turn();
        let cluster = match place {
            Place::Machines => Cluster::on_machines(AGENTS)?,
            Place::Up => Cluster::up(AGENTS),
        };
        Ok(Setting { cluster, mpi, place, turn: Some(turn) })
    }

    /// Lets other tests have their turn while this one waits for something that uses no core.
    fn aside<T>(&mut self, wait: impl FnOnce() -> T) -> T {
        self.turn = None;
        let result = wait();
        self.turn = Some(next_turn());
        result
    }

    /// A test program, compiled for this MPI.
    fn program(&self, name: &str) -> PathBuf {
        programs::compiled(&self.mpi, name)
    }

    /// `mesos run-mpi OPTIONS… PROGRAM ARGS…`
    fn job(&self, options: &[&str], program: &str, args: &[&str]) -> Cmd {
        self.cluster.mesos(["run-mpi"]).args(options).arg(self.program(program)).args(args).limit(LIMIT)
    }

    /// Waits until no rank of that program is left.
    fn assert_no_ranks_left(&self, program: &str) {
        self.cluster.home.wait_until_gone(self.program(program).to_str().expect("target has a name in UTF-8"));
    }

    /// The end of a test that went well: the cluster ends too, and leaves nothing.
    fn finish(self) {
        self.cluster.stop_and_assert_nothing_left();
    }
}

fn next_turn() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    // A test that failed has left nothing that would disturb the next.
    TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// A line of the program `hello`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hello {
    rank: u32,
    size: u32,
    host: String,
    sandbox: String,
}

/// What the ranks said, in the order of their numbers.
fn hellos(finished: &Finished) -> Vec<Hello> {
    let read = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ["rank", rank, "of", size, "on", host, "sandbox", sandbox] = words[..] else {
            panic!("{line:?} in\n{finished}")
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{line:?} in\n{finished}"));
        Hello { rank: number(rank), size: number(size), host: host.to_string(), sandbox: sandbox.to_string() }
    };
    let mut all: Vec<Hello> = finished.stdout.lines().map(read).collect();
    all.sort_by_key(|hello| hello.rank);
    all
}
