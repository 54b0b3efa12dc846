use std::{
    fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, LazyLock, Mutex},
};

use mesos_plugin_api::{
    CommandHost, FakeMaster, Injector, Invocation, Time,
    command::{Cluster, RunFramework, RunFrameworkResult},
    declaration::SECTION,
    framework::Event,
    v1::{
        ExitStatus, TaskState, TaskStatus, Uri,
        command::ArgumentValues,
        framework::{self, call::Call},
    },
};
use object::{Object, ObjectSection};

use super::*;

/// A folder of plugins, and the search path that has only it.
struct TestEnv {
    dir: tempfile::TempDir,
}

impl TestEnv {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a folder") }
    }

    fn add(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        // As an installer must: never in place, since a loaded file is mapped.
        let new = self.dir.path().join("new");
        fs::write(&new, content).and_then(|()| fs::rename(&new, &path)).expect("writable");
        path
    }

    fn search_path(&self) -> SearchPath {
        SearchPath::new(&[self.dir.path().to_owned()], None, None, None)
    }

    fn scan(&self) -> Catalogue {
        Catalogue::scan(&self.search_path(), &["run", "agents"])
    }

    /// What is wrong with a file of this content.
    fn refused(&self, content: &[u8]) -> String {
        let path = self.add("bad.so", content);
        let catalogue = self.scan();
        let [entry] = catalogue.entries() else { panic!("one entry: {:?}", catalogue.entries()) };
        let problem = entry.plugin.as_ref().expect_err("a bad file");
        assert!(!problem.contains('\n'), "one line: {problem}");
        let problem = problem.strip_prefix(&format!("{}: ", path.display())).expect("names the path");
        problem.to_owned()
    }
}

/// The library built from `examples/plugins/`. `cargo test` builds no examples that are libraries, so this does.
fn example(name: &str) -> Vec<u8> {
    static BUILT: LazyLock<Vec<PathBuf>> = LazyLock::new(build_examples);
    let file = format!("lib{name}.so");
    let path = BUILT.iter().find(|path| path.ends_with(&file)).expect("cargo builds it");
    fs::read(path).expect("readable")
}

/// Builds the plugins with the profile of this test and returns where they are. For the whole workspace, because that is
/// how the tests are run mostly, and another selection of packages would build half of the dependencies again.
fn build_examples() -> Vec<PathBuf> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--workspace", "--message-format", "json"]);
    for name in ["loader_echo", "loader_panics", "loader_hello"] {
        cargo.args(["--example", name]);
    }
    if !cfg!(debug_assertions) {
        cargo.arg("--release");
    }
    // What the outer cargo tells this test of its package; build scripts that look at it would run again each time.
    let of_package =
        |name: &str| name == "OUT_DIR" || name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
        cargo.env_remove(name);
    }
    let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let messages = messages.map(|line| serde_json::from_slice::<serde_json::Value>(line).expect("JSON"));
    let files = messages.flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default());
    files.filter_map(|file| file.as_str().map(PathBuf::from)).collect()
}

fn echo() -> Vec<u8> {
    example("loader_echo")
}

/// `content` with the text `from`, which occurs once in its declaration, replaced by a text of the same length.
fn patched(content: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let elf = object::read::elf::ElfFile64::<object::Endianness>::parse(content).expect("a library");
    let section = elf.section_by_name(SECTION).expect("a plugin");
    let start = usize::try_from(section.file_range().expect("has bytes").0).expect("fits");
    let declaration = section.data().expect("has bytes");
    let places: Vec<_> =
        declaration.windows(from.len()).enumerate().filter(|(_, text)| *text == from.as_bytes()).collect();
    let [(place, _)] = places[..] else { panic!("`{from}` occurs {} times", places.len()) };
    let mut content = content.to_owned();
    content[start + place..start + place + to.len()].copy_from_slice(to.as_bytes());
    content
}

/// `content` with the last letter of a name that the dynamic linker looks for changed to X.
fn without_name(content: &[u8], name: &str) -> Vec<u8> {
    let elf = object::read::elf::ElfFile64::<object::Endianness>::parse(content).expect("a library");
    let names = elf.section_by_name(".dynstr").expect("has dynamic names");
    let (start, size) = names.file_range().expect("has bytes");
    let (start, size) = (usize::try_from(start).expect("fits"), usize::try_from(size).expect("fits"));
    let place = content[start..start + size].windows(name.len()).position(|text| text == name.as_bytes());
    let mut content = content.to_owned();
    content[start + place.expect("is there") + name.len() - 1] = b'X';
    content
}

