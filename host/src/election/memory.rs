//! Nothing is kept beyond this process: the embedded cluster ends with it.

use super::{Coordinator, CoordinatorError, Kept};

/// A coordinator for the only master that there will ever be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Memory;

impl Coordinator for Memory {
    fn lead(&mut self, _address: &str) -> Result<Kept, CoordinatorError> {
        Ok(Kept::default())
    }

    fn append(&mut self, _index: u64, _record: &[u8]) -> Result<(), CoordinatorError> {
        Ok(())
    }

    fn compact(&mut self, _index: u64, _records: &[Vec<u8>]) -> Result<(), CoordinatorError> {
        Ok(())
    }

    fn place(&self) -> String {
        "memory".to_string()
    }
}
