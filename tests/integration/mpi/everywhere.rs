//! What must hold for every MPI and on every kind of cluster.

use std::collections::BTreeSet;

use harness::{Finished, Mpi, or_skip};
use nix::sys::signal::Signal;

use crate::{Place, Setting, hellos};

/// A module of six tests for each check.
macro_rules! everywhere {
    ($($check:ident),* $(,)?) => {$(
        mod $check {
            use super::*;

            #[test]
            fn mpich_on_machines() {
                super::check::$check(or_skip!(Setting::new(Place::Machines, Mpi::mpich)));
            }

            #[test]
            fn openmpi4_on_machines() {
                super::check::$check(or_skip!(Setting::new(Place::Machines, Mpi::openmpi4)));
            }

            #[test]
            fn openmpi5_on_machines() {
                super::check::$check(or_skip!(Setting::new(Place::Machines, Mpi::openmpi5)));
            }

            #[test]
            fn mpich_after_up() {
                super::check::$check(or_skip!(Setting::new(Place::Up, Mpi::mpich)));
            }

            #[test]
            fn openmpi4_after_up() {
                super::check::$check(or_skip!(Setting::new(Place::Up, Mpi::openmpi4)));
            }

            #[test]
            fn openmpi5_after_up() {
                super::check::$check(or_skip!(Setting::new(Place::Up, Mpi::openmpi5)));
            }
        }
    )*};
}

everywhere!(
    ranks_find_their_places_and_each_other,
    the_first_failure_is_told,
    output_and_input_arrive_whole,
    signals_reach_all
);

mod check {
    use super::*;

    pub fn ranks_find_their_places_and_each_other(setting: Setting) {
        let spread = setting.job(&["-n", "4", "-N", "4"], "hello", &[]).run().expect_success();
        assert_eq!(places(&spread), [0, 1, 2, 3], "a rank on each agent: {spread}");
        if setting.place == Place::Machines {
            let hosts: BTreeSet<String> = hellos(&spread).into_iter().map(|hello| hello.host).collect();
            assert_eq!(hosts.into_iter().collect::<Vec<_>>(), ["m1", "m2", "m3", "m4"], "{spread}");
        }

        let block = setting.job(&["-n", "4", "-N", "2"], "hello", &[]).run().expect_success();
        assert_eq!(places(&block), [0, 0, 1, 1], "two ranks on each of two agents, in blocks: {block}");
        let uneven = setting.job(&["-n", "5", "--ntasks-per-node", "2"], "hello", &[]).run();
        if setting.place == Place::Up && setting.mpi.name == "openmpi5" {
            // It takes agents of one machine for one another; the plugin knows it.
            uneven.expect_error(&["Open MPI 5", "as many ranks on each agent"]);
        } else {
            assert_eq!(places(&uneven.expect_success()), [0, 0, 1, 1, 2]);
        }
        let single = setting.job(&["-n", "1"], "hello", &[]).run().expect_success();
        assert_eq!((places(&single), hellos(&single)[0].size), (vec![0], 1), "{single}");

        let ring = setting.job(&["-n", "8", "-N", "4"], "ring", &[]).run().expect_success();
        assert_eq!(ring.stdout, "token 28 sum 28\n");
        setting.finish();
    }

    pub fn the_first_failure_is_told(setting: Setting) {
        let four = &["-n", "4", "-N", "4"];
        let left = setting.job(four, "exit_code", &["1", "17"]).run().expect_code(17);
        told(&setting, &left, &["rank 1", "17"]);
        setting.assert_no_ranks_left("exit_code");

        let aborted = setting.job(four, "abort", &["2", "42"]).run().expect_code(42);
        told(&setting, &aborted, &["rank 2", "42"]);
        setting.assert_no_ranks_left("abort");

        let killed = setting.job(four, "raise_signal", &["3", "9"]).run().expect_code(137);
        told(&setting, &killed, &["rank 3", "signal 9"]);
        setting.assert_no_ranks_left("raise_signal");

        // An agent that failed a job serves the next one.
        setting.job(four, "hello", &[]).run().expect_success();
        setting.finish();
    }

