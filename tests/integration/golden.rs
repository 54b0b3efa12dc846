//! Plugins that were built before, by an older Rust with older dependencies: what was built yesterday loads tomorrow.
//! `tests/golden/README.md` says what each is.

use std::fs;
use std::path::{Path, PathBuf};

use harness::{Finished, Mesos};
use sha2::{Digest, Sha256};

const BYTES_MAX: u64 = 1 << 20;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn run(mesos: &Mesos, args: &[&str]) -> Finished {
    mesos.program(mesos.binary()).env("MESOS_PLUGIN_DIR", folder()).args(args).run()
}

#[test]
fn the_golden_plugins_are_small_and_what_their_list_says() {
    let list = fs::read_to_string(folder().join("SHA256SUMS")).expect("the list");
    let listed: Vec<(&str, &str)> =
        list.lines().map(|line| line.split_once("  ").expect("a hash and a name")).collect();
    for (hash, name) in &listed {
        let content = fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!((content.len() as u64) < BYTES_MAX, "{name} has {} bytes", content.len());
        let own: String = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(own, *hash, "{name}: tests/golden/build.sh writes both");
    }
    let files = fs::read_dir(folder()).expect("the folder").map(|file| file.expect("a file").path());
    let plugins = files.filter(|path| path.extension().is_some_and(|extension| extension == "so"));
    assert_eq!((plugins.count(), listed.len()), (3, 3));
}

#[test]
fn plugins_of_an_older_rust_and_of_an_older_api_run_all_their_halves() {
    for name in ["golden-now", "golden-older"] {
        let mesos = Mesos::new();
        let listed = run(&mesos, &["plugins"]);
        let is_listed = |line: &str| line.starts_with(name) && line.ends_with(&format!("{name}.so"));
        assert!(listed.stdout.lines().any(is_listed), "{listed}");
        let ran = run(&mesos, &[name, "one", "two"]).expect_success();
        assert_eq!(ran.stdout, "one two\n", "{ran}");
        mesos.assert_nothing_left();
    }
}

#[test]
fn a_plugin_of_a_newer_api_is_refused_in_one_line_with_both_versions_and_what_to_do() {
    let mesos = Mesos::new();
    let listed = run(&mesos, &["plugins"]);
    let lines: Vec<String> = format!("{}{}", listed.stdout, listed.stderr).lines().map(str::to_string).collect();
    let about: Vec<&String> = lines.iter().filter(|line| line.contains("golden-newer")).collect();
    let [line] = &about[..] else { panic!("one line: {listed}") };
    let (api, newer) =
        (env!("CARGO_PKG_VERSION"), env!("CARGO_PKG_VERSION").rsplit_once('.').expect("three numbers").0);
    for part in [
        &format!("plugin API {newer}.999"),
        &format!("this mesos speaks {api}"),
        "update mesos, or install the golden-newer plugin built for API",
    ] {
        assert!(line.contains(part), "{part:?} in {line:?}");
    }
    let refused = run(&mesos, &["golden-newer", "words"]);
    assert_eq!(refused.stdout, "", "{refused}");
    refused.expect_error(&["golden-newer"]);
}
