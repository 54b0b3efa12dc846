//! What nodes of the registry hold, as bytes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::hex::hex;

/// What a node holds at most: ZooKeeper takes a megabyte with all that is around it.
pub(super) const CHUNK_BYTES: usize = 512 << 10;
/// Of `/layout`; rises when an older master would misread these nodes.
pub(super) const LAYOUT: u32 = 1;

const WHOLE: u8 = 0;
const IN_PARTS: u8 = 1;

/// Something that lies in several nodes of one folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parts {
    /// Below `/parts`.
    pub(super) folder: String,
    pub(super) count: usize,
    bytes: usize,
    sha256: String,
}

impl Parts {
    /// What is to be written into that folder.
    pub(super) fn of(folder: String, bytes: &[u8]) -> Self {
        let count = bytes.len().div_ceil(CHUNK_BYTES);
        Self { folder, count, bytes: bytes.len(), sha256: hex(&Sha256::digest(bytes)) }
    }

    /// Whether this is what was written.
    pub(super) fn is_whole(&self, bytes: &[u8]) -> bool {
        self.bytes == bytes.len() && self.sha256 == hex(&Sha256::digest(bytes))
    }
}

/// What `/snapshot` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Snapshot {
    /// The index of the first record that it isn't made of.
    pub(super) next: u64,
    /// Its records, as [`join`] joins them.
    pub(super) parts: Parts,
}

/// A record's node. Who wrote it is part of it: two masters may write the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Whole(Vec<u8>),
    InParts(Parts),
}

impl Entry {
    pub(super) fn encode(&self, writer: &str) -> Vec<u8> {
        let (kind, payload) = match self {
            Self::Whole(record) => (WHOLE, record.clone()),
            Self::InParts(parts) => (IN_PARTS, serde_json::to_vec(parts).expect("it is numbers and texts")),
        };
        let length = u8::try_from(writer.len()).expect("a writer's id is short");
        [&[kind, length], writer.as_bytes(), &payload].concat()
    }

    /// None if no master has written it.
    pub(super) fn decode(data: &[u8]) -> Option<Self> {
        let (&[kind, length], rest) = data.split_first_chunk::<2>()?;
        let payload = rest.get(usize::from(length)..)?;
        match kind {
            WHOLE => Some(Self::Whole(payload.to_vec())),
            IN_PARTS => serde_json::from_slice(payload).ok().map(Self::InParts),
            _ => None,
        }
    }
}

/// Several records as one.
pub(super) fn join(records: &[Vec<u8>]) -> Vec<u8> {
    let mut all = Vec::with_capacity(records.iter().map(|record| record.len() + 8).sum());
    for record in records {
        all.extend((record.len() as u64).to_le_bytes());
        all.extend(record);
    }
    all
}

/// The records again; none if these bytes were never joined.
pub(super) fn split(mut bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<8>()?;
        let (record, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        records.push(record.to_vec());
        bytes = rest;
    }
    Some(records)
}

/// The name of a record's node: names are in the order of indexes.
pub(super) fn name_of(index: u64) -> String {
    format!("{index:020}")
}

/// The index in a name.
pub(super) fn index_of(name: &str) -> Option<u64> {
    let good = name.len() == 20 && name.bytes().all(|byte| byte.is_ascii_digit());
    good.then(|| name.parse().ok()).flatten()
}

/// The folder of what a record or a snapshot holds. Two masters never share one.
pub(super) fn folder_name(kind: FolderKind, index: u64, writer: &str) -> String {
    let kind = match kind {
        FolderKind::Record => "record",
        FolderKind::Snapshot => "snapshot",
    };
    format!("{kind}-{}-{writer}", name_of(index))
}

/// What lies in a folder of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FolderKind {
    Record,
    Snapshot,
}

/// Whether nobody reads this folder of parts any more, now that the snapshot is that one.
pub(super) fn is_spare(folder: &str, snapshot: &Snapshot) -> bool {
    let Some((kind, rest)) = folder.split_once('-') else { return false };
    let Some(index) = rest.split_once('-').and_then(|(index, _)| index_of(index)) else { return false };
    match kind {
        "record" => index < snapshot.next,
        "snapshot" => folder != snapshot.parts.folder,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot(next: u64, writer: &str) -> Snapshot {
        Snapshot { next, parts: Parts::of(folder_name(FolderKind::Snapshot, next, writer), b"x") }
    }

    #[test]
    fn only_what_the_snapshot_replaces_is_spare() {
        let now = snapshot(5, "b");
        for (kind, index, writer, spare) in [
            (FolderKind::Record, 4, "a", true),
            (FolderKind::Record, 5, "a", false),
            (FolderKind::Snapshot, 3, "a", true),
            (FolderKind::Snapshot, 5, "a", true),
            (FolderKind::Snapshot, 5, "b", false),
        ] {
            assert_eq!(is_spare(&folder_name(kind, index, writer), &now), spare, "{kind:?} {index} {writer}");
        }
        for foreign in ["", "record", "record-4-a", "other-00000000000000000001-a"] {
            assert!(!is_spare(foreign, &now), "{foreign}");
        }
    }

    #[test]
    fn parts_that_differ_are_not_whole() {
        let parts = Parts::of("f".into(), &[7; CHUNK_BYTES + 1]);
        assert_eq!(parts.count, 2);
        assert!(parts.is_whole(&[7; CHUNK_BYTES + 1]));
        assert!(!parts.is_whole(&[7; CHUNK_BYTES]));
        assert!(!parts.is_whole(&[8; CHUNK_BYTES + 1]));
        assert_eq!(Parts::of("f".into(), b"").count, 0);
    }

    #[test]
    fn the_same_record_of_two_writers_differs() {
        let entry = Entry::Whole(b"r".to_vec());
        assert_ne!(entry.encode("a"), entry.encode("b"));
    }

    proptest! {
        #[test]
        fn records_are_joined_and_split(records in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..9)) {
            prop_assert_eq!(split(&join(&records)), Some(records));
        }

        #[test]
        fn an_entry_is_read_as_written(record in proptest::collection::vec(any::<u8>(), 0..40), writer in "[a-f0-9]{0,16}") {
            for entry in [Entry::Whole(record.clone()), Entry::InParts(Parts::of("f".into(), &record))] {
                prop_assert_eq!(Entry::decode(&entry.encode(&writer)), Some(entry));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Entry::decode(&bytes);
            if let Some(records) = split(&bytes) {
                prop_assert_eq!(join(&records), bytes);
            }
        }

        #[test]
        fn names_are_in_the_order_of_indexes(one: u64, other: u64) {
            prop_assert_eq!(name_of(one).cmp(&name_of(other)), one.cmp(&other));
            prop_assert_eq!(index_of(&name_of(one)), Some(one));
        }
    }
}
