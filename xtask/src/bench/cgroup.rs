//! One cpu cgroup for both halves of every pair: a program that calls `setsid` becomes a scheduling group of its own, and a ratio to
//! one that doesn't can be off by up to five. The same group, or one beside it, counts the processor time of all that was started.

use std::fs;
use std::path::{Path, PathBuf};

/// The groups that this process is in until this is dropped.
pub struct Group {
    /// Each group, and the one to go back to; the first is the scheduler's.
    entered: Vec<(PathBuf, PathBuf)>,
    problem: String,
}

/// Makes a group for each controller and moves this process into it; where that isn't possible, says why.
pub fn enter() -> Group {
    let mut group = Group { entered: Vec::new(), problem: String::new() };
    for controller in ["cpu", "cpuacct"] {
        match make(controller) {
            // Both at once, in version 2 or where they are mounted together.
            Ok((_, before)) if group.entered.iter().any(|(entered, _)| *entered == before) => {}
            Ok(entered) => group.entered.push(entered),
            Err(problem) => {
                group.problem = problem;
                break;
            }
        }
    }
    group
}

impl Group {
    /// Whether it worked, for the head of the table.
    pub fn note(&self) -> String {
        match self.entered.first() {
            Some(_) => "base and ours in one cpu cgroup".to_string(),
            None => format!("without a cpu cgroup of its own ({}): ratios may be off", self.problem),
        }
    }

    /// What all processes that were started in it have used so far, those that have ended too.
    pub fn cpu_seconds(&self) -> Option<f64> {
        self.entered.iter().find_map(|(group, _)| {
            let nanos = fs::read_to_string(group.join("cpuacct.usage")).ok().and_then(|text| text.trim().parse().ok());
            nanos.map(|nanos: f64| nanos / 1e9).or_else(|| {
                let stat = fs::read_to_string(group.join("cpu.stat")).ok()?;
                let micros: f64 = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?.parse().ok()?;
                Some(micros / 1e6)
            })
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for (group, before) in self.entered.drain(..) {
            // At the end of the program; a group that can't be removed now is empty and harmless.
            let _ = fs::write(before.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(group);
        }
    }
}

fn make(controller: &str) -> Result<(PathBuf, PathBuf), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root".to_string());
    }
    let mounts = fs::read_to_string("/proc/mounts").map_err(|error| error.to_string())?;
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let before = current(&mounts, &own, controller).ok_or_else(|| format!("no {controller} controller is mounted"))?;
    let name = format!("mesos-bench-{}", std::process::id());
    if before.ends_with(&name) {
        return Ok((before.clone(), before));
    }
    let group = before.join(name);
    let shown = |error: std::io::Error| format!("{}: {error}", group.display());
    fs::create_dir(&group).map_err(shown)?;
    fs::write(group.join("cgroup.procs"), "0").map_err(shown)?;
    Ok((group, before))
}

/// The folder of the group that a process is in, for a controller of version 1, or of version 2 where that has it.
fn current(mounts: &str, own: &str, controller: &str) -> Option<PathBuf> {
    let mount = |wanted: &dyn Fn(&str, &str) -> bool| {
        let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        fields
            .into_iter()
            .find(|fields| fields.len() > 3 && wanted(fields[2], fields[3]))
            .map(|fields| fields[1].to_string())
    };
    let path_of = |wanted: &dyn Fn(&str) -> bool| {
        let line = own.lines().find(|line| line.split(':').nth(1).is_some_and(wanted))?;
        Some(line.splitn(3, ':').nth(2)?.trim_start_matches('/').to_string())
    };
    let has_it = |list: &str| list.split(',').any(|word| word == controller);
    match mount(&|kind, options| kind == "cgroup" && has_it(options)) {
        Some(folder) => Some(Path::new(&folder).join(path_of(&has_it)?)),
        None => Some(Path::new(&mount(&|kind, _| kind == "cgroup2")?).join(path_of(&str::is_empty)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_in_both_versions() {
        let v1 = "cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
                  cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0";
        let own = "3:cpuset:/\n2:cpu,cpuacct:/user/me\n0::/session";
        assert_eq!(current(v1, own, "cpu").unwrap(), Path::new("/sys/fs/cgroup/cpu/user/me"));
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0";
        assert_eq!(current(v2, own, "cpu").unwrap(), Path::new("/sys/fs/cgroup/session"));
        assert_eq!(current("", own, "cpu"), None);
    }
}