fn with_version(content: &[u8], version: &str) -> Vec<u8> {
    patched(content, &format!("\nversion = \"{}\"", env!("CARGO_PKG_VERSION")), &format!("\nversion = \"{version}\""))
}

fn with_api(content: &[u8], version: &str) -> Vec<u8> {
    patched(content, &format!("\napi = \"{}\"", env!("CARGO_PKG_VERSION")), &format!("\napi = \"{version}\""))
}

/// A host that keeps what it is asked to run.
#[derive(Default)]
struct TestHost {
    ran: Mutex<Vec<RunFramework>>,
}

impl CommandHost for TestHost {
    fn run_framework(&self, run: RunFramework) -> Result<RunFrameworkResult, String> {
        assert!(run.config != b"panic", "asked to");
        match &run.config[..] {
            b"refuse" => Err("refused".to_owned()),
            _ => {
                self.ran.lock().expect("not poisoned").push(run);
                Ok(RunFrameworkResult { exit_code: 42, framework_id: None })
            }
        }
    }

    fn request(&self, _: &str, _: Vec<u8>, _: &mut mesos_plugin_api::command::Pieces<'_>) -> Result<(), String> {
        unreachable!("no plugin of these tests asks for it")
    }

    fn upload(&self, _: &Path) -> Result<Uri, String> {
        unreachable!("no plugin of these tests asks for it")
    }

    fn cluster(&self) -> Result<Cluster, String> {
        unreachable!("no plugin of these tests asks for it")
    }
}

fn typed(words: &[&str]) -> Invocation {
    let trailing = words.iter().map(|word| word.as_bytes().to_owned()).collect();
    Invocation { path: vec!["echo-run".to_owned()], trailing, ..Default::default() }
}

/// What a framework half wrote to standard output in answer to an event.
fn said(calls: &[Call]) -> String {
    let [Call::Output(output)] = calls else { panic!("one output: {calls:?}") };
    String::from_utf8(output.data.clone()).expect("text")
}

fn connected() -> Event {
    Event::Connected(framework::Connected {})
}

fn load_from(env: &TestEnv, word: &str) -> LoadedPlugin {
    let catalogue = env.scan();
    load(catalogue.find(word).expect("in the catalogue").plugin).expect("loads")
}

mod catalogue {
    use super::*;

    #[test]
    fn a_plugin_is_listed_with_what_it_declares_and_its_hash() {
        let env = TestEnv::new();
        let path = env.add("libecho.so", &echo());
        let catalogue = env.scan();
        let found = catalogue.find("echo-run").expect("found");
        assert_eq!(
            (found.plugin.path.as_path(), found.plugin.name_and_version().as_str()),
            (path.as_path(), "echo-one 0.1.0")
        );
        assert!(found.command.arguments[0].trailing);
        assert_eq!(
            catalogue.commands().map(|found| found.command.name.as_str()).collect::<Vec<_>>(),
            ["echo-more", "echo-run"]
        );
        assert_eq!(found.plugin.target, Target::this());
        assert!(found.plugin.glibc.expect("linked to glibc") <= Glibc::this().expect("runs on glibc"));
        let hash = ContentHash::of(&mut echo().as_slice()).expect("readable").to_string();
        assert_eq!((found.plugin.hash().expect("readable").to_string(), hash.len()), (hash.clone(), 64));
        let reference = found.plugin.reference().expect("readable");
        assert_eq!((reference.name.as_str(), reference.version.as_str()), ("echo-one", "0.1.0"));
        assert_eq!((reference.sha256, reference.size), (hash, echo().len() as u64));
    }

    #[test]
    fn a_command_comes_and_goes_with_its_file() {
        let env = TestEnv::new();
        assert_eq!(
            env.scan().find("echo-run").unwrap_err(),
            FindError::Unknown { word: "echo-run".to_owned(), broken: 0 }
        );
        let path = env.add("libecho.so", &echo());
        assert!(env.scan().find("echo-run").is_ok());
        fs::remove_file(path).expect("removable");
        assert!(env.scan().find("echo-run").is_err());
    }

