//! Where the masters of a world keep their registry: the real log on a coordinator that can be torn.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesos_host::election::{Coordinator, CoordinatorError, Kept};
use mesos_host::protocol::FoundCluster;
use mesos_host::registry::log::Log;
use mesos_host::registry::records::{pack, unpack};
use mesos_host::registry::{Operation, Registry};

use crate::chance::Chance;

/// Records that are durable: a write that a master has not heard of may be among them, but never without those before it.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Kept>>);

impl Disk {
    /// The next master reads what is there, and leads from then on. Now and then the one before has written all of it anew.
    pub fn lead(&self, chance: &mut Chance) -> Log {
        if chance.percent(30) {
            self.write_anew();
        }
        let found = FoundCluster { cluster_id: "M".into(), key: Vec::new() };
        Log::lead(Box::new(self.clone()), "here", found).expect("what masters have written can be read")
    }

    fn write_anew(&self) {
        let mut kept = self.kept();
        let mut registry = Registry::default();
        let operations = kept.records.iter().flat_map(|record| unpack(record).expect("a master has written it"));
        operations.for_each(|operation| registry.apply(operation));
        kept.records = pack(registry.operations());
    }

    /// The master dies as it writes: so much of that as chance wants is durable all the same.
    pub fn tear(log: &mut Log, written: Vec<(u64, Operation)>, chance: &mut Chance) -> Vec<u64> {
        let whole = chance.below(written.len() + 1);
        let (ids, operations): (Vec<u64>, Vec<Operation>) = written.into_iter().take(whole).unzip();
        log.append(operations).expect("no other leads before this one is dead");
        ids
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Coordinator for Disk {
    fn lead(&mut self, _address: &str) -> Result<Kept, CoordinatorError> {
        Ok(self.kept().clone())
    }

    fn append(&mut self, index: u64, record: &[u8]) -> Result<(), CoordinatorError> {
        let mut kept = self.kept();
        if index != kept.next {
            return Err(CoordinatorError::Superseded { index, place: self.place() });
        }
        kept.records.push(record.to_vec());
        kept.next += 1;
        Ok(())
    }

    fn compact(&mut self, _index: u64, records: &[Vec<u8>]) -> Result<(), CoordinatorError> {
        self.kept().records = records.to_vec();
        Ok(())
    }

    fn place(&self) -> String {
        "a simulated disk".to_string()
    }
}
