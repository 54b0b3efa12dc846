//! One cpu cgroup for both halves of every pair: a program that calls `setsid` becomes a scheduling group of its own, and a ratio to
//! one that doesn't can be off by up to five.

use std::fs;
use std::path::{Path, PathBuf};

/// The group that this process is in until this is dropped.
pub struct Group {
    /// The group, and the one to go back to.
    entered: Option<(PathBuf, PathBuf)>,
    problem: String,
}

/// Makes a group and moves this process into it; where that isn't possible, says why.
pub fn enter() -> Group {
    match make() {
        Ok(entered) => Group { entered: Some(entered), problem: String::new() },
        Err(problem) => Group { entered: None, problem },
    }
}

impl Group {
    /// Whether it worked, for the head of the table.
    pub fn note(&self) -> String {
        match &self.entered {
            Some((group, _)) => format!("in the cgroup {}", group.display()),
            None => format!("without a cpu cgroup of its own ({}): ratios may be off", self.problem),
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some((group, before)) = self.entered.take() {
            // At the end of the program; a group that can't be removed now is empty and harmless.
            let _ = fs::write(before.join("cgroup.procs"), "0");
            let _ = fs::remove_dir(group);
        }
    }
}

fn make() -> Result<(PathBuf, PathBuf), String> {
    if !nix::unistd::geteuid().is_root() {
        return Err("needs root".to_string());
    }
    let mounts = fs::read_to_string("/proc/mounts").map_err(|error| error.to_string())?;
    let own = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let before = current(&mounts, &own).ok_or("no cpu controller is mounted")?;
    let group = before.join(format!("mesos-bench-{}", std::process::id()));
    let shown = |error: std::io::Error| format!("{}: {error}", group.display());
    fs::create_dir(&group).map_err(shown)?;
    fs::write(group.join("cgroup.procs"), "0").map_err(shown)?;
    Ok((group, before))
}

/// The folder of the group that a process is in, for the cpu controller of version 1, or of version 2 where that has it.
fn current(mounts: &str, own: &str) -> Option<PathBuf> {
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
    let has_cpu = |list: &str| list.split(',').any(|word| word == "cpu");
    match mount(&|kind, options| kind == "cgroup" && has_cpu(options)) {
        Some(folder) => Some(Path::new(&folder).join(path_of(&has_cpu)?)),
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
        assert_eq!(current(v1, own).unwrap(), Path::new("/sys/fs/cgroup/cpu/user/me"));
        let v2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0";
        assert_eq!(current(v2, own).unwrap(), Path::new("/sys/fs/cgroup/session"));
        assert_eq!(current("", own), None);
    }
}