    #[test]
    fn the_hash_follows_the_content() {
        let env = TestEnv::new();
        env.add("libecho.so", &echo());
        let before = env.scan().find("echo-run").expect("found").plugin.hash().expect("readable");
        env.add("libecho.so", &with_version(&echo(), "0.1.1"));
        let after = env.scan().find("echo-run").expect("found").plugin.hash().expect("readable");
        assert_ne!(before, after);
    }

    #[test]
    fn two_versions_lie_side_by_side_and_the_newest_has_the_bare_word() {
        let env = TestEnv::new();
        env.add("a.so", &with_version(&echo(), "0.9.0"));
        env.add("b.so", &echo());
        let catalogue = env.scan();
        let version = |word: &str| catalogue.find(word).map(|found| found.plugin.declaration.version.to_string());
        assert_eq!(version("echo-run").as_deref(), Ok("0.9.0"));
        assert_eq!(version("echo-run@0.1").as_deref(), Ok("0.1.0"));
        assert_eq!(version("echo-run@0.1.0").as_deref(), Ok("0.1.0"));
        assert_eq!(version("echo-run@0").as_deref(), Ok("0.9.0"));
        let error = version("echo-run@0.2").unwrap_err().to_string();
        assert!(error.contains("echo-one 0.9.0, echo-one 0.1.0") && error.contains("0.2"), "{error}");
        assert_eq!(catalogue.commands().count(), 2);
    }

    #[test]
    fn of_one_version_in_two_folders_the_first_folder_counts() {
        let (first, second) = (TestEnv::new(), TestEnv::new());
        second.add("a.so", &echo());
        let path = first.add("b.so", &echo());
        let search = SearchPath::new(&[first.dir.path().into(), second.dir.path().into()], None, None, None);
        let catalogue = Catalogue::scan(&search, &[]);
        let shadows: Vec<_> = catalogue.entries().iter().map(|entry| entry.shadowed_by.clone()).collect();
        assert_eq!(shadows, [None, Some(path.clone())]);
        assert_eq!(catalogue.find("echo-run").expect("found").plugin.path, path);
    }

    #[test]
    fn two_plugins_with_one_word_are_both_named_and_neither_gets_it() {
        let env = TestEnv::new();
        env.add("one.so", &echo());
        let other = patched(&echo(), "name = \"echo-one\"", "name = \"echo-two\"");
        env.add("two.so", &patched(&other, "name = \"echo-more\"", "name = \"echo-less\""));
        let catalogue = env.scan();
        let error = catalogue.find("echo-run").unwrap_err().to_string();
        for part in ["`echo-run`", "echo-one 0.1.0", "one.so", "echo-two 0.1.0", "two.so"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        assert_eq!(catalogue.refused().map(|refused| refused.word).collect::<Vec<_>>(), ["echo-run"]);
        assert!(catalogue.find("echo-more").is_ok() && catalogue.find("echo-less").is_ok());
    }

    #[test]
    fn a_verb_of_the_host_is_not_given_away() {
        let env = TestEnv::new();
        env.add("one.so", &echo());
        let catalogue = Catalogue::scan(&env.search_path(), &["run", "echo-run"]);
        let error = catalogue.find("echo-run").unwrap_err().to_string();
        assert!(error.contains("echo-one 0.1.0") && error.contains("a command of mesos itself"), "{error}");
        assert!(catalogue.find("echo-more").is_ok());
    }

    #[test]
    fn a_named_folder_that_is_missing_is_reported_and_a_default_one_is_not() {
        let missing = PathBuf::from("/nonexistent/plugins");
        let named = Catalogue::scan(&SearchPath::new(std::slice::from_ref(&missing), None, None, None), &[]);
        let problem = named.entries()[0].plugin.as_ref().unwrap_err();
        assert!(problem.starts_with("/nonexistent/plugins: the plugins folder cannot be read"), "{problem}");
        assert!(Catalogue::scan(&SearchPath::new(&[], None, Some(&missing), Some(&missing)), &[]).entries().is_empty());
    }

    #[test]
    fn a_broken_neighbour_is_counted_and_harms_nobody() {
        let env = TestEnv::new();
        env.add("bad.so", b"text");
        env.add("good.so", &echo());
        env.add("README", b"not looked at");
        let catalogue = env.scan();
        assert!(catalogue.find("echo-run").is_ok());
        let error = catalogue.find("nothing").unwrap_err().to_string();
        assert!(error.contains("`nothing`") && error.contains("one file did not load: see `mesos plugins`"), "{error}");
    }
}

mod bad_files {
    use super::*;

