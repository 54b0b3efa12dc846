//! The framework half before a fake master.

use mesos_plugin_api::FakeMaster;
use mesos_plugin_api::prelude::*;
use mesos_plugin_api::v1::framework::Signal;
use mesos_plugin_api::v1::framework::call::Call;

use crate::scheduler::Scheduler;

fn master() -> FakeMaster {
    let services = ["keeper", "server"].map(str::to_string).to_vec();
    let mut master = FakeMaster::new(Box::new(Scheduler::new(services)));
    master.add_agent("A1", "cpus:4;mem:1000;ports:[31000-31009]");
    master
}

fn live(master: &FakeMaster) -> Vec<String> {
    master.live_tasks().iter().map(|task| task.id.to_string()).collect()
}

#[test]
fn a_service_starts_when_the_one_before_it_is_ready_and_stops_before_it() {
    let mut master = master();
    master.offer();
    master.offer();
    assert_eq!(live(&master), ["keeper-1"], "the server waits");
    master.update(&"keeper-1".into(), TaskState::TaskRunning);
    master.offer();
    assert_eq!(live(&master), ["keeper-1", "server-2"]);
    master.update(&"server-2".into(), TaskState::TaskRunning);

    master.send(Event::Signal(Signal { number: 2 }));
    let killed = |call: &Call| if let Call::Kill(kill) = call { Some(kill.task_id.to_string()) } else { None };
    assert_eq!(master.calls.iter().filter_map(killed).collect::<Vec<_>>(), ["server-2"]);
    master.update(&"server-2".into(), TaskState::TaskKilled);
    assert_eq!(master.calls.iter().filter_map(killed).collect::<Vec<_>>(), ["server-2", "keeper-1"]);
    master.update(&"keeper-1".into(), TaskState::TaskKilled);
    assert_eq!(master.finished, Some((0, None)));
}

#[test]
fn a_service_comes_back_on_its_volume_and_port() {
    let mut master = master();
    master.add_agent("A0", "cpus:4;mem:1000;ports:[31000-31009]");
    master.add_volume(&"A1".into(), "keeper", "cpus:0.2;mem:64;ports:[31007-31007]");
    master.offer();
    let tasks = master.live_tasks();
    assert_eq!(tasks[0].agent_id.as_str(), "A1");
    assert_eq!(tasks[0].data(), b"keeper 31007");
    assert_eq!(master.volumes().len(), 1, "no other was made");
}

#[test]
fn what_is_on_a_drained_agent_goes_in_order_and_comes_back_with_it() {
    let mut master = master();
    for task in ["keeper-1", "server-2"] {
        master.offer();
        master.update(&task.into(), TaskState::TaskRunning);
    }
    master.drain_agent(&"A1".into(), Time(60_000_000_000));
    let killed = |call: &Call| if let Call::Kill(kill) = call { Some(kill.task_id.to_string()) } else { None };
    assert_eq!(master.calls.iter().filter_map(killed).collect::<Vec<_>>(), ["server-2"]);
    assert!(master.calls.iter().any(|call| matches!(call, Call::AcceptInverseOffers(_))));
    master.update(&"server-2".into(), TaskState::TaskKilled);
    assert_eq!(master.calls.iter().filter_map(killed).collect::<Vec<_>>(), ["server-2", "keeper-1"]);
    master.update(&"keeper-1".into(), TaskState::TaskKilled);
    assert_eq!(master.finished, None, "it waits for its volumes");
    master.offer();
    assert!(live(&master).is_empty());
    master.undrain_agent(&"A1".into());
    master.offer();
    assert_eq!(live(&master), ["keeper-3"]);
}
