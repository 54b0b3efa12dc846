//! Operations in, a registry out, and back again.

use std::sync::{Arc, Mutex};

use proptest::prelude::*;

use super::log::{Log, LogError};
use super::records::{RECORD_BYTES_MAX, RecordError, pack, unpack};
use mesos_plugin_api::v1::AgentInfo;

use super::*;
use crate::election::{Coordinator, CoordinatorError, Kept};
use crate::protocol::{
    AdmitAgent, DeactivateAgent, DrainAgent, ForgetAgent, ForgetFramework, MarkGone, MarkLost, MarkUnreachable,
    ReactivateAgent, RegistryRecord,
};

fn found(cluster_id: &str) -> FoundCluster {
    FoundCluster { cluster_id: cluster_id.into(), key: vec![1, 2, 3] }
}

fn agent(id: u8) -> Operation {
    let (hostname, id) = (format!("h{id}"), Some(AgentId::new(format!("A{id}"))));
    Operation::AdmitAgent(AdmitAgent { agent: AgentInfo { hostname, id, ..Default::default() } })
}

fn framework(id: u8) -> Operation {
    let id = Some(FrameworkId::new(format!("F{id}")));
    let framework = FrameworkInfo { name: "f".into(), user: "u".into(), role: "r".into(), id, ..Default::default() };
    Operation::PutFramework(PutFramework {
        framework,
        principal: Some("p".into()),
        registered_ns: 7,
        incarnation: Some(1),
        written: None,
    })
}

fn put(id: u8, key: u8, value: Option<Vec<u8>>) -> Operation {
    let (framework_id, key) = (FrameworkId::new(format!("F{id}")), format!("k{key}"));
    let changes = vec![StateChange { key, value }];
    Operation::PutState(PutFrameworkState { framework_id, incarnation: 1, seq: 2, changes })
}

/// Any operation on a few agents and frameworks.
fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let agent_id = |id: u8| AgentId::new(format!("A{id}"));
    let framework_id = |id: u8| FrameworkId::new(format!("F{id}"));
    let id = 0u8..4;
    let one = prop_oneof![
        id.clone().prop_map(agent),
        (id.clone(), 1u64..9).prop_map(move |(id, since_ns)| {
            Operation::MarkUnreachable(MarkUnreachable { agent_id: agent_id(id), since_ns })
        }),
        (id.clone(), 1u64..9)
            .prop_map(move |(id, since_ns)| { Operation::MarkLost(MarkLost { agent_id: agent_id(id), since_ns }) }),
        (id.clone(), 1u64..9).prop_map(move |(id, since_ns)| {
            Operation::MarkGone(MarkGone { agent_id: agent_id(id), since_ns, by: None })
        }),
        (id.clone(), 1u64..9).prop_map(move |(id, since_ns)| {
            let (deadline_ns, mark_gone, by) = (since_ns + 1, Some(true), Some("b".into()));
            Operation::DrainAgent(DrainAgent { agent_id: agent_id(id), since_ns, deadline_ns, mark_gone, by })
        }),
        id.clone().prop_map(move |id| Operation::DeactivateAgent(DeactivateAgent { agent_id: agent_id(id) })),
        id.clone().prop_map(move |id| Operation::ReactivateAgent(ReactivateAgent { agent_id: agent_id(id) })),
        id.clone().prop_map(move |id| Operation::ForgetAgent(ForgetAgent { agent_id: agent_id(id) })),
        id.clone().prop_map(framework),
        (id.clone(), 1u64..9).prop_map(move |(id, deadline_ns)| {
            Operation::SetDeadline(SetDeadline { framework_id: framework_id(id), deadline_ns })
        }),
        id.clone().prop_map(move |id| {
            Operation::EndFramework(EndFramework { framework_id: framework_id(id), why: "w".into() })
        }),
        id.clone()
            .prop_map(move |id| { Operation::ForgetFramework(ForgetFramework { framework_id: framework_id(id) }) }),
        (id, 0u8..3, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..4)))
            .prop_map(|(id, key, value)| put(id, key, value)),
        (1u64..9).prop_map(|epoch| Operation::Lead(Lead { epoch, address: None })),
        Just(Operation::FoundCluster(found("c"))),
    ];
    proptest::collection::vec(one, 0..60)
}

fn applied(operations: impl IntoIterator<Item = Operation>) -> Registry {
    let mut registry = Registry::default();
    operations.into_iter().for_each(|operation| registry.apply(operation));
    registry
}

proptest! {
    #[test]
    fn a_snapshot_is_the_registry(operations in operations()) {
        let registry = applied(operations);
        prop_assert_eq!(applied(registry.operations()), registry);
    }

    #[test]
    fn records_are_the_operations(operations in operations()) {
        let records = pack(operations.clone());
        let read: Vec<Operation> = records.iter().flat_map(|record| unpack(record).unwrap()).collect();
        prop_assert_eq!(read, operations);
    }

    #[test]
    fn bytes_that_are_no_record_are_refused_or_read(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        let _ = unpack(&bytes);
    }
}

