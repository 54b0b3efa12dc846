//! Volumes: what a framework keeps on an agent outlives it, its cluster and its agents, and is nobody else's.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use harness::{Mesos, cache};

/// A `mesos` that finds the plugin which keeps lines on a volume.
struct Env {
    mesos: Mesos,
    plugins: PathBuf,
}

impl Env {
    fn new() -> Self {
        let mesos = Mesos::new();
        let plugins = mesos.folder().join("diary-plugin");
        fs::create_dir(&plugins).unwrap();
        let built = cache::build_folder().join("libmesos_fixture_diary.so");
        let copied = fs::copy(&built, plugins.join("diary.so"));
        copied.unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test volumes`", built.display()));
        Self { mesos, plugins }
    }

    fn cmd(&self, args: &[&str]) -> harness::Cmd {
        self.mesos.cmd(args).env("MESOS_PLUGIN_DIR", &self.plugins)
    }

    fn stdout(&self, args: &[&str]) -> String {
        self.cmd(args).run().expect_success().stdout
    }

    fn volume(&self) -> serde_json::Value {
        let all: serde_json::Value = serde_json::from_str(&self.stdout(&["volumes", "--output", "json"])).unwrap();
        assert_eq!(all.as_array().map(Vec::len), Some(1), "{all}");
        all[0].clone()
    }
}

#[test]
fn a_volume_outlives_its_framework_its_tasks_and_its_cluster() {
    let env = Env::new();
    env.stdout(&["up", "--agents", "2"]);
    assert_eq!(env.stdout(&["diary", "first"]), "first\n");
    assert_eq!(env.stdout(&["diary", "second"]), "first\nsecond\n", "a framework of the same name finds it again");

    let volume = env.volume();
    assert_eq!(
        (&volume["name"], &volume["framework"], &volume["state"]),
        (&"diary".into(), &"diary".into(), &"ready".into())
    );
    assert_eq!((volume["reserved"]["cpus"].as_f64(), volume["used"]["cpus"].as_f64()), (Some(0.5), Some(0.0)));

    env.stdout(&["down"]);
    env.stdout(&["up", "--agents", "2"]);
    assert_eq!(env.stdout(&["diary", "third"]), "first\nsecond\nthird\n", "the next cluster has it too");
    env.stdout(&["volumes", "destroy", "diary"]);
    assert_eq!(env.stdout(&["volumes", "--output", "quiet"]), "");
    assert_eq!(env.stdout(&["diary", "fresh"]), "fresh\n");
    env.stdout(&["volumes", "destroy", "diary", "--framework", "diary"]);
    env.stdout(&["down"]);
    env.mesos.assert_nothing_left();
}

#[test]
fn a_volume_in_use_is_not_destroyed_and_its_reservation_is_nobodys() {
    let env = Env::new();
    env.stdout(&["up", "--agents", "1"]);
    let mut holder = env.cmd(&["diary", "hold"]).start();
    holder.wait_for_lines(1, "its task", |line| line == "held");
    let volume = env.volume();
    assert_eq!((&volume["tasks"][0], volume["used"]["cpus"].as_f64()), (&"write".into(), Some(0.5)));
    let refused = env.cmd(&["volumes", "destroy", "diary"]).run().expect_code(1);
    assert!(refused.stderr.contains("the task write mounts it"), "{refused}");
    holder.ctrl_c();
    holder.wait().expect_code(130);

    // Its cpus stay reserved although nothing runs: a task that wants the whole agent gets nothing.
    let agents: serde_json::Value = serde_json::from_str(&env.stdout(&["agents", "--output", "json"])).unwrap();
    let cpus = agents[0]["total"]["cpus"].as_f64().unwrap();
    let half = format!("{}", cpus - 0.5);
    assert_eq!(env.stdout(&["run", "--cpus", &half, "--mem", "32", "--", "echo", "beside"]), "beside\n");
    let whole = env.cmd(&["run", "--name", "whole", "--cpus", &cpus.to_string(), "--mem", "32", "--", "true"]).start();
    env.stdout(&["volumes", "destroy", "diary"]);
    whole.wait().expect_success();
    env.stdout(&["down"]);
    env.mesos.assert_nothing_left();
}

#[test]
fn only_the_user_of_a_volume_gets_at_what_is_in_it() {
    let env = Env::new();
    env.stdout(&["up", "--agents", "1"]);
    env.stdout(&["diary", "secret"]);
    let state = env.mesos.folder();
    let data = find(state, "lines").expect("the line is on the disk");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = data.parent().unwrap();
    assert_eq!((mode(folder), mode(folder.parent().unwrap())), (0o700, 0o711));

    fs::write(folder.with_file_name("manifest.json"), "{").unwrap();
    env.stdout(&["down"]);
    env.stdout(&["up", "--agents", "1"]);
    assert_eq!(env.stdout(&["volumes", "--output", "quiet"]), "", "what can't be read is set aside");
    assert_eq!(fs::read_to_string(&data).unwrap(), "secret\n", "and left alone");
    let refused = env.cmd(&["diary", "more"]).run().expect_code(2);
    assert!(refused.stderr.contains("VolumeRefused"), "its name is taken on that agent: {refused}");
    env.stdout(&["down"]);
    env.mesos.assert_nothing_left();
}

#[test]
fn a_cluster_that_ends_with_its_command_has_no_volumes() {
    let env = Env::new();
    let refused = env.cmd(&["diary", "in vain"]).run().expect_code(2);
    assert!(refused.stderr.contains("'mesos up' starts one that stays"), "{refused}");
    env.mesos.assert_nothing_left();
}

fn find(folder: &std::path::Path, name: &str) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let kind = entry.file_type().ok()?;
        if entry.file_name() == name { Some(entry.path()) } else { kind.is_dir().then(|| find(&entry.path(), name))? }
    })
}
