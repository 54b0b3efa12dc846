//! The units for systemd: what they promise, and that what they start exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::{Mesos, Skip, or_skip};

const UNITS: [&str; 3] = ["mesos-master.service", "mesos-launcher.service", "mesos-agent.service"];

fn shipped(unit: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    fs::read_to_string(folder.join(unit)).expect("it is shipped")
}

/// The values of a setting, without comments.
fn values<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn nothing_that_happens_to_the_agents_unit_ends_a_task() {
    let (agent, launcher) = (shipped("mesos-agent.service"), shipped("mesos-launcher.service"));
    for unit in [&agent, &launcher] {
        assert_eq!(values(unit, "KillMode"), ["process"]);
        assert_eq!(values(unit, "Delegate"), ["yes"]);
        assert_eq!(values(unit, "OOMPolicy"), ["continue"]);
        assert_eq!(values(unit, "StateDirectory"), ["mesos/agent"]);
    }
    assert_eq!(values(&launcher, "Type"), ["notify"]);
    let before = |name| values(&agent, name).iter().any(|units| units.contains("mesos-launcher.service"));
    // Wanted and no more: a launcher that is restarted doesn't take the agent with it.
    assert!(before("After") && before("Wants"));
    for tie in ["Requires", "BindsTo", "PartOf"] {
        assert_eq!(values(&agent, tie), Vec::<&str>::new());
    }
    let folder = |unit| values(unit, "ExecStart")[0].split_whitespace().find(|word| word.starts_with("/var")).unwrap();
    assert_eq!(folder(&agent), folder(&launcher), "they meet in one folder");
    for unit in UNITS {
        assert_eq!(values(&shipped(unit), "Restart"), ["always"], "{unit}");
    }
}

#[test]
fn every_flag_and_variable_of_the_units_is_known_to_the_program() {
    let mesos = Mesos::new();
    for unit in UNITS {
        let text = shipped(unit);
        let commands = values(&text, "ExecStart");
        let words: Vec<&str> = commands[0].split_whitespace().collect();
        assert_eq!((commands.len(), words[0].trim_start_matches('@')), (1, "/usr/bin/mesos"), "{unit}");
        let named = |word: &&str| word.starts_with("MESOS_");
        let variables: BTreeSet<&str> =
            text.split(|c: char| !c.is_ascii_uppercase() && c != '_').filter(named).collect();
        let flags: Vec<&str> = words.iter().filter(|word| word.starts_with("--")).copied().collect();
        if words[0].starts_with('@') {
            assert_eq!(
                (words[1], flags.len(), variables.len()),
                ("mesos-launcher", 0, 0),
                "{unit}: not our command line"
            );
            continue;
        }
        let help = mesos.cmd([words[1], "--help"]).run().expect_success().stdout;
        for word in flags.into_iter().chain(variables) {
            assert!(help.contains(word), "{unit}: mesos {} knows no {word}", words[1]);
        }
    }
}

#[test]
fn systemd_finds_no_fault_with_the_units() {
    or_skip!(analyze());
    let mesos = Mesos::new();
    let paths: Vec<PathBuf> = UNITS
        .iter()
        .map(|unit| mesos.file(unit, shipped(unit).replace("/usr/bin/mesos", &mesos.binary().display().to_string())))
        .collect();
    let verify = mesos.program(Path::new("systemd-analyze")).args(["verify", "--man=no"]).args(&paths).run();
    let about_ours = |line: &&str| line.contains("mesos");
    let complaints: Vec<&str> = verify.stderr.lines().filter(about_ours).collect();
    assert_eq!(complaints, Vec::<&str>::new(), "{verify}");
}

fn analyze() -> Result<(), Skip> {
    match Command::new("systemd-analyze").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(Skip::because("there is no systemd-analyze")),
    }
}
