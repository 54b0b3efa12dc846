//! The registry of a master that leads: what it knows, and the place where that is kept.

use thiserror::Error;

use super::records::{RecordError, pack, unpack};
use super::{Operation, Registry};
use crate::election::{Coordinator, CoordinatorError};
use crate::protocol::{FoundCluster, Lead};

/// The log is written anew when it has grown by this much since the last time, in bytes, and to four times its size.
const COMPACT_AFTER: usize = 1 << 20;

/// Why a master can't lead, or not any longer.
#[derive(Debug, Error)]
pub enum LogError {
    /// What is kept can't be read.
    #[error("the registry in {place} {cause}")]
    Record {
        /// Where it is kept.
        place: String,
        /// What is wrong with it.
        cause: RecordError,
    },
    /// It can't be kept, or another master leads.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
}

/// The log of the master that leads.
pub struct Log {
    coordinator: Box<dyn Coordinator>,
    registry: Registry,
    /// Of the next record.
    next: u64,
    /// In bytes, after it was written anew and now.
    compacted: usize,
    size: usize,
}

impl Log {
    /// Waits until this master leads, reads what those before it have kept, and puts its own epoch after it: from then on none of
    /// them can keep anything more. `found` is the cluster that there is if there was none.
    ///
    /// # Errors
    /// What is kept can't be read, or a master's own epoch can't be kept.
    pub fn lead(mut coordinator: Box<dyn Coordinator>, address: &str, found: FoundCluster) -> Result<Self, LogError> {
        let kept = coordinator.lead(address)?;
        let mut registry = Registry::default();
        for record in &kept.records {
            let operations = unpack(record);
            let operations = operations.map_err(|cause| LogError::Record { place: coordinator.place(), cause })?;
            operations.into_iter().for_each(|operation| registry.apply(operation));
        }
        let size = kept.records.iter().map(Vec::len).sum();
        let mut log = Self { coordinator, registry, next: kept.next, compacted: 0, size };
        let founding = log.registry.cluster.is_none().then_some(Operation::FoundCluster(found));
        let lead = Lead { epoch: log.registry.epoch + 1, address: Some(address.to_string()) };
        log.append(founding.into_iter().chain([Operation::Lead(lead)]))?;
        Ok(log)
    }

    /// Everything that is kept.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Returns when these operations are durable.
    ///
    /// # Errors
    /// They may not be, and this master may not go on.
    pub fn append(&mut self, operations: impl IntoIterator<Item = Operation>) -> Result<(), LogError> {
        let operations: Vec<Operation> = operations.into_iter().collect();
        for record in pack(operations.iter().cloned()) {
            self.coordinator.append(self.next, &record)?;
            self.next += 1;
            self.size += record.len();
        }
        operations.into_iter().for_each(|operation| self.registry.apply(operation));
        if self.size - self.compacted > COMPACT_AFTER && self.size / 4 >= self.compacted {
            self.compact()?;
        }
        Ok(())
    }

    /// Keeps the registry itself instead of how it came about.
    fn compact(&mut self) -> Result<(), LogError> {
        let snapshot = pack(self.registry.operations());
        self.coordinator.compact(self.next, &snapshot)?;
        self.size = snapshot.iter().map(Vec::len).sum();
        self.compacted = self.size;
        Ok(())
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("place", &self.coordinator.place()).field("next", &self.next).finish()
    }
}