    #[test]
    fn text_and_emptiness_are_no_libraries() {
        let env = TestEnv::new();
        for content in ["", "\x7f", "\x7fEL", "#!/bin/sh\necho hello\n"] {
            assert_eq!(env.refused(content.as_bytes()), "is not a shared library (no ELF header)");
        }
    }

    #[test]
    fn a_library_cut_anywhere_is_refused() {
        let env = TestEnv::new();
        let whole = echo();
        let path = env.add("bad.so", &whole);
        let file = fs::File::options().write(true).open(&path).expect("writable");
        let headers = (0..4096).step_by(61).chain([63, 64, 65]);
        let mut lengths: Vec<_> = headers.chain((0..whole.len()).step_by(whole.len() / 997)).collect();
        lengths.extend([whole.len() - 1, whole.len() / 2]);
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        for length in lengths {
            file.set_len(length as u64).expect("shortened");
            let problem = PluginFile::read(&path).expect_err("cut").to_string();
            let expected = match length {
                0..4 => "is not a shared library".to_owned(),
                4..64 => format!("is cut short: {length} bytes of at least 64"),
                _ => format!("is cut short: {length} bytes of at least {}; copy it again", whole.len()),
            };
            assert!(problem.starts_with(&expected), "{length}: {problem}");
        }
    }

    #[test]
    fn a_segment_that_reaches_past_the_end_is_refused() {
        // With all headers in place: only the segment's own numbers tell, and mapping it would end in SIGBUS.
        let whole = echo();
        let number = |at: usize| u64::from_le_bytes(whole[at..at + 8].try_into().expect("eight bytes"));
        let (table, entry) = (usize::try_from(number(32)).expect("fits"), 56);
        let load = (0..64).map(|index| table + index * entry).find(|at| whole[*at..at + 4] == 1_u32.to_le_bytes());
        let load = load.expect("has a PT_LOAD");
        let env = TestEnv::new();
        for size in [whole.len() as u64 + 1 - number(load + 8), u64::MAX] {
            let mut content = whole.clone();
            content[load + 32..load + 40].copy_from_slice(&size.to_le_bytes());
            assert!(env.refused(&content).starts_with(&format!("is cut short: {} bytes of at least", whole.len())));
        }
    }

    #[test]
    fn bytes_at_random_never_crash_the_reader() {
        let env = TestEnv::new();
        let whole = echo();
        // xorshift: a seed is enough to find a failure again.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let noise: Vec<u8> = std::iter::repeat_with(|| random().to_le_bytes()).take(64).flatten().collect();
        assert!(env.refused(&noise).starts_with("is not a shared library"));
        assert!(!env.refused(&[&whole[..20], &noise].concat()).is_empty());
        // Single bytes of the header and of the tables at the end, where lengths and offsets are.
        let path = env.add("bad.so", &whole);
        let file = fs::File::options().write(true).open(&path).expect("writable");
        for round in 0..1000 {
            let (span, start) = if round % 2 == 0 { (1024, 0) } else { (4096, whole.len() - 4096) };
            let places: [usize; 3] = std::array::from_fn(|_| start + random() as usize % span);
            for place in places {
                file.write_all_at(&[random() as u8], place as u64).expect("written");
            }
            let _ = PluginFile::read(&path);
            for place in places {
                file.write_all_at(&whole[place..=place], place as u64).expect("written");
            }
        }
        assert!(PluginFile::read(&path).is_ok(), "whole again");
    }

