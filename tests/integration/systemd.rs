//! The units under a real systemd: an agent is restarted, upgraded and killed, and its tasks run on.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Cmd, Mesos, Running, Skip, Systemd, or_skip, poll};

const SOON: Duration = Duration::from_secs(60);
const TASKS: usize = 80;

/// A machine whose master and agent are units of systemd, from the files that are shipped.
struct Machine {
    systemd: Systemd,
    home: Mesos,
    program: PathBuf,
}

impl Machine {
    fn boot() -> Result<Machine, Skip> {
        let home = Mesos::new();
        let program = home.folder().join("mesos");
        fs::copy(home.binary(), &program).expect("the folder is ours");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
        for unit in ["mesos-master.service", "mesos-launcher.service", "mesos-agent.service"] {
            let text = fs::read_to_string(shipped.join(unit)).expect("it is shipped");
            let text = text.replace("/usr/bin/mesos", &program.display().to_string());
            let text = text.replace("/etc/mesos", &home.work().display().to_string());
            fs::write(Systemd::units(&home).join(unit), text).expect("the folder is ours");
        }
        home.file("agent.env", "MESOS_MASTER=127.0.0.1:5050\nMESOS_AGENT_RESOURCES='cpus:4;mem:4096'\n");
        let systemd = Systemd::start(&home)?;
        let machine = Machine { systemd, home, program };
        machine.systemctl(&["start", "mesos-master", "mesos-agent"]);
        poll::until(SOON, "the agent", || {
            let listed = machine.mesos(&["agents", "--output", "json"]).run();
            (listed.code == Some(0) && listed.stdout.contains("\"connected\": true")).then_some(())
        });
        Ok(machine)
    }

    fn mesos(&self, args: &[&str]) -> Cmd {
        let program = self.program.display().to_string();
        self.systemd.command(&self.home, &program).env("MESOS_MASTER", "127.0.0.1:5050").args(args)
    }

    fn systemctl(&self, args: &[&str]) -> String {
        self.systemd.command(&self.home, "systemctl").args(args).run().expect_success().stdout
    }

    fn main_pid(&self, unit: &str) -> String {
        self.systemctl(&["show", "--property", "MainPID", "--value", unit]).trim().to_string()
    }

    /// What the kernel says there of a unit's main process.
    fn shell(&self, line: &str) -> String {
        self.systemd.command(&self.home, "sh").args(["-c", line]).run().expect_success().stdout
    }

    fn cgroup(&self, unit: &str) -> String {
        self.shell(&format!("cat /proc/{}/cgroup", self.main_pid(unit)))
    }

    /// Waits until systemd has a new agent that runs.
    fn wait_for_agent_other_than(&self, before: &str) {
        poll::until(SOON, "another agent", || {
            let now = self.main_pid("mesos-agent");
            (now != "0" && now != before).then_some(())
        });
    }

    /// Short tasks, four at once, each of which writes down that it began.
    fn load(&self) -> (Running, PathBuf) {
        let records = self.home.file("records", "");
        let script = format!("echo $MESOS_TASK_ID >> {}; sleep 0.4", records.display());
        let count = TASKS.to_string();
        let run = self.mesos(&["run", "--count", &count, "--cpus", "1", "--mem", "16", "--", "sh", "-c", &script]);
        (run.start(), records)
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).expect("it is there").lines().map(str::to_string).collect()
}

fn wait_for_more(records: &Path) {
    let before = lines(records).len();
    poll::until(SOON, "more tasks", || (lines(records).len() >= (before + 8).min(TASKS)).then_some(()));
}

#[test]
fn an_agent_is_restarted_upgraded_and_killed_under_load() {
    let machine = or_skip!(Machine::boot());
    let launcher = machine.main_pid("mesos-launcher");
    assert!(machine.cgroup("mesos-launcher").contains("mesos-launcher.service"));
    assert!(machine.cgroup("mesos-agent").contains("mesos-agent.service"));
    let (load, records) = machine.load();

    wait_for_more(&records);
    let before = machine.main_pid("mesos-agent");
    machine.systemctl(&["restart", "mesos-agent"]);
    machine.wait_for_agent_other_than(&before);

    wait_for_more(&records);
    let newer = machine.home.folder().join("mesos.new");
    fs::copy(machine.home.binary(), &newer).expect("the folder is ours");
    fs::rename(&newer, &machine.program).expect("the folder is ours");
    machine.systemctl(&["restart", "mesos-agent"]);
    let program = machine.shell(&format!("readlink /proc/{}/exe", machine.main_pid("mesos-agent")));
    assert_eq!(program.trim(), machine.program.display().to_string(), "the new program runs");

    wait_for_more(&records);
    let before = machine.main_pid("mesos-agent");
    machine.systemctl(&["kill", "--signal", "KILL", "--kill-whom", "main", "mesos-agent"]);
    machine.wait_for_agent_other_than(&before);

    load.wait().expect_success();
    let began = lines(&records);
    assert_eq!((began.len(), began.iter().collect::<BTreeSet<_>>().len()), (TASKS, TASKS), "each task ran once");
    assert_eq!(machine.main_pid("mesos-launcher"), launcher, "the launcher saw nothing of it");
    assert!(machine.cgroup("mesos-launcher").contains("mesos-launcher.service"));
}
