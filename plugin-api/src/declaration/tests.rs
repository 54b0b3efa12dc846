use super::*;

const HEAD: &str = "name = \"mpi\"\nversion = \"0.1.0\"\napi = \"0.1.0\"\n";

fn parse(rest: &str) -> Result<Declaration, DeclarationError> {
    Declaration::parse(&format!("{HEAD}{rest}"))
}

fn refused(rest: &str) -> String {
    let error = parse(rest).expect_err(rest).to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

/// A plugin with one command `run-mpi` that has `arguments`, each an inline table without name and help.
fn with_arguments(arguments: &[(&str, &str)]) -> String {
    let argument = |(name, rest): &(&str, &str)| {
        format!("[[command.argument]]\nname = \"{name}\"\nhelp = \"h\"\n{}\n", rest.replace("; ", "\n"))
    };
    let arguments: String = arguments.iter().map(argument).collect();
    format!("about = \"a\"\n[[command]]\nname = \"run-mpi\"\nhelp = \"h\"\n{arguments}")
}

#[test]
fn a_full_declaration_is_read() {
    let declaration = parse(
        r#"
        about = "Runs MPI programs"
        [[command]]
        name = "run-mpi"
        help = "Run an MPI program"
        long_help = """Two
        lines"""
        [[command.argument]]
        name = "ranks"
        short = "n"
        long = "ntasks"
        value = "N"
        required = true
        help = "Number of ranks"
        [[command.argument]]
        name = "env"
        short = "x"
        repeated = true
        help = "Carry a variable over"
        [[command.argument]]
        name = "mpi"
        long = "mpi"
        default = "auto"
        possible = ["auto", "pmi"]
        help = "How ranks find each other"
        [[command.argument]]
        name = "program"
        trailing = true
        required = true
        help = "The program and its arguments"
        [[command.example]]
        line = "mesos run-mpi -n 4 ./prog -x"
        help = "Four ranks"
        [[command]]
        name = "mpi-daemon"
        hidden = true
        help = "Runs beside the ranks"
        [[command.command]]
        name = "start"
        help = "Start it"
        "#,
    )
    .expect("valid");
    let [run, daemon] = &declaration.commands[..] else { panic!("two commands") };
    assert_eq!((run.arguments[0].short, run.arguments[0].long.as_deref()), (Some('n'), Some("ntasks")));
    assert!(run.arguments[3].trailing && run.arguments[3].positional());
    assert_eq!(run.examples[0].line, "mesos run-mpi -n 4 ./prog -x");
    assert!(daemon.hidden && daemon.commands[0].name == "start");
    assert_eq!(declaration.version.to_string(), "0.1.0");
}

#[test]
fn malformed_declarations_name_the_line_and_the_key() {
    let error = refused("about = \"a\"\ncolour = \"red\"");
    assert!(error.contains("line 5") && error.contains("colour"), "{error}");
    let error = refused("[[command]]\nname = \"x\"");
    assert!(error.contains("help"), "{error}");
    let error = refused(&with_arguments(&[("ranks", "short = \"np\"")]));
    assert!(error.contains("line 11") && error.contains("np"), "{error}");
    assert!(refused("about = \"").contains("line 4"));
    let error = Declaration::parse("name = \"mpi\"\nversion = \"one\"\n").unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("`one` is no version"), "{error}");
}

#[test]
fn senseless_declarations_name_the_way_to_the_key() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("ranks", "short = \"h\"")], "command run-mpi: argument ranks: `short`"),
        (&[("ranks", "short = \"-\"")], "argument ranks: `short`"),
        (&[("ranks", "long = \"--np\"")], "argument ranks: `long`"),
        (&[("ranks", "long = \"help\"")], "argument ranks: `long`"),
        (&[("Ranks", "long = \"np\"")], "argument Ranks: `name`"),
        (&[("a", "flag = true")], "argument a: a `flag` needs"),
        (&[("a", "flag = true; short = \"a\"; default = \"1\"")], "argument a: a `flag` goes with none"),
        (&[("a", "short = \"a\"; trailing = true")], "argument a: `trailing`"),
        (&[("a", "short = \"a\"; required = true; default = \"1\"")], "argument a: `required` and `default`"),
        (&[("a", "short = \"a\"; possible = [\"x\"]; default = \"y\"")], "argument a: `default` is `y`"),
        (&[("a", "short = \"x\""), ("b", "short = \"x\"")], "two arguments are called `-x`"),
        (&[("a", "long = \"x\""), ("a", "long = \"y\"")], "two arguments are called `a`"),
        (&[("a", "trailing = true"), ("b", "")], "argument b: stands after a"),
        (&[("a", ""), ("b", "required = true")], "argument b: `required`"),
    ];
    for (arguments, expected) in cases {
        let error = refused(&with_arguments(arguments));
        assert!(error.starts_with("declaration of plugin mpi: ") && error.contains(expected), "{error} / {expected}");
    }
}

