//! What users of srun and mpirun expect of the flags; the same for every MPI, so one is enough, unless the launch path matters.

use std::fs;
use std::time::Duration;

use harness::{Mpi, or_skip};

use crate::{Place, Setting, hellos};

#[test]
fn labels_tell_ranks_apart() {
    let setting = or_skip!(Setting::new(Place::Up, Mpi::mpich));
    let labelled = setting.job(&["-n", "3", "--label"], "write_output", &["1"]).run().expect_success();
    let expected = |stream| (0..3).map(move |rank| format!("{rank}: {stream} of rank {rank} line 0"));
    assert_eq!(labelled.sorted_lines(), expected("stdout").collect::<Vec<_>>());
    for line in expected("stderr") {
        assert!(labelled.stderr.lines().any(|found| found == line), "{labelled}");
    }
    setting.finish();
}

#[test]
fn output_goes_into_a_file_for_each_rank() {
    let setting = or_skip!(Setting::new(Place::Up, Mpi::mpich));
    let options = ["-n", "3", "-o", "out-%t.txt", "-e", "err-%t.txt"];
    let quiet = setting.job(&options, "write_output", &["2"]).run().expect_success();
    assert_eq!(quiet.stdout, "");
    for rank in 0..3 {
        for (file, stream) in [("out", "stdout"), ("err", "stderr")] {
            let text = fs::read_to_string(setting.cluster.home.work().join(format!("{file}-{rank}.txt"))).unwrap();
            assert_eq!(text, format!("{stream} of rank {rank} line 0\n{stream} of rank {rank} line 1\n"));
        }
    }
    setting.finish();
}

#[test]
fn environment_and_working_directory_are_carried_over_with_every_mpi() {
    for mpi in [Mpi::mpich as fn() -> _, Mpi::openmpi4, Mpi::openmpi5] {
        let setting = or_skip!(Setting::new(Place::Up, mpi));
        let value = "two words, 'quotes' \"and\" $signs\tthen ünïcode";
        let job = setting.job(&["-n", "2", "-N", "2"], "where", &["COLOUR", "UNHEARD_OF"]);
        let finished = job.env("COLOUR", value).run().expect_success();
        let folder = setting.cluster.home.work();
        for rank in 0..2 {
            for said in
                [format!("cwd {}", folder.display()), format!("COLOUR={value}"), "UNHEARD_OF=(unset)".to_string()]
            {
                assert!(
                    finished.stdout.lines().any(|line| line == format!("rank {rank} {said}")),
                    "{said}: {finished}"
                );
            }
        }
        setting.finish();
    }
}

#[test]
fn an_input_file_is_read_instead_of_standard_input() {
    let setting = or_skip!(Setting::new(Place::Up, Mpi::mpich));
    setting.cluster.home.file("input", vec![2; 1000]);
    let read = setting.job(&["-n", "2", "--input", "input"], "read_input", &[]).stdin("unread").run().expect_success();
    assert!(read.stdout.contains("rank 1 read 1000 bytes adding up to 2000"), "{read}");
    setting.finish();
}

#[test]
fn hosts_are_named_and_left_out() {
    let setting = or_skip!(Setting::new(Place::Machines, Mpi::mpich));
    let hosts = |options: &[&str]| {
        let finished = setting.job(options, "hello", &[]).run().expect_success();
        hellos(&finished).into_iter().map(|hello| hello.host).collect::<Vec<_>>()
    };
    assert_eq!(hosts(&["-n", "2", "-N", "2", "-w", "m2,m4"]), ["m2", "m4"]);
    assert_eq!(hosts(&["-n", "2", "-N", "2", "-x", "m1,m3"]), ["m2", "m4"]);
    let unknown = setting.job(&["-n", "1", "-w", "m9"], "hello", &[]).run();
    unknown.expect_error(&["m9"]);
    setting.finish();
}

#[test]
fn a_job_ends_when_its_time_is_over() {
    let setting = or_skip!(Setting::new(Place::Up, Mpi::mpich));
    // srun reads a bare number as minutes and this as minutes and seconds.
    let ended = setting.job(&["-n", "2", "-t", "0:03"], "forever", &[]).run();
    assert!(ended.code.is_some_and(|code| code != 0) && ended.took >= Duration::from_secs(3), "{ended}");
    setting.assert_no_ranks_left("forever");
    setting.finish();
}

#[test]
fn more_ranks_than_cores_share_them_when_told_to() {
    let setting = or_skip!(Setting::new(Place::Up, Mpi::mpich));
    let too_many = setting.job(&["-n", "20"], "hello", &[]).run();
    assert!(too_many.took < Duration::from_secs(15), "it is said at once");
    too_many.expect_error(&["20", "16", "--oversubscribe"]);
    let shared = setting.job(&["-n", "20", "--oversubscribe"], "hello", &[]).run().expect_success();
    assert_eq!(hellos(&shared).len(), 20);
    setting.finish();
}

#[test]
fn a_program_that_only_this_machine_has_is_sent_along() {
    let setting = or_skip!(Setting::new(Place::Up, Mpi::mpich));
    let only_here = setting.cluster.home.folder().join("tmp/only-here");
    fs::copy(setting.program("hello"), &only_here).unwrap();
    let mut job = setting.cluster.mesos(["run-mpi", "-n", "2", "-N", "2", "--bcast"]).arg(&only_here);
    job = job.limit(crate::LIMIT);
    assert_eq!(hellos(&job.run().expect_success()).len(), 2);
    fs::remove_file(only_here).unwrap();
    setting.finish();
}
