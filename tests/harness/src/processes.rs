//! The processes of this machine, as `/proc` shows them: what a test left running is found by the unique name of its folder.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::poll;

/// A process, with enough of its command line to recognise it in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: i32,
    /// Its parent's id.
    pub parent: i32,
    /// Its arguments, joined by spaces; the name in brackets where the kernel shows none.
    pub command: String,
}

impl Process {
    /// Whether it is the launcher of some agent.
    pub fn is_launcher(&self) -> bool {
        self.command.starts_with("mesos-launcher")
    }
}

/// All processes whose arguments, environment, working directory, program or open files name `needle`, except this one.
/// A zombie shows none of these and is not found.
pub fn naming(needle: &str) -> Vec<Process> {
    let own = std::process::id() as i32;
    all().into_iter().filter(|process| process.pid != own && names(process.pid, needle)).collect()
}

/// All processes that descend from `ancestor`.
pub fn descendants(ancestor: i32) -> Vec<Process> {
    let mut rest = all();
    let mut found: Vec<Process> = Vec::new();
    loop {
        let (children, others): (Vec<_>, Vec<_>) = rest
            .into_iter()
            .partition(|process| process.parent == ancestor || found.iter().any(|known| known.pid == process.parent));
        if children.is_empty() {
            return found;
        }
        found.extend(children);
        rest = others;
    }
}

/// Kills everything that names `needle`, and what these start meanwhile. For the end of a failed test.
pub fn end_all_naming(needle: &str) {
    poll::within(Duration::from_secs(10), || {
        let left = naming(needle);
        for process in &left {
            // A process that ended by itself since is what was wanted.
            let _ = kill(Pid::from_raw(process.pid), Signal::SIGKILL);
        }
        left.is_empty().then_some(())
    });
}

/// Every process that can be seen now.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

fn read(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may itself hold parentheses and spaces.
    let (head, tail) = stat.rsplit_once(')')?;
    let parent = tail.split_whitespace().nth(1)?.parse().ok()?;
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let command = match arguments.is_empty() {
        true => format!("[{}]", head.split_once('(')?.1),
        false => String::from_utf8_lossy(&arguments).replace('\0', " ").trim_end().to_string(),
    };
    Some(Process { pid, parent, command })
}

fn names(pid: i32, needle: &str) -> bool {
    let contains = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle.as_bytes());
    let in_file = |name: &str| fs::read(format!("/proc/{pid}/{name}")).is_ok_and(|bytes| contains(&bytes));
    let in_link =
        |path: std::path::PathBuf| fs::read_link(path).is_ok_and(|to| contains(to.as_os_str().as_encoded_bytes()));
    in_file("cmdline")
        || in_file("environ")
        || ["cwd", "exe", "root"].iter().any(|link| in_link(format!("/proc/{pid}/{link}").into()))
        || fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|fds| fds.flatten().any(|fd| in_link(fd.path())))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_found_by_its_environment_and_then_ended() {
        let needle = format!("mesos-harness-needle-{}", std::process::id());
        let mut child = Command::new("sleep").arg("600").env("MARK", &needle).stdin(Stdio::null()).spawn().unwrap();

        let found = poll::until(Duration::from_secs(5), "the process", || naming(&needle).first().cloned());
        assert_eq!((found.pid, found.parent), (child.id() as i32, std::process::id() as i32));
        assert!(descendants(std::process::id() as i32).iter().any(|process| process.pid == found.pid));

        kill(Pid::from_raw(found.pid), Signal::SIGKILL).unwrap();
        child.wait().unwrap();
        assert_eq!(naming(&needle), []);
    }
}