#[test]
fn large_batches_are_split() {
    let values = (0..40).map(|key| put(1, key, Some(vec![key; 64 << 10])));
    let operations: Vec<Operation> = std::iter::once(framework(1)).chain(values).collect();
    let records = pack(operations.clone());
    assert_eq!(records.len(), 6);
    assert!(records.iter().all(|record| record.len() <= RECORD_BYTES_MAX));
    let read: Vec<Operation> = records.iter().flat_map(|record| unpack(record).unwrap()).collect();
    assert_eq!(read, operations);
}

#[test]
fn what_operators_want_of_an_agent_outlives_its_absence_and_gone_is_final() {
    let id = || AgentId::new("A1".to_string());
    let unreachable = || Operation::MarkUnreachable(MarkUnreachable { agent_id: id(), since_ns: 3 });
    let deactivate = Operation::DeactivateAgent(DeactivateAgent { agent_id: id() });
    let registry = applied([agent(1), deactivate, unreachable(), agent(1)]);
    assert_eq!(registry.agents[&id()].presence, Presence::Admitted);
    assert!(!registry.agents[&id()].plan.is_active());

    let gone = Operation::MarkGone(MarkGone { agent_id: id(), since_ns: 2, by: None });
    let registry = applied([agent(1), gone, unreachable(), agent(1)]);
    assert_eq!(registry.agents[&id()].presence, Presence::Gone(Time(2)));
}

#[test]
fn what_stood_is_gone_with_its_framework() {
    let forget = Operation::ForgetFramework(ForgetFramework { framework_id: "F1".into() });
    let registry = applied([framework(1), put(1, 1, Some(vec![1])), forget, framework(1)]);
    assert!(registry.frameworks[&FrameworkId::from("F1")].state.is_empty());
}

/// Shared by masters that come one after the other, as a folder would be.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Kept>>);

impl Coordinator for Shared {
    fn lead(&mut self, _address: &str) -> Result<Kept, CoordinatorError> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn append(&mut self, index: u64, record: &[u8]) -> Result<(), CoordinatorError> {
        let mut kept = self.0.lock().unwrap();
        if kept.next != index {
            return Err(CoordinatorError::Superseded { index, place: self.place() });
        }
        kept.next += 1;
        kept.records.push(record.to_vec());
        Ok(())
    }

    fn compact(&mut self, index: u64, records: &[Vec<u8>]) -> Result<(), CoordinatorError> {
        let mut kept = self.0.lock().unwrap();
        assert_eq!(kept.next, index);
        kept.records = records.to_vec();
        Ok(())
    }

    fn place(&self) -> String {
        "shared".into()
    }
}

fn lead(shared: &Shared) -> Result<Log, LogError> {
    Log::lead(Box::new(shared.clone()), "h:1", found("c"))
}

#[test]
fn each_master_has_a_higher_epoch_and_knows_what_those_before_it_have_kept() {
    let shared = Shared::default();
    let mut first = lead(&shared).unwrap();
    assert_eq!((first.registry().epoch, first.registry().cluster.clone()), (1, Some(found("c"))));
    first.append([agent(1), framework(1)]).unwrap();
    let second = Log::lead(Box::new(shared.clone()), "h:2", found("another")).unwrap();
    assert_eq!((second.registry().epoch, second.registry().cluster.clone()), (2, Some(found("c"))));
    assert_eq!((second.registry().agents.len(), second.registry().frameworks.len()), (1, 1));
}

#[test]
fn a_master_that_was_replaced_keeps_nothing_more() {
    let shared = Shared::default();
    let mut first = lead(&shared).unwrap();
    let second = lead(&shared).unwrap();
    let error = first.append([agent(1)]).unwrap_err().to_string();
    assert!(error.contains("another master leads"), "{error}");
    assert!(second.registry().agents.is_empty());
    assert!(lead(&shared).unwrap().registry().agents.is_empty());
}

#[test]
fn a_long_log_is_written_anew() {
    let shared = Shared::default();
    let mut log = lead(&shared).unwrap();
    log.append([framework(1)]).unwrap();
    for round in 0..100u8 {
        log.append([put(1, 1, Some(vec![round; 64 << 10]))]).unwrap();
    }
    let size: usize = shared.0.lock().unwrap().records.iter().map(Vec::len).sum();
    assert!(size < 3 << 20, "{size} bytes for one value");
    assert_eq!(lead(&shared).unwrap().registry().frameworks, log.registry().frameworks);
}

#[test]
fn a_newer_registry_is_left_alone() {
    use prost::Message;
    let shared = Shared::default();
    let newer = RegistryRecord { layout: 2, operations: Vec::new() }.encode_to_vec();
    shared.0.lock().unwrap().records.push(newer);
    let error = lead(&shared).unwrap_err().to_string();
    assert!(error.contains("layout 2") && error.contains("start that version") && !error.contains('\n'), "{error}");
    assert_eq!(shared.0.lock().unwrap().records.len(), 1);

    // An operation of which this master has never heard must not be passed over.
    let unknown = [8, 1, 0x12, 3, 0xfa, 0x7f, 0];
    assert!(matches!(unpack(&unknown), Err(RecordError::Damaged { .. })));
}
