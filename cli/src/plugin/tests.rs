use mesos_plugin_api::declaration::Declaration;

use super::*;

fn declared(commands: &str) -> Declared {
    let text = format!("name = \"mpi\"\nversion = \"0.1.0\"\napi = \"0.1.0\"\nabout = \"Runs MPI\"\n{commands}");
    Declaration::parse(&text).expect("a good declaration").commands.remove(0)
}

fn run_mpi() -> Declared {
    declared(
        r#"
[[command]]
name = "run-mpi"
help = "Run an MPI program"
[[command.argument]]
name = "ranks"
short = "n"
long = "ntasks"
value = "N"
required = true
help = "Number of ranks"
[[command.argument]]
name = "export"
short = "x"
repeated = true
help = "Variables"
[[command.argument]]
name = "label"
short = "l"
long = "label"
flag = true
help = "Label lines"
[[command.argument]]
name = "output"
short = "o"
long = "output"
help = "Output file"
[[command.argument]]
name = "mpi"
long = "mpi"
possible = ["pmi", "openmpi"]
default = "pmi"
help = "Which"
[[command.argument]]
name = "program"
trailing = true
required = true
help = "The program"
[[command.example]]
line = "mesos run-mpi -n 4 ./prog"
help = "Four ranks"
"#,
    )
}

fn parse(declared: &Declared, line: &[&str]) -> Result<mesos_plugin_api::Invocation, clap::Error> {
    let command = with_global_args(command(declared), declared);
    command.clone().debug_assert();
    let line = std::iter::once("x").chain(line.iter().copied());
    Ok(invocation::typed(declared, &command.try_get_matches_from(line)?))
}

#[test]
fn what_was_typed_reaches_the_plugin_by_its_declared_names() {
    let line = ["-n", "4", "-x", "A", "-x", "B", "-l", "-o", "out.%t", "./prog", "-n", "--label", "--", "-x"];
    let invocation = parse(&run_mpi(), &line).expect("parses");
    assert_eq!(invocation.path, ["run-mpi"]);
    assert_eq!(invocation.value("ranks"), Some("4"));
    assert_eq!(invocation.values("export"), ["A", "B"]);
    assert!(invocation.flag("label"));
    assert_eq!((invocation.value("output"), invocation.value("mpi")), (Some("out.%t"), Some("pmi")));
    let trailing: Vec<_> = invocation.trailing.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
    assert_eq!(trailing, ["./prog", "-n", "--label", "--", "-x"]);
}

#[test]
fn a_flag_that_was_not_given_has_no_values() {
    let invocation = parse(&run_mpi(), &["-n", "1", "-n", "2", "p"]).expect("parses");
    assert!(!invocation.flag("label") && invocation.value("output").is_none());
    assert_eq!(invocation.values("ranks"), ["2"], "the last one counts");
}

#[test]
fn bad_lines_are_refused_with_the_flag_in_question() {
    for (line, part) in [
        (&["p"][..], "--ntasks <N>"),
        (&["-n", "1"], "<PROGRAM>"),
        (&["-n", "1", "--mpi", "lam", "p"], "[possible values: pmi, openmpi]"),
        (&["-n", "1", "--lable", "p"], "--label"),
    ] {
        let error = parse(&run_mpi(), line).expect_err("refused").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn the_words_of_the_plugin_win_over_flags_of_every_command() {
    let declared = run_mpi();
    let mut command = with_global_args(command(&declared), &declared);
    let help = command.render_long_help().to_string();
    assert!(help.contains("Output file") && !help.contains("table, json"), "{help}");
    assert!(help.contains("--master <HOST:PORT>") && help.contains("Four ranks"), "{help}");
}

#[test]
fn subcommands_carry_the_arguments_on_their_way() {
    let hadoop = declared(
        r#"
[[command]]
name = "hadoop"
help = "Run Hadoop"
[[command.command]]
name = "submit"
help = "Run a job"
[[command.command.argument]]
name = "hadoop"
long = "hadoop"
help = "Version"
[[command.command.argument]]
name = "job"
trailing = true
help = "Job"
"#,
    );
    let line = ["submit", "--hadoop", "3.4.3", "--master", "h:1", "job.jar", "-D", "x"];
    let invocation = parse(&hadoop, &line).expect("parses");
    assert_eq!(invocation.path, ["hadoop", "submit"]);
    assert_eq!(invocation.value("hadoop"), Some("3.4.3"));
    assert_eq!(invocation.trailing.len(), 3);
    assert!(parse(&hadoop, &[]).is_err(), "a word must follow");
}
