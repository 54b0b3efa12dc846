//! What /proc says about processes, and how a whole tree of them is ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::plan::{CONTAINER_VARIABLE, KEEP_VARIABLE};

/// Rounds of stopping what a tree has forked since the last round; a fork bomb is slower than this or bounded by other means.
const FREEZE_ROUNDS_MAX: usize = 64;

/// The children of the launcher that it did not launch: the kernel gives those whose parents died to its main thread, while
/// launched ones are children of the threads that launched them. So one short file tells them all.
pub(super) struct OrphanList {
    file: Option<File>,
    text: Vec<u8>,
}

impl OrphanList {
    /// To be called on the main thread.
    pub(super) fn open() -> io::Result<Self> {
        let file = match File::open("/proc/thread-self/children") {
            Ok(file) => Some(file),
            // A kernel without this file: every process is looked at instead.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { file, text: Vec::new() })
    }

    /// The orphans now; `launched` tells the launcher's other children where the kernel doesn't.
    pub(super) fn read(&mut self, launched: impl Fn(i32) -> bool) -> io::Result<Vec<i32>> {
        let Some(file) = &self.file else {
            let own = std::process::id() as i32;
            let children = parents()?.remove(&own).unwrap_or_default();
            return Ok(children.into_iter().filter(|&pid| !launched(pid)).collect());
        };
        self.text.clear();
        let mut part = [0; 4096];
        loop {
            match file.read_at(&mut part, self.text.len() as u64)? {
                0 => return Ok(numbers(&self.text)),
                len => self.text.extend_from_slice(&part[..len]),
            }
        }
    }
}

/// What a process says about where it belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub session: i32,
    /// The container named in its environment, which it may have emptied.
    pub container: Option<String>,
    pub keep: bool,
}

/// `None` for one that has ended.
pub(super) fn marks(pid: i32) -> Option<Marks> {
    let stat = stat(pid)?;
    let mut fields = stat.fields();
    if fields.next()? == "Z" {
        return None;
    }
    let session = fields.nth(2)?.parse().ok()?;
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = environ.split(|&byte| byte == 0);
        pairs.find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=").map(<[u8]>::to_vec))
    };
    let container = value(CONTAINER_VARIABLE).and_then(|name| String::from_utf8(name).ok());
    Some(Marks { session, container, keep: value(KEEP_VARIABLE).is_some() })
}

/// The main process of a container, by the mark in its environment: it leads its session.
pub(super) fn leader_of(container: &str) -> Option<i32> {
    all().find(|&pid| {
        marks(pid).is_some_and(|marks| marks.session == pid && marks.container.as_deref() == Some(container))
    })
}

/// What belongs to a container, by its session or by the mark in its environment, or to what an executor in it has launched.
pub(super) fn strays_of(container: &str, session: i32) -> Vec<i32> {
    let is_of = |name: &str| name.strip_prefix(container).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let belongs = |marks: Marks| marks.session == session || marks.container.as_deref().is_some_and(is_of);
    all().filter(|&pid| pid != std::process::id() as i32 && marks(pid).is_some_and(belongs)).collect()
}

/// Every process that can be seen now.
fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Clock ticks between boot and the start of a process.
pub(crate) fn start_time(pid: i32) -> Option<u64> {
    stat(pid)?.fields().nth(19)?.parse().ok()
}

/// Clock ticks since boot, as the kernel counts the start of processes: a hundred a second.
pub(super) fn boot_ticks() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).expect("a clock that every kernel has");
    now.tv_sec() as u64 * 100 + now.tv_nsec() as u64 / 10_000_000
}

/// Signals roots and all that descends from them, once each.
pub(super) fn signal_trees(roots: &[i32], signal: i32) {
    tree(roots).into_iter().for_each(|pid| send(pid, signal));
}

/// Kills roots and all that descends from them. They are stopped first, so that none forks away from under our eyes; what
/// slips through becomes an orphan of ours and is found by the next look at the list.
pub(super) fn kill_trees(roots: &[i32]) {
    let mut found = tree(roots);
    if found.len() > 1 {
        let mut new = found.clone();
        for _ in 0..FREEZE_ROUNDS_MAX {
            new.iter().for_each(|&pid| send(pid, libc::SIGSTOP));
            new = tree(roots).difference(&found).copied().collect();
            if new.is_empty() {
                break;
            }
            found.extend(&new);
        }
    }
    found.into_iter().for_each(|pid| send(pid, libc::SIGKILL));
}