    pub fn output_and_input_arrive_whole(setting: Setting) {
        let lines = 2000;
        let written =
            setting.job(&["-n", "4", "-N", "4"], "write_output", &[&lines.to_string()]).run().expect_success();
        for rank in 0..4 {
            for (name, text) in [("stdout", &written.stdout), ("stderr", &written.stderr)] {
                let start = format!("{name} of rank {rank} line ");
                let numbers: Vec<u32> = text
                    .lines()
                    .filter_map(|line| line.strip_prefix(&start))
                    .map(|number| number.parse().unwrap())
                    .collect();
                assert!(numbers.iter().copied().eq(0..lines), "{name} of rank {rank} is whole and in order: {written}");
            }
        }
        assert!(!written.stdout.contains("stderr of") && !written.stderr.contains("stdout of"), "{written}");

        // Larger than any pipe's buffer.
        let input =
            setting.job(&["-n", "4", "-N", "4"], "read_input", &[]).stdin(vec![1; 300_000]).run().expect_success();
        let expected = |rank| format!("rank {rank} read 300000 bytes adding up to 300000");
        assert_eq!(input.sorted_lines(), (0..4).map(expected).collect::<Vec<_>>(), "{input}");
        let none = setting.job(&["-n", "2"], "read_input", &[]).run().expect_success();
        assert!(none.stdout.contains("rank 1 read 0 bytes"), "an empty standard input has an end: {none}");
        setting.finish();
    }

    pub fn signals_reach_all(setting: Setting) {
        let start = |args: &[&str]| {
            let mut running = setting.job(&["-n", "4", "-N", "4"], "forever", args).start();
            running.wait_for_lines(4, "ranks that are up", |line| line.ends_with("is up"));
            running
        };
        let mut running = start(&[]);
        running.signal(Signal::SIGUSR1);
        running.wait_for_lines(4, "ranks that got the signal", |line| line.ends_with("got signal 10"));
        running.ctrl_c();
        running.wait().expect_code(130);
        setting.assert_no_ranks_left("forever");

        let terminated = start(&[]);
        terminated.signal(Signal::SIGTERM);
        terminated.wait().expect_code(143);
        setting.assert_no_ranks_left("forever");

        let mut stubborn = start(&["stubborn"]);
        stubborn.ctrl_c();
        // Two signals at once are one.
        stubborn.wait_for_remark("once more");
        stubborn.ctrl_c();
        assert_ne!(stubborn.wait().expect_code(130).stderr, "", "the person is told that it was forced");
        setting.assert_no_ranks_left("forever");
        setting.finish();
    }
}

/// For each rank the number of its node, in the order in which nodes appear. Ranks of one node have one sandbox.
fn places(finished: &Finished) -> Vec<usize> {
    let hellos = hellos(finished);
    assert!(
        hellos.iter().zip(0..).all(|(hello, rank)| hello.rank == rank && hello.size == hellos.len() as u32),
        "{finished}"
    );
    let mut sandboxes: Vec<&str> = Vec::new();
    let mut node = |sandbox| match sandboxes.iter().position(|known| *known == sandbox) {
        Some(node) => node,
        None => {
            sandboxes.push(sandbox);
            sandboxes.len() - 1
        }
    };
    hellos.iter().map(|hello| node(hello.sandbox.as_str())).collect()
}

/// One line on stderr holds all of these, and the agent's name where agents have names of their own.
fn told(setting: &Setting, finished: &Finished, parts: &[&str]) {
    let ours = finished.stderr.lines().filter(|line| line.starts_with("mesos: "));
    let line = ours.into_iter().find(|line| parts.iter().all(|part| line.contains(part)));
    let line = line.unwrap_or_else(|| panic!("no line with {parts:?}: {finished}"));
    if setting.place == Place::Machines {
        let named = ["m1", "m2", "m3", "m4"].iter().filter(|name| line.contains(&format!(" {name} "))).count();
        assert_eq!(named, 1, "the line names the agent: {line}");
    }
}