    #[test]
    fn a_library_for_another_machine_names_both() {
        let env = TestEnv::new();
        let mut foreign = echo();
        let (machine, name) = if cfg!(target_arch = "aarch64") { (62_u16, "x86_64") } else { (183, "aarch64") };
        foreign[18..20].copy_from_slice(&machine.to_le_bytes());
        let problem = env.refused(&foreign);
        assert!(problem.contains(&format!("is built for {name}, this machine is {}", Target::this())), "{problem}");
        let mut narrow = echo();
        narrow[4] = 1;
        assert!(env.refused(&narrow).contains("is built for"));
    }

    #[test]
    fn a_library_for_a_newer_glibc_names_both() {
        let env = TestEnv::new();
        let path = env.add("libecho.so", &echo());
        let old = Machine { glibc: Some(Glibc { major: 2, minor: 3 }), ..Machine::this() };
        let problem = PluginFile::read_for(&path, &old).unwrap_err().to_string();
        let needed = PluginFile::read(&path).expect("good").glibc.expect("linked to glibc");
        assert_eq!(problem, format!("needs glibc {needed}, this machine has 2.3; build it on an older system"));
    }

    #[test]
    fn libraries_and_programs_of_others_are_no_plugins() {
        let env = TestEnv::new();
        let maps = fs::read_to_string("/proc/self/maps").expect("readable");
        let libc = maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(|path| path.contains("libc.so"));
        let libc = fs::read(libc.expect("linked to a libc.so")).expect("readable");
        let expected = format!("is a shared library but not a mesos plugin (no section {SECTION})");
        assert_eq!(env.refused(&libc), expected);
        let mut program = echo();
        program[16] = 2;
        assert_eq!(env.refused(&program), "is an ELF file but not a shared library");
    }

    #[test]
    fn folders_pipes_and_dead_links_are_said_to_be_so() {
        let env = TestEnv::new();
        let path = |name: &str| env.dir.path().join(name);
        fs::create_dir(path("a.so")).expect("a folder");
        nix::unistd::mkfifo(&path("b.so"), nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        std::os::unix::fs::symlink("nothing", path("c.so")).expect("a link");
        let catalogue = env.scan();
        let problems: Vec<_> = catalogue.entries().iter().map(|entry| entry.plugin.as_ref().unwrap_err()).collect();
        assert!(problems[0].ends_with("a.so: is not a regular file"), "{problems:?}");
        assert!(problems[1].ends_with("b.so: is not a regular file"), "{problems:?}");
        assert!(problems[2].contains("c.so: cannot be read: No such file"), "{problems:?}");
    }

    #[test]
    fn another_api_version_names_both_and_what_to_do() {
        let env = TestEnv::new();
        assert_eq!(
            env.refused(&with_api(&echo(), "0.9.0")),
            "is echo-one 0.1.0 for plugin API 0.9.0, this mesos speaks 0.1.0; \
             update mesos, or install the echo-one plugin built for API 0.1.0"
        );
        assert!(env.refused(&with_api(&echo(), "0.1.7")).contains("update mesos"));
        assert!(env.refused(&with_api(&echo(), "0.0.1")).contains("install a newer echo-one plugin"));
        // What a newer one declares may be unknown here: its version is said nevertheless.
        let newer = patched(&with_api(&echo(), "0.9.0"), "\nhelp = \"At once\"", "\ntint = \"At once\"");
        assert!(env.refused(&newer).contains("update mesos"));
    }

    #[test]
    fn an_older_plugin_of_the_same_line_is_taken() {
        let env = TestEnv::new();
        let path = env.add("libecho.so", &echo());
        let newer = Machine { api: "0.1.9".parse().expect("a version"), ..Machine::this() };
        assert!(PluginFile::read_for(&path, &newer).is_ok());
    }

    #[test]
    fn a_bad_declaration_names_the_key() {
        let env = TestEnv::new();
        let problem = env.refused(&patched(&echo(), "\nhelp = \"At once\"", "\ntint = \"At once\""));
        assert!(problem.starts_with("has a bad declaration, line ") && problem.contains("`tint`"), "{problem}");
        let problem = env.refused(&patched(&echo(), "name = \"words\"", "name = \"wor s\""));
        let place = "has a bad declaration of plugin echo-one: command echo-run: argument wor s: `name` ";
        assert!(problem.starts_with(place), "{problem}");
    }
}

mod loading {
    use super::*;

    fn silent() -> Injector {
        Injector::new(|_| ())
    }