#[test]
fn senseless_commands_are_refused() {
    assert!(refused("about = \"\"").contains("`about`"));
    assert!(refused("about = \"a\"\n[[command]]\nname = \"a@b\"\nhelp = \"h\"").contains("`name`"));
    assert!(refused("about = \"a\"\n[[command]]\nname = \"help\"\nhelp = \"h\"").contains("may not be `help`"));
    let twice = "[[command]]\nname = \"x\"\nhelp = \"h\"\n".repeat(2);
    assert!(refused(&format!("about = \"a\"\n{twice}")).contains("two commands are called `x`"));
    let sub = with_arguments(&[("a", "")]) + "[[command.command]]\nname = \"sub\"\nhelp = \"h\"";
    assert!(refused(&sub).contains("subcommands"));
    let example = with_arguments(&[]) + "[[command.example]]\nline = \"run-mpi\"\nhelp = \"h\"";
    assert!(refused(&example).contains("`example.line`"));
}

#[test]
fn the_preamble_of_a_newer_declaration_can_be_read() {
    let preamble = Preamble::parse(&format!("{HEAD}colour = \"red\"\n")).expect("unknown keys are ignored");
    assert_eq!((preamble.name.as_str(), preamble.api.to_string().as_str()), ("mpi", "0.1.0"));
}

#[test]
fn a_host_takes_plugins_of_its_line_that_need_nothing_new() {
    let takes = |host: &str, plugin: &str| {
        let parse = |text: &str| text.parse::<Version>().expect("a version");
        parse(host).takes(&parse(plugin))
    };
    assert!(takes("0.1.0", "0.1.0") && takes("0.1.3", "0.1.0"));
    assert!(
        !takes("0.1.0", "0.1.3") && !takes("0.2.0", "0.1.0") && !takes("0.1.0", "0.2.0") && !takes("1.0.0", "0.1.0")
    );
    assert!(takes("1.4.0", "1.2.9") && takes("1.4.0", "1.4.7"));
    assert!(!takes("1.4.0", "1.5.0") && !takes("2.0.0", "1.4.0"));
}

#[test]
fn a_pre_release_of_the_api_fits_itself_alone() {
    let version = |text: &str| text.parse::<Version>().expect("a version");
    let (release, first, second) = (version("1.0.0"), version("1.0.0-rc.1"), version("1.0.0-rc.2"));
    assert!(first.takes(&first) && !first.takes(&second) && !second.takes(&first));
    assert!(!release.takes(&first) && !first.takes(&release));
}

/// What a file says of itself ends up in a line on a terminal.
#[test]
fn a_hostile_declaration_can_neither_end_its_line_nor_speak_to_the_terminal() {
    let head =
        |name: &str, api: &str| format!("name = \"{name}\"\nversion = \"0.1.0\"\napi = \"{api}\"\nabout = \"a\"\n");
    for text in [
        head("a\\nb", "0.1.0"),
        head("mpi", "0.1.0-\\u001b[2J"),
        head("mpi", "0.1.0\\n"),
        head("mpi", "0.1.0") + "\"x\\ny\" = 1",
        head("mpi", "0.1.0") + "[[command]]\nname = \"a\\nb\"\nhelp = \"h\"",
        head("mpi", "0.1.0") + "[[command]]\nname = \"a\"\nhelp = \"\\u001b[2Jh\"",
        head("mpi", "0.1.0") + "[[command]]\nname = \"a\"\nhelp = \"h\"\nlong_help = \"\\u0007\"",
    ] {
        let error = Declaration::parse(&text).expect_err(&text).to_string();
        assert!(!error.contains(char::is_control), "{error:?}");
    }
    assert!(Preamble::parse(&head("a\\nb", "9.0.0")).is_err(), "it is named when its version is refused");
}

#[test]
fn versions_are_ordered_and_matched_by_their_parts() {
    let mut versions: Vec<Version> =
        ["0.10.0", "0.9.1", "1.0.0", "1.0.0-rc.1"].iter().map(|text| text.parse().expect("a version")).collect();
    versions.sort();
    assert_eq!(
        versions.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["0.9.1", "0.10.0", "1.0.0-rc.1", "1.0.0"]
    );
    assert!(versions[1].matches("0.10") && versions[1].matches("0") && versions[1].matches("0.10.0"));
    assert!(!versions[1].matches("0.1") && !versions[1].matches("") && !versions[1].matches("0.10.0.0"));
    for bad in ["", "1", "1.2", "1.2.x", "1.2.3.4", "+1.2.3", "1..3", "99999999999999999999.0.0", "1.2.3-", "1.2.3-a b"]
    {
        assert!(bad.parse::<Version>().is_err(), "{bad}");
    }
}
