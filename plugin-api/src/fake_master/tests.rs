//! A framework half that keeps a database on a volume, against the fake master.

use super::FakeMaster;
use crate::framework::Event;
use crate::v1::framework::call::Call;
use crate::v1::scheduler::{CreateVolume, VolumeState};
use crate::v1::{AgentId, CommandInfo, Offer, Resources, TaskId, TaskInfo, TaskState};
use crate::{Calls, Framework, Time};

/// One task on one volume, wherever that is; made on the first offer if there is none.
#[derive(Default)]
struct Database {
    runs: u32,
    live: bool,
    at: Option<AgentId>,
}

impl Framework for Database {
    fn on_event(&mut self, _: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Offers(offers) => offers.offers.into_iter().for_each(|offer| self.offered(offer, calls)),
            Event::VolumeStatus(status) if status.state() == VolumeState::VolumeReady => {
                self.at = Some(status.agent_id)
            }
            Event::VolumeStatus(_) => self.at = None,
            Event::Update(update) if update.status.state().is_terminal() => self.live = false,
            _ => {}
        }
    }
}

impl Database {
    fn offered(&mut self, offer: Offer, calls: &mut Calls) {
        let agent = offer.parts[0].agent_id.clone();
        let is_the_volume = offer.volume().is_some_and(|volume| volume.name == "data");
        if self.live || (self.at.is_some() && !is_the_volume) {
            return calls.decline(offer.id, std::time::Duration::from_secs(5));
        }
        self.runs += 1;
        self.live = true;
        let task = TaskInfo::command(format!("db-{}", self.runs), agent.clone(), need(), CommandInfo::argv(["db"]));
        let reserve = need();
        let create = CreateVolume { name: "data".into(), agent_id: agent, reserve };
        let creates = if is_the_volume { Vec::new() } else { vec![create] };
        calls.create_volumes([offer.id], creates, vec![task.mounting("data", "db")]);
    }
}

fn need() -> Resources {
    "cpus:1;mem:64;ports:[9000]".parse().unwrap()
}

fn launches(master: &FakeMaster) -> usize {
    let accepts = master.calls.iter().filter(|call| matches!(call, Call::Accept(_)));
    accepts.count()
}

#[test]
fn a_task_finds_its_volume_again_and_nobody_else_gets_what_it_reserves() {
    let mut master = FakeMaster::new(Box::new(Database::default()));
    master.add_agent("A1", "cpus:2;mem:128;ports:[9000-9001]");
    master.offer();
    let key = (AgentId::from("A1"), "data".to_string());
    assert_eq!(master.volumes()[&key], need());
    assert_eq!(master.live_tasks()[0].reserved(), need(), "the task lives on the reservation alone");

    master.add_agent("A2", "cpus:8;mem:512;ports:[9000]");
    master.update(&TaskId::from("db-1"), TaskState::TaskFailed);
    master.offer();
    assert_eq!(master.live_tasks()[0].agent_id, key.0, "not on the agent with more room");
    assert_eq!(launches(&master), 2);
    let ordinary: Vec<_> = master.open_offers().filter(|offer| offer.volume().is_none()).collect();
    assert!(ordinary.is_empty(), "all others were declined");

    master.lose_agent(&key.0);
    master.offer();
    assert_eq!(master.live_tasks()[0].agent_id.as_str(), "A2", "a new volume where there is an agent");
}

#[test]
fn what_an_earlier_run_left_is_known_before_the_first_offers() {
    let mut master = FakeMaster::new(Box::new(Database::default()));
    master.add_agent("A1", "cpus:2;mem:128;ports:[9000-9001]");
    master.add_agent("A2", "cpus:2;mem:128;ports:[9000-9001]");
    master.add_volume(&"A2".into(), "data", "cpus:1;mem:64;ports:[9000]");
    master.offer();
    assert_eq!(master.live_tasks()[0].agent_id.as_str(), "A2");

    master.refuse_volume(&"A2".into(), "data", "no space left on device");
    master.offer();
    assert_eq!(master.volumes().keys().next().unwrap().0.as_str(), "A1");
}
