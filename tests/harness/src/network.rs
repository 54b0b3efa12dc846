//! Machines for a cluster on this one: network namespaces around a hub that holds a bridge.
//!
//! ```text
//!        hub 10.77.0.1 (bridge)            the master and the commands run here
//!       ┌──────┼───────┐
//!   m1 .11   m2 .12   m3 .13 …             an agent each, with a host name of its own
//! ```
//! The hub is a namespace too, so nothing of this touches the real network, and every cluster can use the same addresses.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::packages::{self, Permission};
use crate::{Skip, processes};

/// One machine: a network namespace with an address and a host name.
#[derive(Debug, Clone)]
pub struct Machine {
    /// What `gethostname` says there.
    pub hostname: String,
    /// Its address on the bridge.
    pub address: String,
    namespace: String,
}

/// A hub and its machines; all of it goes when this is dropped.
#[derive(Debug)]
pub struct Network {
    /// Where the bridge is.
    pub hub: Machine,
    /// The machines around it.
    pub machines: Vec<Machine>,
}

impl Network {
    /// A hub with that many machines.
    ///
    /// # Errors
    /// The reason, where this is not possible here.
    pub fn new(count: u8) -> Result<Network, Skip> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        Skip::unless_root("making network namespaces")?;
        packages::programs(&["ip"], &["iproute2"], Permission::Root)?;
        remove_leftovers();

        let prefix = format!("{PREFIX}{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let machine = |hostname: String, last: u8| {
            let namespace = format!("{prefix}-{hostname}");
            Machine { hostname, address: format!("10.77.0.{last}"), namespace }
        };
        let hub = machine("hub".into(), 1);
        let machines = (1..=count).map(|number| machine(format!("m{number}"), 10 + number)).collect();
        let network = Network { hub, machines };
        network.build();
        Ok(network)
    }

    /// Takes the machine's cable out: what it sends gets nowhere, and what runs there runs on.
    pub fn cut(&self, machine: &Machine) {
        self.hub.ip(&format!("link set {} down", machine.hostname));
    }

    /// Puts the cable back.
    pub fn heal(&self, machine: &Machine) {
        self.hub.ip(&format!("link set {} up", machine.hostname));
    }

    /// The machine loses its power: it is cut off, and everything on it is killed.
    pub fn lose(&self, machine: &Machine) {
        self.cut(machine);
        machine.kill_all();
    }

    fn build(&self) {
        ip(&[], &format!("netns add {}", self.hub.namespace));
        let Machine { address, .. } = &self.hub;
        self.hub.ip(&format!(
            "link set lo up\nlink add bridge type bridge\naddr add {address}/24 dev bridge\nlink set bridge up"
        ));
        for Machine { hostname, address, namespace } in &self.machines {
            ip(&[], &format!("netns add {namespace}"));
            self.hub.ip(&format!(
                "link add {hostname} type veth peer name eth0 netns {namespace}\nlink set {hostname} master bridge up"
            ));
            ip(&["-n", namespace], &format!("link set lo up\naddr add {address}/24 dev eth0\nlink set eth0 up"));
        }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in self.machines.iter().chain([&self.hub]) {
            machine.remove();
        }
    }
}

impl Machine {
    /// The file that stands for its network namespace.
    pub fn namespace_path(&self) -> PathBuf {
        PathBuf::from("/run/netns").join(&self.namespace)
    }

    /// Open: to enter it.
    pub(crate) fn namespace(&self) -> File {
        File::open(self.namespace_path()).expect("a machine's namespace lasts as long as the machine")
    }

    /// What `look` sees from within its network.
    pub fn from_within<T: Send>(&self, look: impl FnOnce() -> T + Send) -> T {
        let namespace = self.namespace();
        // A thread of its own goes there, and ends there.
        let look = || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).expect("root may enter a namespace");
            look()
        };
        thread::scope(|scope| scope.spawn(look).join()).expect("it says so itself")
    }

    fn ip(&self, batch: &str) {
        ip(&["-n", &self.namespace], batch);
    }

    fn kill_all(&self) {
        loop {
            let listed =
                Command::new(tool()).args(["netns", "pids", &self.namespace]).output().expect("`ip` was found");
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            let pids: Vec<i32> = listed.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
            for pid in &pids {
                // It may have ended since it was listed.
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            if pids.is_empty() {
                return;
            }
        }
    }

    fn remove(&self) {
        if self.namespace_path().exists() {
            self.kill_all();
            // While dropped in a panic there is nobody left to tell; the next run removes what is left.
            let _ = Command::new(tool()).args(["netns", "del", &self.namespace]).stderr(Stdio::null()).status();
        }
    }
}

const PREFIX: &str = "mesos-test-";

/// Removes the namespaces of test processes that were killed before they could do so.
fn remove_leftovers() {
    let running = |pid: i32| processes::all().iter().any(|process| process.pid == pid);
    for entry in std::fs::read_dir("/run/netns").into_iter().flatten().flatten() {
        let namespace = entry.file_name().to_string_lossy().into_owned();
        let owner = namespace.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()?.parse().ok());
        if owner.is_some_and(|pid| !running(pid)) {
            Machine { hostname: String::new(), address: String::new(), namespace }.remove();
        }
    }
}

/// One `ip` process for several lines of commands.
fn ip(options: &[&str], batch: &str) {
    let mut command = Command::new(tool());
    command.args(options).args(["-batch", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("`ip` was found");
    child.stdin.take().expect("it is a pipe").write_all(batch.as_bytes()).expect("`ip` reads its commands");
    let output = child.wait_with_output().expect("it is a child of this process");
    assert!(output.status.success(), "ip {options:?} {batch:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn tool() -> PathBuf {
    packages::find("ip").expect("`ip` was found when the network was made")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Cmd, or_skip, poll};

    #[test]
    fn machines_have_names_and_reach_each_other_until_the_cable_is_out() {
        let network = or_skip!(Network::new(2));
        let outputs = tempfile::tempdir().unwrap();
        let [first, second] = &network.machines[..] else { panic!("two were asked for") };

        let named = Cmd::new("/bin/sh", outputs.path()).args(["-c", "cat /proc/sys/kernel/hostname"]).on(second).run();
        assert_eq!(named.stdout.trim(), "m2");

        let listener = format!("timeout 2 /bin/bash -c 'exec 3<>/dev/tcp/{}/9'", second.address);
        let reach = || {
            let connect =
                Cmd::new("/bin/sh", outputs.path()).args(["-c", &listener]).on(first).limit(Duration::from_secs(20));
            connect.run().stderr
        };
        assert!(reach().contains("refused"), "the other machine answers that nobody listens");
        network.cut(second);
        let unreachable = || (!reach().contains("refused")).then_some(());
        poll::until(Duration::from_secs(30), "the cut to show", unreachable);
    }

    #[test]
    fn nothing_of_a_network_outlives_it_even_after_a_panic() {
        let network = or_skip!(Network::new(1));
        let path = network.machines[0].namespace_path();
        assert!(path.exists());
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _network = network;
            panic!("on purpose");
        }))
        .unwrap_err();
        assert!(!path.exists());
    }
}
