//! A machine with systemd: it is the first process of namespaces of its own and knows no other units than the test's, so that
//! nothing of the real machine is started, mounted, cleaned or listened on by it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{Cmd, Mesos, Running, Skip, poll};

const PROGRAM: &str = "/lib/systemd/systemd";
/// Targets that units are ordered by, without anything in them.
const TARGETS: [&str; 6] = ["sysinit", "basic", "network-online", "multi-user", "shutdown", "test"];
const LIMIT: Duration = Duration::from_secs(300);

/// A running systemd. It goes with all its processes when this is dropped.
pub struct Systemd {
    first: Option<Running>,
    pid: i32,
    groups: Vec<PathBuf>,
}

impl Systemd {
    /// Where a test puts its units before the start.
    pub fn units(home: &Mesos) -> PathBuf {
        let folder = home.folder().join("units");
        fs::create_dir_all(&folder).expect("the folder is ours");
        folder
    }

    /// Starts it with the units of [`Systemd::units`], none of which is started.
    ///
    /// # Errors
    /// The reason, where this is not possible here.
    pub fn start(home: &Mesos) -> Result<Systemd, Skip> {
        Skip::unless_root("systemd in a namespace")?;
        if !Path::new(PROGRAM).exists() {
            return Err(Skip::because("there is no systemd"));
        }
        for target in TARGETS {
            let text = "[Unit]\nDefaultDependencies=no\n";
            fs::write(Self::units(home).join(format!("{target}.target")), text).expect("the folder is ours");
        }
        // Its commands are not a test's program, whose end is waited for: what enters a namespace may do without a name there.
        fs::set_permissions(home.folder(), fs::Permissions::from_mode(0o711)).expect("the folder is ours");
        let name = home.folder().file_name().expect("a folder's name").to_string_lossy().into_owned();
        let groups: Vec<PathBuf> = hierarchies().into_iter().map(|root| root.join(&name)).collect();
        let boot = home.script("boot", &boot_script(&Self::units(home)));
        // Some can't be entered before they are set up; these systemd leaves alone, too.
        let enter = |group: &PathBuf| format!("mkdir {0} && echo $$ > {0}/cgroup.procs; ", group.display());
        let enter: String = groups.iter().map(enter).collect();
        let line = format!(
            "{enter}exec unshare --mount --pid --net --ipc --uts --cgroup --fork --kill-child {}",
            boot.display()
        );
        let first = home.program(Path::new("/bin/sh")).args(["-c", &line]).limit(LIMIT).start();
        let pid = poll::within(Duration::from_secs(30), || child_of(first.pid()));
        let mut systemd = Systemd { first: Some(first), pid: pid.unwrap_or_default(), groups };
        let up = poll::within(Duration::from_secs(30), || {
            (pid.is_some()
                && systemd.command(home, "systemctl").args(["is-active", "test.target"]).run().code == Some(0))
            .then_some(())
        });
        if up.is_none() {
            let said = systemd.first.as_ref().map(Running::stderr).unwrap_or_default();
            systemd.end();
            return Err(Skip::because(format!("systemd does not start in a namespace here: {said}")));
        }
        Ok(systemd)
    }

    /// A command on that machine.
    pub fn command(&self, home: &Mesos, program: &str) -> Cmd {
        let pid = self.pid.to_string();
        home.program(Path::new("nsenter")).args(["-t", &pid, "-m", "-p", "-n", "-i", "-u", "-C", program]).limit(LIMIT)
    }

    fn end(&mut self) {
        // Its parent's end is its own, and its own that of all its processes.
        self.first = None;
        for group in &self.groups {
            poll::within(Duration::from_secs(10), || remove(group).then_some(()));
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.end();
    }
}

/// The hierarchies of control groups: the one of version 2, or all where there are several. systemd would make groups in each.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return vec![root.to_owned()];
    }
    let entries = fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| path.join("cgroup.procs").exists() && !path.is_symlink()).collect()
}

/// From a shell in new namespaces to systemd. What it would write on the real machine is a file system in memory.
fn boot_script(units: &Path) -> String {
    let units = units.display();
    let mounts: String = match hierarchies()[..] {
        [_] => "umount /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup".to_string(),
        _ => {
            "umount -l /sys/fs/cgroup; mount -t tmpfs tmpfs /sys/fs/cgroup; cd /sys/fs/cgroup; mkdir systemd unified\n\
              mount -t cgroup -o none,name=systemd cgroup systemd; mount -t cgroup2 cgroup2 unified"
                .to_string()
        }
    };
    format!(
        "set -e\nmount --make-rprivate /\nmount -t proc proc /proc\nmount -t tmpfs tmpfs /run\nmount -t tmpfs tmpfs /var/lib\n\
         {mounts}\ncd /\n\
         exec env -i container=test PATH=$PATH SYSTEMD_UNIT_PATH={units} SYSTEMD_GENERATOR_PATH={units} \
         SYSTEMD_ENVIRONMENT_GENERATOR_PATH={units} {PROGRAM} --system --unit=test.target --log-target=null --show-status=0"
    )
}

fn child_of(parent: i32) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    let child: i32 = text.split_whitespace().next()?.parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
    (name.trim() == "systemd").then_some(child)
}

/// With the groups below it; false while a process is left.
fn remove(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}
