//! The parts that the other tests stand on, without us: each real MPI runs the test programs by its own launcher. When one of these
//! fails, look at the machine and not at `mesos`.

use harness::{Cmd, Mpi, Skip, or_skip, programs};

#[test]
fn openmpi4_runs_the_programs_by_itself() {
    let mpi = or_skip!(Mpi::openmpi4());
    check(&mpi);
    check_input(&mpi, 100_000);
}

#[test]
fn openmpi5_runs_the_programs_by_itself() {
    // No input: `mpirun` 5.0.11 never tells rank 0 that its standard input has ended, and repeats parts of a long one.
    check(&or_skip!(Mpi::openmpi5()));
}

#[test]
fn mpich_runs_the_programs_by_itself() {
    let mpi = or_skip!(Mpi::mpich());
    check(&mpi);
    // Its launcher gives up over more than 64 KB that rank 0 doesn't read at once.
    check_input(&mpi, 10_000);
}

#[test]
fn each_program_is_linked_to_its_own_mpi() {
    let both = || -> Result<_, Skip> { Ok([(Mpi::openmpi5()?, "libmpi.so.40"), (Mpi::mpich()?, "libmpi.so.12")]) };
    for (mpi, library) in or_skip!(both()) {
        let folder = tempfile::tempdir().unwrap();
        let resolved =
            Cmd::new("/usr/bin/ldd", folder.path()).arg(programs::compiled(&mpi, "hello")).run().expect_success();
        let own = mpi.compiler.ancestors().nth(2).unwrap().to_str().unwrap();
        let line = resolved.stdout.lines().find(|line| line.contains(library)).unwrap_or_else(|| panic!("{resolved}"));
        assert!(line.contains(own), "{line}");
    }
}

fn check(mpi: &Mpi) {
    let folder = tempfile::tempdir().unwrap();
    let launch = |program: &str| mpi.own_launcher(3, &programs::compiled(mpi, program), folder.path());

    let hello = launch("hello").run().expect_success();
    let ranks: Vec<String> =
        hello.sorted_lines().iter().map(|line| line.split(" on ").next().unwrap().to_string()).collect();
    assert_eq!(ranks, ["rank 0 of 3", "rank 1 of 3", "rank 2 of 3"]);

    assert_eq!(launch("ring").run().expect_success().stdout, "token 3 sum 3\n");

    let output = launch("write_output").arg("50").run().expect_success();
    assert_eq!((output.stdout.lines().count(), output.stderr.lines().count()), (150, 150), "{output}");

    // Which code comes out differs: hydra may report a rank that it killed itself.
    assert_ne!(launch("exit_code").args(["1", "17"]).run().code, Some(0));

    let mut forever = launch("forever").start();
    forever.wait_for_lines(3, "ranks that are up", |line| line.ends_with("is up"));
    assert_ne!(forever.stop().code, Some(0));
}

fn check_input(mpi: &Mpi, bytes: usize) {
    let folder = tempfile::tempdir().unwrap();
    let launched =
        mpi.own_launcher(3, &programs::compiled(mpi, "read_input"), folder.path()).stdin(vec![1; bytes]).run();
    let line = format!("rank 2 read {bytes} bytes adding up to {bytes}\n");
    assert!(launched.stdout.contains(&line), "{launched}");
}
