//! Operations as bytes: as many to a record as fit.

use prost::Message;
use thiserror::Error;

use super::Operation;
use crate::protocol::RegistryRecord;

/// What records say and how; rises when an older master would misread one.
pub const LAYOUT: u32 = 1;
/// Larger records aren't made: a ZooKeeper node takes a megabyte.
pub const RECORD_BYTES_MAX: usize = 512 << 10;

/// Why a record can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum RecordError {
    /// A newer master has written it.
    #[error(
        "was written by a newer mesos (layout {found}; this one knows {LAYOUT}); start that version, or a newer one"
    )]
    Newer {
        /// The record's layout.
        found: u32,
    },
    /// It isn't one.
    #[error("holds a record that can't be read: {cause}")]
    Damaged {
        /// As the decoder says it.
        cause: String,
    },
}

/// As few records as these operations need, in order.
pub fn pack(operations: impl IntoIterator<Item = Operation>) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let mut open = RegistryRecord { layout: LAYOUT, operations: Vec::new() };
    let mut size = 0;
    for operation in operations {
        let operation = crate::protocol::RegistryOperation::from(operation);
        // With its tag and length.
        let length = operation.encoded_len() + 8;
        if size + length > RECORD_BYTES_MAX && !open.operations.is_empty() {
            let full = std::mem::replace(&mut open, RegistryRecord { layout: LAYOUT, operations: Vec::new() });
            records.push(full.encode_to_vec());
            size = 0;
        }
        size += length;
        open.operations.push(operation);
    }
    if !open.operations.is_empty() {
        records.push(open.encode_to_vec());
    }
    records
}

/// The operations of a record.
///
/// # Errors
/// It is a newer master's, or none.
pub fn unpack(record: &[u8]) -> Result<Vec<Operation>, RecordError> {
    let damaged = |cause: String| RecordError::Damaged { cause };
    let record = match RegistryRecord::decode(record) {
        Ok(record) if record.layout > LAYOUT => return Err(RecordError::Newer { found: record.layout }),
        Ok(record) => record,
        Err(error) => return Err(damaged(error.to_string())),
    };
    let operations = record.operations.into_iter().map(|operation| operation.operation);
    operations.map(|operation| operation.ok_or_else(|| damaged("an operation that isn't known".to_string()))).collect()
}
