//! The master, in a process of its own: its memory is counted, and it is killed like one that fails.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use mesos_host::master::MasterConfig;
use mesos_host::master::shell::{Keeps, MasterHandle, MasterOptions};
use mesos_host::protocol::client::{Credentials, MasterClient};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Failure;

/// A running master; killed when this is dropped.
pub struct Leader {
    child: Child,
    said: BufReader<ChildStdout>,
    address: String,
}

/// Memory of a master, in kilobytes.
#[derive(Clone, Copy)]
pub struct Memory {
    /// What it has allocated and not freed.
    pub heap: f64,
    /// What it has of memory that isn't a file's: with what it has freed and not given back.
    pub resident: f64,
}

impl Leader {
    /// Returns when it leads.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--master").arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let said = BufReader::new(child.stdout.take().expect("it is a pipe"));
        let mut leader = Self { child, said, address: String::new() };
        leader.address = leader.line()?;
        match leader.address.is_empty() {
            true => Err("the master ended before it led".into()),
            false => Ok(leader),
        }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    pub async fn client(&self, credentials: &Credentials) -> Result<MasterClient, Failure> {
        Ok(MasterClient::connect(&self.address, credentials.clone()).await?)
    }

    pub fn memory(&mut self) -> Result<Memory, Failure> {
        let mut asks = self.child.stdin.as_ref().expect("it is a pipe");
        writeln!(asks, "memory")?;
        let heap = self.line()?.parse()?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let resident = line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no RssAnon")?.parse()?;
        Ok(Memory { heap, resident })
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        self.said.read_line(&mut line)?;
        Ok(line.trim().to_string())
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        // It may have failed by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other side: leads until whoever started it is gone.
pub async fn lead(folder: &Path) -> Result<(), Failure> {
    let config = MasterConfig { master_id: "bench".into(), ..MasterConfig::default() };
    let listen = Some("127.0.0.1:0".parse()?);
    let work_dir = folder.to_path_buf();
    let options = MasterOptions { config, work_dir, keeps: Keeps::WorkDir, listen, token: None };
    let mut master = MasterHandle::start(options).await?;
    println!("{}", master.address().expect("it listens"));
    let alone = tokio::task::spawn_blocking(|| {
        for _ask in std::io::stdin().lines() {
            println!("{:.1}", allocated_kilobytes());
        }
    });
    tokio::select! {
        line = master.ended() => Err(line.into()),
        _ = alone => Ok(()),
    }
}

/// Each agent is a connection with two ends.
pub fn raise_file_limit() {
    const WANTED: u64 = 65_536;
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && setrlimit(Resource::RLIMIT_NOFILE, WANTED, WANTED.max(hard)).is_err()
    {
        // Only root may go beyond it; where that is too little, connecting fails and says so.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    }
}

fn allocated_kilobytes() -> f64 {
    // SAFETY: it only reads the counters of the allocator.
    let counters = unsafe { nix::libc::mallinfo2() };
    (counters.uordblks + counters.hblkhd) as f64 / 1024.0
}
