use std::path::PathBuf;

use clap::Command;

use super::*;
use crate::values;

fn file(text: &str) -> ConfigFile {
    ConfigFile::parse(PathBuf::from("/c.toml"), text).expect("a good file")
}

fn problem(text: &str) -> String {
    ConfigFile::parse(PathBuf::from("/c.toml"), text).expect_err("a bad file").to_string()
}

fn matches(args: &[&str]) -> ArgMatches {
    let command = Command::new("t").no_binary_name(true).arg(RUN_CPUS.arg()).arg(MASTER.arg());
    let attributes = AGENT_ATTRIBUTES.arg().action(clap::ArgAction::Append);
    command.arg(attributes).try_get_matches_from(args).expect("good flags")
}

#[test]
fn flag_then_variable_then_file_then_default() {
    let with_file = || file("[run]\ncpus = 2\n");
    let variable: fn(&str) -> Option<String> = |name| (name == "MESOS_RUN_CPUS").then(|| "3".to_string());
    let none: fn(&str) -> Option<String> = |_| None;
    let find = |settings: Settings, args: &[&str]| settings.find(&RUN_CPUS, &[&matches(args)]).expect("a default");

    let all = find(Settings { file: with_file(), variable }, &["--cpus", "4"]);
    assert_eq!(all, Value { text: "4".into(), source: Source::Flag("cpus") });
    let no_flag = find(Settings { file: with_file(), variable }, &[]);
    assert_eq!(no_flag, Value { text: "3".into(), source: Source::Variable("MESOS_RUN_CPUS") });
    let only_file = find(Settings { file: with_file(), variable: none }, &[]);
    assert_eq!(only_file, Value { text: "2".into(), source: Source::File("/c.toml".into(), "run.cpus") });
    let nothing = find(Settings { file: ConfigFile::default(), variable: none }, &[]);
    assert_eq!(nothing, Value { text: "1".into(), source: Source::Default });
}

#[test]
fn the_flag_of_the_verb_counts_before_the_one_in_front_of_it() {
    let settings = Settings { file: ConfigFile::default(), variable: |_| None };
    let (verb, root) = (matches(&["--master", "verb:1"]), matches(&["--master", "root:1"]));
    assert_eq!(settings.find(&MASTER, &[&verb, &root]).expect("given").text, "verb:1");
    assert_eq!(settings.find(&MASTER, &[&matches(&[]), &root]).expect("given").text, "root:1");
}

#[test]
fn repeated_flags_of_a_list_are_joined() {
    let settings = Settings { file: ConfigFile::default(), variable: |_| None };
    let given = matches(&["--attributes", "rack:r1", "--attributes", "zone:a"]);
    assert_eq!(settings.find(&AGENT_ATTRIBUTES, &[&given]).expect("given").text, "rack:r1;zone:a");
}

#[test]
fn a_bad_value_names_its_source() {
    let settings = Settings { file: ConfigFile::default(), variable: |_| Some("lots".to_string()) };
    let value = settings.find(&RUN_CPUS, &[&matches(&[])]).expect("given");
    let error = read(&value, values::cpus).unwrap_err().to_string();
    assert_eq!(error, "MESOS_RUN_CPUS: \"lots\" is not a number of cores; write it like 0.5 or 4");
}

#[test]
fn numbers_texts_and_lists_are_taken() {
    let file = file(
        "master = \"h:1\"\nplugin-dir = [\"/a\", \"/b\"]\n[run]\ncpus = 0.5\nmem = 1_024\n[daemon.agent]\nport = 0",
    );
    let expected = [
        ("daemon.agent.port", "0"),
        ("master", "h:1"),
        ("plugin-dir", "/a:/b"),
        ("run.cpus", "0.5"),
        ("run.mem", "1024"),
    ];
    assert_eq!(file.values.iter().map(|(name, text)| (*name, text.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    assert_eq!(problem("\nmatser = \"h:1\""), "/c.toml, line 2: there is no key 'matser'; did you mean 'master'?");
    assert_eq!(problem("[run]\ncpu = 1"), "/c.toml, line 2: there is no key 'run.cpu'; did you mean 'run.cpus'?");
    assert_eq!(problem("cpus = 1"), "/c.toml, line 1: there is no key 'cpus'; did you mean 'run.cpus'?");
    assert!(problem("[volcano]\nx = 1").contains("no key 'volcano'; 'mesos config' lists all keys"));
}

#[test]
fn values_of_the_wrong_kind_are_refused_with_their_line() {
    assert!(problem("\n\nmaster = 5").starts_with("/c.toml, line 3: master: \"5\" is not an address"));
    assert!(problem("master = true").contains("line 1: master wants a text or a number"));
    assert!(problem("run = 1").contains("there is no key 'run'"));
    assert!(problem("[run]\ncpus = \"lots\"").contains("line 2: run.cpus: \"lots\" is not a number of cores"));
    assert!(problem("master = \n").starts_with("/c.toml, line 1: "));
}

#[test]
fn every_key_has_a_name_a_flag_and_a_variable_of_its_own_and_a_default_that_it_takes() {
    for (index, key) in ALL.iter().enumerate() {
        assert!(!key.flag.is_empty() && !key.help.is_empty() && key.variable.starts_with("MESOS_"), "{}", key.name);
        assert!(key.default.is_none_or(|default| (key.check)(default).is_ok()), "{}", key.name);
        let other = |other: &&&Key| other.name == key.name || other.variable == key.variable;
        assert!(!ALL[index + 1..].iter().any(|key| other(&key)), "{}", key.name);
    }
}