    #[test]
    fn a_command_runs_and_reaches_the_host() {
        let env = TestEnv::new();
        env.add("libecho.so", &echo());
        let (plugin, host) = (load_from(&env, "echo-run"), Arc::new(TestHost::default()));
        assert_eq!(plugin.run_command(host.clone(), &typed(&["a b", "-x"])), Ok(42));
        assert_eq!(host.ran.lock().expect("not poisoned")[0].config, b"a b");
        assert_eq!(plugin.run_command(host.clone(), &typed(&["refuse"])), Err("refused".to_owned()));
        let error = plugin.run_command(host.clone(), &typed(&["panic"])).unwrap_err();
        assert_eq!(error, "the host panicked in method 1; see its log");
        assert_eq!(Arc::strong_count(&host), 1, "the plugin keeps no host");
    }

    #[test]
    fn halves_keep_their_own_state_and_their_threads_reach_the_host() {
        let env = TestEnv::new();
        env.add("libecho.so", &echo());
        let plugin = load_from(&env, "echo-run");
        let injected = Arc::new(Mutex::new(Vec::new()));
        let into = injected.clone();
        let inject = Injector::new(move |data| into.lock().expect("not poisoned").push(data));
        let mut one = plugin.new_framework(b"one", inject).expect("a half");
        let mut two = plugin.new_framework(b"two", silent()).expect("a half");
        assert_eq!(said(&one.handle(Time(5), connected()).expect("alive")), "one 5 1");
        assert_eq!(said(&one.handle(Time(6), connected()).expect("alive")), "one 6 2");
        let two = std::thread::spawn(move || two.handle(Time(7), connected())).join().expect("no panic");
        assert_eq!(said(&two.expect("alive")), "two 7 1");
        assert_eq!(*injected.lock().expect("not poisoned"), [b"one 5 1".to_vec(), b"one 6 2".to_vec()]);
        assert_eq!(plugin.new_executor(b"me", silent()).map(|_| ()), Err("no executor for me".to_owned()));
        drop(one);
        assert_eq!(Arc::strong_count(&injected), 1, "the plugin keeps no injector");
    }

    #[test]
    fn two_plugins_live_in_one_process() {
        let env = TestEnv::new();
        env.add("echo.so", &echo());
        env.add("panics.so", &example("loader_panics"));
        let (one, two) = (load_from(&env, "echo-run"), load_from(&env, "panic"));
        let host = Arc::new(TestHost::default());
        assert!(two.run_command(host.clone(), &typed(&[])).is_err());
        assert_eq!(one.run_command(host, &typed(&[])), Ok(42));
    }

    #[test]
    fn a_panic_in_any_call_is_an_error_with_its_place() {
        let env = TestEnv::new();
        env.add("panics.so", &example("loader_panics"));
        let (plugin, host) = (load_from(&env, "panic"), Arc::new(TestHost::default()));
        let panicked = |call: &str, error: String, message: &str| {
            let start = format!("plugin panics 0.1.0 panicked in {call}: {message} at ");
            assert!(error.starts_with(&start) && error.contains("panics.rs:"), "{error}");
            error
        };
        panicked("run_command", plugin.run_command(host, &typed(&[])).unwrap_err(), "no command with 1 words");
        panicked("new_framework", plugin.new_framework(b"", silent()).err().expect("refused"), "no framework");
        panicked("new_executor", plugin.new_executor(b"", silent()).err().expect("refused"), "no executor");
        let mut half = plugin.new_framework(b"later", silent()).expect("a half");
        assert_eq!(said(&half.handle(Time(0), connected()).expect("alive")), "fine");
        let stdin = Event::Stdin(framework::Stdin { data: b"x".to_vec(), end: None });
        let bounds = "index out of bounds: the len is 1 but the index is 1";
        let first = panicked("handle", half.handle(Time(0), stdin).unwrap_err(), bounds);
        assert_eq!(half.handle(Time(0), connected()), Err(first), "a dead half stays dead");
        // Its drop panics too, and this process lives on.
        drop(half);
    }

