//! Volumes: told of when they are durable, mounted before the launch, removed when nobody mounts them.

use mesos_plugin_api::v1::{ExitStatus, Reason, TaskInfo, TaskState};

use super::env::{TestEnv, task};
use crate::agent::{Effect, Event, LocalId};
use crate::protocol::{CreateVolume, DestroyVolume, VolumeId, VolumeRecord, agent_call, agent_event};

fn id() -> VolumeId {
    // The tests' framework is `f`, of no user.
    VolumeId { user: String::new(), framework: "f".into(), name: "data".into() }
}

impl TestEnv {
    fn create(&mut self) {
        let volume = VolumeRecord { id: id(), reserved: "cpus:1".parse().unwrap() };
        self.master(agent_event::Event::CreateVolume(CreateVolume { volume }));
    }

    fn made(&mut self, outcome: Result<(), String>) {
        self.on(Event::VolumeMade { id: id(), outcome });
    }

    /// Whether volumes exist, as the master was told, and what was launched or mounted, as the shell was.
    fn seen(&mut self) -> (Vec<bool>, Vec<&'static str>) {
        let (mut told, mut done) = (Vec::new(), Vec::new());
        for effect in self.take() {
            match effect {
                Effect::Send(agent_call::Call::Volume(outcome)) => told.push(outcome.exists),
                Effect::MakeVolume { .. } => done.push("make"),
                Effect::RemoveVolume { .. } => done.push("remove"),
                Effect::Mount { .. } => done.push("mount"),
                Effect::Launch { .. } => done.push("launch"),
                _ => {}
            }
        }
        (told, done)
    }
}

fn mounting() -> TaskInfo {
    task("t").mounting("data", "d")
}

#[test]
fn a_task_waits_until_its_volume_is_durable_and_mounted() {
    let mut env = TestEnv::new();
    env.create();
    env.run(vec![mounting()]);
    assert_eq!(env.seen(), (vec![], vec!["make"]));
    env.made(Ok(()));
    assert_eq!(env.seen(), (vec![true], vec!["mount"]));
    env.on(Event::Mounted { id: LocalId(1), outcome: Ok(()) });
    assert_eq!(env.seen(), (vec![], vec!["launch"]));
    env.launched(1);

    let destroy = || agent_event::Event::DestroyVolume(DestroyVolume { id: id() });
    env.take();
    env.master(destroy());
    assert_eq!(env.seen(), (vec![true], vec![]), "not while a task mounts it");
    env.exited(1, ExitStatus::code(0));
    env.take();
    env.master(destroy());
    assert_eq!(env.seen(), (vec![], vec!["remove"]));
    env.on(Event::VolumeRemoved { id: id(), outcome: Ok(()) });
    assert_eq!(env.seen(), (vec![false], vec![]));
}

#[test]
fn without_its_volume_a_task_fails() {
    let mut env = TestEnv::new();
    env.create();
    env.run(vec![mounting()]);
    env.take();
    env.made(Err("disk full".into()));
    let end = env.last();
    assert_eq!((end.state(), end.reason()), (TaskState::TaskFailed, Reason::Volume));
    env.run(vec![TaskInfo { id: "again".into(), ..mounting() }]);
    assert_eq!(env.last().reason(), Reason::Volume);
}
