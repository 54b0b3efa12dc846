//! Packets to a launcher and from one, with descriptors of any kind. No process is ever made.

use std::fs::File;
use std::os::fd::OwnedFd;

use mesos_host::launcher::fuzz::{self, IdleLauncher};
use mesos_host::launcher::{LaunchSpec, Request, Scope};

use crate::input::Input;

pub(crate) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut launcher = IdleLauncher::default();
    while let Some(step) = input.step(10) {
        let client = usize::from(input.byte());
        match step {
            0 => launcher.connect(),
            1 => launcher.hello(client),
            2 | 3 => {
                let fds = descriptors(&mut input);
                launcher.send(client, input.bytes(), &fds);
            }
            4 => {
                let memory = [fuzz::seal(input.bytes()).expect("memory")];
                launcher.send(client, &fuzz::launch_from_memory(u32::from(input.byte() % 2)), &memory);
            }
            5 => launcher.ask(client, Request::Launch(Box::new(spec(&mut input)))),
            6 => {
                let memory = [fuzz::seal(&fuzz::encode(spec(&mut input))).expect("memory")];
                launcher.send(client, &fuzz::launch_from_memory(0), &memory);
            }
            7 => launcher.ask(client, request(&mut input)),
            8 => launcher.speak_as_executor(&name(&mut input)),
            _ => fuzz::hear(input.bytes(), &descriptors(&mut input)),
        }
        launcher.plan_all();
    }
}

fn name(input: &mut Input<'_>) -> String {
    match input.byte() {
        255 => input.text(),
        at => format!("c{}", at % 4),
    }
}

fn request(input: &mut Input<'_>) -> Request {
    let container = name(input);
    match input.byte() % 4 {
        0 => Request::List,
        1 => Request::Release { container },
        2 => Request::Signal { container, signal: i32::from(input.byte()), scope: Scope::MainProcess },
        _ => Request::Signal { container, signal: i32::from(input.byte()), scope: Scope::WholeContainer },
    }
}

fn spec(input: &mut Input<'_>) -> LaunchSpec {
    let argv = (0..input.byte() % 4).map(|_| os(input.bytes())).collect::<Vec<_>>();
    let mut spec = LaunchSpec::new(name(input), argv);
    spec.env = (0..input.byte() % 3).map(|_| (os(input.bytes()), os(input.bytes()))).collect();
    spec.cwd = if input.seldom() { os(input.bytes()).into() } else { "/sandbox".into() };
    spec.stdout = input.seldom().then(|| os(input.bytes()).into());
    spec.sandbox = input.seldom().then(|| os(input.bytes()).into());
    spec.umask = input.seldom().then(|| input.number() as u32);
    spec.launch_channel = !input.seldom();
    spec.keep_orphans = input.seldom();
    spec
}

fn os(bytes: &[u8]) -> std::ffi::OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

/// Sealed memory, a file that can change, and one without end.
fn descriptors(input: &mut Input<'_>) -> Vec<OwnedFd> {
    let one = |input: &mut Input<'_>| match input.byte() % 3 {
        0 => fuzz::seal(input.bytes()).expect("memory"),
        1 => nix::unistd::pipe().expect("a pipe").0,
        _ => File::open("/dev/zero").expect("every system has it").into(),
    };
    (0..input.byte() % 4).map(|_| one(input)).collect()
}