    #[test]
    fn the_plugin_of_the_documentation_runs_its_tasks() {
        let env = TestEnv::new();
        env.add("hello.so", &example("loader_hello"));
        let plugin = load_from(&env, "hello");

        let host = Arc::new(TestHost::default());
        let count = ArgumentValues { name: "count".to_owned(), values: vec!["3".to_owned()] };
        let invocation = Invocation { path: vec!["hello".to_owned()], arguments: vec![count], ..Default::default() };
        assert_eq!(plugin.run_command(host.clone(), &invocation), Ok(42));
        let config = host.ran.lock().expect("not poisoned")[0].config.clone();

        let mut master = FakeMaster::new(Box::new(plugin.new_framework(&config, silent()).expect("a half")));
        master.add_agent("a1", "cpus:0.2;mem:1024");
        master.add_agent("a2", "cpus:4;mem:1024");
        master.offer();
        let tasks: Vec<_> = master.live_tasks().into_iter().cloned().collect();
        assert_eq!(tasks.len(), 3);
        assert!(tasks.iter().all(|task| task.command.as_ref().expect("a command").argv == [b"echo", &b"hello"[..]]));
        assert_eq!(tasks.iter().filter(|task| task.agent_id.as_str() == "a1").count(), 2, "no more than it holds");
        for (task, exit) in tasks.iter().zip([ExitStatus::code(0), ExitStatus::signal(9), ExitStatus::code(0)]) {
            assert_eq!(master.finished, None);
            let state = if exit.success() { TaskState::TaskFinished } else { TaskState::TaskFailed };
            master.update_with(TaskStatus { exit: Some(exit), ..TaskStatus::new(task.id.clone(), state) });
        }
        assert_eq!(master.finished, Some((137, None)), "the exit code of the one that failed");
    }

    #[test]
    fn a_file_that_changed_since_it_was_listed_is_not_loaded() {
        let env = TestEnv::new();
        let path = env.add("libecho.so", &echo());
        let listed = env.scan().find("echo-run").expect("found").plugin.clone();
        env.add("libecho.so", &with_version(&echo(), "0.1.1"));
        let error = load(&listed).err().expect("refused").to_string();
        assert_eq!(
            error,
            format!("plugin {}: the file has changed since it was listed; run the command again", path.display())
        );
        fs::remove_file(&path).expect("removable");
        assert!(matches!(load(&listed), Err(LoadProblem::Changed { .. })));
    }

    #[test]
    fn a_file_that_was_replaced_after_loading_is_not_mistaken_for_the_new_one() {
        let env = TestEnv::new();
        env.add("libecho.so", &echo());
        load_from(&env, "echo-run");
        load_from(&env, "echo-run");
        env.add("libecho.so", &with_version(&echo(), "0.1.1"));
        let catalogue = env.scan();
        let error = load(catalogue.find("echo-run").expect("found").plugin).err().expect("refused");
        assert!(matches!(error, LoadProblem::Replaced { .. }), "{error}");
    }

    #[test]
    fn a_library_with_a_declaration_but_no_boundary_is_refused() {
        let env = TestEnv::new();
        env.add("libecho.so", &without_name(&echo(), "mesos_plugin_abi"));
        let error = load(env.scan().find("echo-run").expect("found").plugin).err().expect("refused").to_string();
        assert!(error.ends_with("has no symbol mesos_plugin_abi; build it with export_plugin!"), "{error}");
    }

    #[test]
    fn a_plugin_that_lacks_a_library_names_it() {
        let env = TestEnv::new();
        env.add("libecho.so", &without_name(&echo(), "libgcc_s.so"));
        let error = load(env.scan().find("echo-run").expect("found").plugin).err().expect("refused").to_string();
        assert!(error.contains("cannot be loaded: libgcc_s.sX"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    #[test]
    fn what_a_plugin_logs_arrives_in_the_log_of_the_host() {
        let env = TestEnv::new();
        env.add("libecho.so", &echo());
        let log = Log::default();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(log.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            let plugin = load_from(&env, "echo-run");
            plugin.run_command(Arc::new(TestHost::default()), &typed(&["a", "b"])).expect("runs");
        });
        let text = String::from_utf8(log.0.lock().expect("not poisoned").clone()).expect("text");
        assert!(text.contains("INFO plugin: command started words=2") && text.contains("echo-one"), "{text}");
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for Log {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }
}
