//! The folder of plugins: what lies there is what `mesos` can do.

use std::fs;
use std::path::PathBuf;

use harness::{Cluster, Cmd, Finished, Mesos, cache};

/// A copy of the program with no plugins beside it, and a folder that is searched.
struct Bare {
    mesos: Mesos,
    binary: PathBuf,
    plugins: PathBuf,
}

impl Bare {
    fn new() -> Bare {
        let mesos = Mesos::new();
        let [bin, plugins] = ["bin", "plugins"].map(|name| mesos.folder().join(name));
        let binary = bin.join("mesos");
        for folder in [&bin, &plugins] {
            fs::create_dir(folder).unwrap();
        }
        fs::copy(mesos.binary(), &binary).unwrap();
        Bare { mesos, binary, plugins }
    }

    fn run(&self, args: &[&str]) -> Cmd {
        self.mesos.program(&self.binary).env("MESOS_PLUGIN_DIR", &self.plugins).args(args)
    }

    fn help(&self) -> String {
        self.run(&["--help"]).run().expect_success().stdout
    }

    /// The line of `mesos plugins` about that file.
    fn listed(&self, file: &str) -> String {
        let listed = self.run(&["plugins"]).run();
        let all = format!("{}{}", listed.stdout, listed.stderr);
        all.lines()
            .find(|line| line.contains(file))
            .unwrap_or_else(|| panic!("{file} is not listed: {listed}"))
            .to_string()
    }

    fn install(&self, name: &str, contents: &[u8]) {
        // By rename, as a user should: a process may have the old file mapped.
        let new = self.plugins.join(format!("{name}.new"));
        fs::write(&new, contents).unwrap();
        fs::rename(new, self.plugins.join(name)).unwrap();
    }
}

fn mpi_plugin() -> Vec<u8> {
    built("plugins/mpi.so")
}

fn built(name: &str) -> Vec<u8> {
    let path = cache::build_folder().join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask test plugins`", path.display()))
}

#[test]
fn a_plugins_command_comes_and_goes_with_its_file() {
    let bare = Bare::new();
    assert!(!bare.help().contains("run-mpi"));
    bare.run(&["run-mpi", "-n", "2", "true"]).run().expect_error(&["run-mpi"]);

    bare.install("mpi.so", &mpi_plugin());
    assert!(bare.help().contains("run-mpi"));
    assert!(bare.run(&["run-mpi", "--help"]).run().expect_success().stdout.contains("--ntasks-per-node"));
    let line = bare.listed("mpi");
    assert!(line.contains("run-mpi") && line.contains(env!("CARGO_PKG_VERSION")), "{line}");

    fs::remove_file(bare.plugins.join("mpi.so")).unwrap();
    assert!(!bare.help().contains("run-mpi"));
}

#[test]
fn plugins_beside_the_program_and_in_the_home_are_found() {
    let bare = Bare::new();
    let home = bare.mesos.folder().join("home/.local/share/mesos/plugins");
    for folder in [bare.binary.with_file_name("plugins"), home] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mpi.so"), mpi_plugin()).unwrap();
        assert!(bare.help().contains("run-mpi"), "{}", folder.display());
        fs::remove_dir_all(&folder).unwrap();
        assert!(!bare.help().contains("run-mpi"));
    }
}

#[test]
fn a_truncated_plugin_is_refused_in_one_line_wherever_it_is_cut() {
    let bare = Bare::new();
    let whole = mpi_plugin();
    for length in [0, 3, 64, 4096, whole.len() / 2, whole.len() - whole.len() / 10] {
        bare.install("mpi.so", &whole[..length]);
        assert!(!bare.help().contains("run-mpi"), "cut at {length}");
        bare.listed("mpi.so");
        let refused = bare.run(&["run-mpi", "-n", "2", "true"]).run();
        assert_eq!(refused.signal, None, "cut at {length}: {refused}");
        refused.expect_error(&["run-mpi"]);
    }
}

#[test]
fn a_library_that_is_no_plugin_is_refused_in_one_line() {
    let bare = Bare::new();
    let foreign = fs::read("/proc/self/maps").unwrap();
    let foreign = String::from_utf8_lossy(&foreign);
    let libc = foreign.split_whitespace().find(|word| word.ends_with("libc.so.6")).expect("this program uses libc");
    bare.install("foreign.so", &fs::read(libc).unwrap());
    bare.install("text.so", b"this is no library\n");
    bare.install("mpi.so", &mpi_plugin());

    assert!(bare.listed("foreign.so").contains("not a mesos plugin"));
    assert!(bare.listed("text.so").contains("not a shared library"));
    assert!(bare.help().contains("run-mpi"), "the good one beside them works");
}

#[test]
fn a_plugin_for_another_machine_is_refused() {
    let bare = Bare::new();
    let mut other = mpi_plugin();
    // The ELF header's machine: 0xf3 is RISC-V.
    other[18] = 0xf3;
    bare.install("mpi.so", &other);
    let line = bare.listed("mpi.so");
    assert!(line.contains("is built for"), "{line}");
}

#[test]
fn a_second_file_of_the_same_plugin_is_told_and_the_first_works() {
    let bare = Bare::new();
    bare.install("a.so", &mpi_plugin());
    bare.install("b.so", &mpi_plugin());
    assert!(bare.help().contains("run-mpi"));
    bare.listed("a.so");
    bare.listed("b.so");
}

/// Each call of a plugin that can panic.
const PLACES: &[&str] = &["command", "new-framework", "framework", "new-executor", "executor", "framework-at-the-end"];

#[test]
fn a_panic_in_any_half_is_one_line_and_leaves_nothing_of_an_embedded_cluster() {
    let bare = Bare::new();
    bare.install("panics.so", &built("libmesos_fixture_panics.so"));
    for place in PLACES {
        one_line_names_the_panic(&bare.run(&["panic", place]).run(), place);
        bare.mesos.assert_nothing_left();
    }
}

#[test]
fn a_panic_in_any_half_does_no_harm_to_a_cluster() {
    let cluster = Cluster::on_loopback(1);
    let plugins = cluster.home.folder().join("plugins");
    fs::create_dir(&plugins).unwrap();
    fs::write(plugins.join("panics.so"), built("libmesos_fixture_panics.so")).unwrap();
    for place in PLACES {
        let panicked = cluster.mesos(["panic", place]).env("MESOS_PLUGIN_DIR", &plugins).run();
        one_line_names_the_panic(&panicked, place);
        assert_eq!(cluster.ids("frameworks"), Vec::<String>::new(), "after a panic in {place}");
        assert_eq!(cluster.mesos(["run", "--", "echo", "served"]).run().expect_success().stdout, "served\n");
    }
    cluster.stop_and_assert_nothing_left();
}

fn one_line_names_the_panic(panicked: &Finished, place: &str) {
    let lines: Vec<&str> = panicked.stderr.lines().collect();
    let [line] = &lines[..] else { panic!("one line after a panic in {place}: {panicked}") };
    for part in ["plugin panics", "panicked in", &format!("panic asked for in {place}")] {
        assert!(line.contains(part), "the line should name {part:?}: {panicked}");
    }
    assert_eq!(panicked.code, Some(1), "{panicked}");
}
