//! Standard input on its way to the readers.

use mesos_plugin_api::executor::Event;
use mesos_plugin_api::v1::ExitStatus;
use mesos_plugin_api::v1::executor::{Spawn, Written};
use mesos_plugin_api::v1::framework::call::Call;

use super::world::{Script, Step, World, job, pmi1};
use crate::messages::input::From;
use crate::messages::{Input, Job};

/// Processes that read and say nothing.
#[derive(Default)]
struct Readers {
    read: Vec<(usize, u64, Vec<u8>)>,
}

impl Script for Readers {
    fn launched(&mut self, _node: usize, _spawn: &Spawn) -> Vec<Step> {
        Vec::new()
    }

    fn written(&mut self, node: usize, process: u64, stream: u32, data: &[u8]) -> Vec<Step> {
        assert_eq!(stream, 2);
        self.read.push((node, process, data.to_vec()));
        Vec::new()
    }
}

fn reading(from: From) -> World<Readers> {
    let job = Job { input: Some(Input { from: Some(from) }), ..job(4) };
    World::forming(&job, 2, 2, pmi1(), Readers::default())
}

fn start(world: &mut World<Readers>) {
    world.master.offer();
    world.run();
}

/// Sends input and tells whether the framework paused or resumed it in the end.
fn give(world: &mut World<Readers>, data: &[u8]) -> Option<bool> {
    use mesos_plugin_api::framework::Event as FrameworkEvent;
    let stdin = mesos_plugin_api::v1::framework::Stdin { data: data.to_vec(), end: None };
    world.master.send(FrameworkEvent::Stdin(stdin));
    last_pause(world)
}

fn last_pause(world: &mut World<Readers>) -> Option<bool> {
    let pause = world.master.calls.iter().rev().find_map(|call| match call {
        Call::PauseStdin(pause) => Some(pause.paused),
        _ => None,
    });
    world.run();
    pause
}

#[test]
fn what_comes_before_the_start_reaches_rank_0_in_order() {
    let mut world = reading(From::Rank(0));
    world.stdin(b"a", false);
    start(&mut world);
    world.stdin(b"b", true);
    assert_eq!(world.script.read, [(0, 1, b"a".to_vec()), (0, 1, b"b".to_vec())]);
    assert_eq!(world.closed, [(0, 1, 2)]);
}

#[test]
fn another_rank_or_all_can_read() {
    let mut world = reading(From::Rank(3));
    start(&mut world);
    world.stdin(b"x", false);
    assert_eq!(world.script.read, [(1, 4, b"x".to_vec())]);

    let mut world = reading(From::All(true));
    start(&mut world);
    world.stdin(b"x", false);
    assert_eq!(world.script.read.len(), 4);
}

#[test]
fn a_slow_reader_pauses_the_terminal_until_it_has_read() {
    let mut world = reading(From::Rank(0));
    world.written_is_told = false;
    start(&mut world);
    assert_eq!(give(&mut world, &[b'x'; 500 << 10]), None);
    assert_eq!(give(&mut world, &[b'x'; 20 << 10]), Some(true));
    world.event(0, Event::Written(Written { process: 1, stream: 2, bytes: 100 << 10 }));
    assert_eq!(give(&mut world, &[b'x'; 92 << 10]), Some(true));
}

#[test]
fn input_flows_again_when_the_reader_is_gone() {
    let mut world = reading(From::Rank(0));
    world.written_is_told = false;
    start(&mut world);
    assert_eq!(give(&mut world, &[b'x'; 600 << 10]), Some(true));
    world.exit(0, 1, ExitStatus::code(0));
    assert_eq!(give(&mut world, b"more"), None);
    assert_eq!(give(&mut world, &[b'x'; 600 << 10]), None);
}

#[test]
fn ranks_that_read_a_file_are_started_by_a_shell_that_opens_it() {
    let mut world = reading(From::File("mesos-input".into()));
    start(&mut world);
    let words: Vec<String> =
        world.spawn_of(1, 3).command.argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    assert_eq!(words[4..], ["/sandbox/1/mesos-input".to_string(), "/work/prog".to_string()]);
    assert_eq!(world.spawn_of(1, 3).pipes.len(), 1);
}