/// One that has ended meanwhile is as good as signalled.
pub(super) fn send(pid: i32, signal: i32) {
    assert!(pid > 1, "a process of ours, not a group and not everything");
    match Signal::try_from(signal) {
        Ok(signal) => drop(kill(Pid::from_raw(pid), signal)),
        // SAFETY: real-time signals, which have no names, by number.
        Err(_) => drop(unsafe { libc::kill(pid, signal) }),
    }
}

fn tree(roots: &[i32]) -> BTreeSet<i32> {
    let mut parents = None;
    let mut found = BTreeSet::new();
    let mut open = roots.to_vec();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children(pid, &mut parents));
        }
    }
    found
}

/// Children of all threads of a process; from a look at all processes where the kernel has no list.
fn children(pid: i32, all: &mut Option<BTreeMap<i32, Vec<i32>>>) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read(thread.path().join("children")) {
            Ok(text) => found.extend(numbers(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && thread.path().join("stat").exists() => {
                let all = all.get_or_insert_with(|| parents().unwrap_or_default());
                return all.get(&pid).cloned().unwrap_or_default();
            }
            Err(_) => {}
        }
    }
    found
}

/// The children of every process.
fn parents() -> io::Result<BTreeMap<i32, Vec<i32>>> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let parent = stat(pid).and_then(|stat| stat.fields().nth(1)?.parse().ok());
        if let Some(parent) = parent {
            children.entry(parent).or_default().push(pid);
        }
    }
    Ok(children)
}

fn numbers(text: &[u8]) -> Vec<i32> {
    let text = String::from_utf8_lossy(text);
    text.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// /proc/PID/stat. The name of the program, in brackets, may contain anything.
struct Stat {
    text: [u8; 1024],
    len: usize,
}

impl Stat {
    /// From the third field on: state, parent, group, session...
    fn fields(&self) -> impl Iterator<Item = &str> {
        let text = &self.text[..self.len];
        let after = text.iter().rposition(|&byte| byte == b')').map_or(self.len, |at| at + 1);
        std::str::from_utf8(&text[after..]).unwrap_or_default().split_ascii_whitespace()
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let mut file = File::open(format!("/proc/{pid}/stat")).ok()?;
    let mut stat = Stat { text: [0; 1024], len: 0 };
    stat.len = file.read(&mut stat.text).ok()?;
    Some(stat)
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn shell(script: &str) -> Child {
        Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("a shell")
    }

    fn poll<T>(mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        loop {
            if let Some(found) = look() {
                return found;
            }
            assert!(std::time::Instant::now() < deadline, "it never came to be");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }

    fn end(mut child: Child) {
        kill_trees(&[child.id() as i32]);
        child.wait().expect("our own child");
    }

    #[test]
    fn both_ways_to_find_children_agree() {
        let child = shell("sleep 1000 & read line");
        let pid = child.id() as i32;
        let grandchild = poll(|| tree(&[pid]).into_iter().find(|&found| found != pid));
        let all = parents().expect("/proc");
        assert_eq!(all[&pid], [grandchild]);
        // As on a kernel that has no lists of children, where launched ones are told apart by their number.
        let own = OrphanList { file: None, text: Vec::new() }.read(|_| false).expect("/proc");
        assert!(own.contains(&pid) && !own.contains(&grandchild));
        let own = OrphanList { file: None, text: Vec::new() }.read(|launched| launched == pid).expect("/proc");
        assert!(!own.contains(&pid));
        end(child);
        poll(|| stat(grandchild).is_none_or(|stat| stat.fields().next() == Some("Z")).then_some(()));
    }

    #[test]
    fn marks_are_read_from_the_environment_and_the_session() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line"]).stdin(Stdio::piped()).env(CONTAINER_VARIABLE, "exec/child");
        let child = command.spawn().expect("a shell");
        let session = nix::unistd::getsid(None).expect("a session").as_raw();
        let expected = Marks { session, container: Some("exec/child".into()), keep: false };
        // The environment is there a moment after the exec.
        let seen = poll(|| marks(child.id() as i32).filter(|marks| marks.container.is_some()));
        assert_eq!(seen, expected);
        assert!(start_time(child.id() as i32) >= start_time(std::process::id() as i32));
        end(child);
    }
}
