//! Records in a file, each told from what a broken write leaves.

use sha2::{Digest, Sha256};

/// Begins a frame; the last letter is the format's.
const MAGIC: &[u8; 4] = b"MRG1";
const FORMAT_AT: usize = 3;
const CHECKSUM_BYTES: usize = 16;
const HEAD_BYTES: usize = 4 + 4 + 8 + CHECKSUM_BYTES;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) index: u64,
    pub(super) record: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Problem {
    /// Another format, or no registry at all.
    Foreign,
    /// Wrong bytes that good ones follow.
    Damaged { at: usize },
}

/// A record with what tells that it is whole.
pub(super) fn frame(index: u64, record: &[u8]) -> Vec<u8> {
    let length = u32::try_from(record.len()).expect("records are small");
    let mut bytes = Vec::with_capacity(HEAD_BYTES + record.len());
    bytes.extend(MAGIC);
    bytes.extend(length.to_le_bytes());
    bytes.extend(index.to_le_bytes());
    bytes.extend(checksum(index, record));
    bytes.extend(record);
    bytes
}

/// All whole frames from the start on, and where the last of them ends.
pub(super) fn read(bytes: &[u8]) -> Result<(Vec<Frame>, usize), Problem> {
    let mut frames = Vec::new();
    let mut at = 0;
    while let Some((frame, length)) = first(&bytes[at..]) {
        frames.push(frame);
        at += length;
    }
    // A frame that was cut short is the last one.
    let mut later = (at + 1..bytes.len()).filter(|later| bytes[*later..].starts_with(MAGIC));
    if later.any(|later| first(&bytes[later..]).is_some()) {
        return Err(Problem::Damaged { at });
    }
    if at == 0 && bytes.len() >= MAGIC.len() && is_foreign(bytes) {
        return Err(Problem::Foreign);
    }
    Ok((frames, at))
}

/// Zeros are what some file systems leave of a write that was cut short.
fn is_foreign(bytes: &[u8]) -> bool {
    let other_format = bytes[..FORMAT_AT] == MAGIC[..FORMAT_AT]
        && bytes[FORMAT_AT].is_ascii_digit()
        && bytes[FORMAT_AT] != MAGIC[FORMAT_AT];
    let zeros = bytes.iter().all(|byte| *byte == 0);
    other_format || (!zeros && !bytes.starts_with(MAGIC))
}

fn first(bytes: &[u8]) -> Option<(Frame, usize)> {
    let head = bytes.get(..HEAD_BYTES)?;
    let (magic, rest) = head.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (index, sum) = rest.split_first_chunk::<8>()?;
    let end = HEAD_BYTES.checked_add(u32::from_le_bytes(*length) as usize)?;
    let index = u64::from_le_bytes(*index);
    let record = bytes.get(HEAD_BYTES..end).filter(|_| magic == MAGIC)?;
    (checksum(index, record) == sum).then(|| (Frame { index, record: record.to_vec() }, end))
}

fn checksum(index: u64, record: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hash = Sha256::new();
    hash.update(index.to_le_bytes());
    hash.update(record);
    let hash = hash.finalize();
    *hash.first_chunk().expect("a SHA-256 is longer")
}
