use mesos_plugin_api::v1::command::ArgumentValues;

use super::*;

fn invocation(arguments: &[(&str, &str)], program: &[&str]) -> Invocation {
    Invocation {
        arguments: arguments
            .iter()
            .map(|(name, value)| ArgumentValues { name: name.to_string(), values: vec![value.to_string()] })
            .collect(),
        trailing: program.iter().map(|word| word.as_bytes().to_vec()).collect(),
        working_directory: b"/home/u".to_vec(),
        environment: vec![EnvironmentVariable { name: "A".into(), value: b"1".to_vec() }],
        ..Invocation::default()
    }
}

fn job(arguments: &[(&str, &str)]) -> Job {
    plan(&invocation(arguments, &["./prog"])).unwrap().job
}

fn error(arguments: &[(&str, &str)]) -> String {
    plan(&invocation(arguments, &["./prog"])).unwrap_err().to_string()
}

#[test]
fn the_defaults_are_those_of_srun() {
    let plan = plan(&invocation(&[], &["./my prog", "-n", "--x=y"])).unwrap();
    let job = plan.job;
    assert_eq!((job.ranks, job.nodes, job.cpus_per_rank, job.mem_per_rank), (1, None, 1000, 0));
    assert_eq!(job.argv, [b"./my prog".to_vec(), b"-n".to_vec(), b"--x=y".to_vec()]);
    assert_eq!((job.name.as_str(), plan.named), ("mpi-my-prog", false));
    assert_eq!(job.input, Some(Input { from: Some(From::Rank(0)) }));
    assert_eq!(job.working_directory, b"/home/u");
    assert_eq!(job.environment.len(), 1);
}

#[test]
fn ranks_follow_from_nodes() {
    assert_eq!(job(&[("nodes", "3")]).ranks, 3);
    assert_eq!(job(&[("nodes", "3"), ("ntasks-per-node", "4")]).ranks, 12);
    assert_eq!(job(&[("nodes", "3"), ("ntasks", "7")]).ranks, 7);
}

#[test]
fn what_a_rank_takes_is_read_in_fixed_point() {
    let job = job(&[("cpus-per-rank", "0.5"), ("mem-per-rank", "2G"), ("time", "1:30"), ("gang-timeout", "5m")]);
    assert_eq!((job.cpus_per_rank, job.mem_per_rank), (500, 2_048_000));
    assert_eq!((job.time_limit_ms, job.gang_timeout_ms), (Some(90_000), Some(300_000)));
}

#[test]
fn bad_values_are_named_with_their_flag() {
    let table: [(&[(&str, &str)], &str); 14] = [
        (&[("ntasks", "0")], "-n \"0\": at least one of the ranks is needed"),
        (&[("ntasks", "-3")], "-n \"-3\": not a number of ranks"),
        (&[("ntasks", "4x")], "-n \"4x\": not a number of ranks"),
        (&[("nodes", "0")], "-N \"0\": at least one of the nodes is needed"),
        (&[("nodes", "4"), ("ntasks", "2")], "-N 4 -n 2: there are more nodes than ranks"),
        (
            &[("nodes", "2"), ("ntasks", "9"), ("ntasks-per-node", "4")],
            "-N 2 --ntasks-per-node 4 -n 9: so many ranks don't fit on so many nodes",
        ),
        (&[("cpus-per-rank", "0")], "-c \"0\": not a number of cores above 0"),
        (&[("mem-per-rank", "lots")], "--mem-per-rank \"lots\": not an amount of memory in megabytes, like 512 or 2G"),
        (&[("time", "1h")], "-t \"1h\": write minutes, min:sec, h:min:sec, d-h, d-h:min or d-h:min:sec"),
        (&[("ntasks", "4"), ("input", "4")], "--input \"4\": ranks go from 0 to 3"),
        (&[("mpi", "lam")], "--mpi \"lam\": auto, pmi1 or openmpi is wanted"),
        (&[("nodelist", "n[")], "-w: \"n[\" is no list of host names; write a,b or n[1-3,7]"),
        (&[("gang-timeout", "0")], "--gang-timeout \"0\": not a time above 0, like 30s, 5m or 2h"),
        (&[("name", "a b")], "--name \"a b\": a name has no slash and no white space"),
    ];
    for (arguments, expected) in table {
        assert_eq!(error(arguments), expected);
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    assert!(error(&[("cpus-per-rank", "2"), ("oversubscribe", "true")]).starts_with("-c 2 --oversubscribe"));
    assert!(error(&[("mpi", "pmi1"), ("mpirun", "/m")]).starts_with("--mpi=pmi1 --mpirun /m"));
    assert!(error(&[("detach", "true"), ("input", "all")]).starts_with("--detach --input"));
}

#[test]
fn input_is_a_rank_a_word_or_a_file() {
    let from = |text| plan(&invocation(&[("ntasks", "4"), ("input", text)], &["p"])).unwrap();
    assert_eq!(from("3").job.input.unwrap().from, Some(From::Rank(3)));
    assert_eq!(from("all").job.input.unwrap().from, Some(From::All(true)));
    let file = from("./data");
    assert_eq!(file.job.input.unwrap().from, Some(From::File(INPUT_FILE.into())));
    assert_eq!(file.input_file.as_deref(), Some("./data"));
    assert_eq!(job(&[("detach", "true")]).input.unwrap().from, Some(From::None(true)));
}

#[test]
fn mpirun_means_open_mpi() {
    assert_eq!(job(&[("mpirun", "/opt/bin/mpirun")]).mpi(), Mpi::Openmpi);
}

#[test]
fn an_environment_that_is_too_large_is_refused_with_its_largest_variable() {
    let mut invocation = invocation(&[], &["p"]);
    invocation.environment.push(EnvironmentVariable { name: "HUGE".into(), value: vec![b'x'; 2 << 20] });
    let error = plan(&invocation).unwrap_err().to_string();
    assert!(error.contains("the largest is HUGE with 2097152"), "{error}");
}

#[test]
fn what_only_mpirun_understands_is_refused() {
    assert_eq!(error(&[("ntasks", "p")]), "-np is mpirun's word: write -n here");
    let several = plan(&invocation(&[], &["./a", "-x", ":", "-n", "2", "./b"])).unwrap_err().to_string();
    assert!(several.starts_with("\"./a\" : \"-n\": one job runs one program"), "{several}");
    assert!(
        plan(&invocation(&[], &["./a", "a:b", ":"])).is_ok(),
        "a colon that separates nothing is the program's own"
    );
}

#[test]
fn no_program_is_said() {
    assert_eq!(plan(&invocation(&[], &[])), Err(ArgumentError::NoProgram));
}
