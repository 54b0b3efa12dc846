//! Records in a file, each told from what a broken write or a bad disk leaves.
//!
//! ```text
//! MAGIC  id  length  checksum of these  checksum of the record  record
//! ```
//!
//! The head has a checksum of its own, so that of a damaged record it is known whose it was.

/// Begins a frame; the last letter is the format's.
const MAGIC: &[u8; 4] = b"MCP1";
const FORMAT_AT: usize = 3;
const HEAD_BYTES: usize = 4 + 8 + 4 + 4 + 4;

/// A whole record, and whose it is; 0 is the agent itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub id: u64,
    pub record: &'a [u8],
}

/// What a file holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Contents<'a> {
    pub frames: Vec<Frame<'a>>,
    /// Whose records are damaged.
    pub damaged: Vec<u64>,
    /// Bytes in its midst that belong to nobody who could be named.
    pub lost_bytes: usize,
    /// Written in a format that this program doesn't know.
    pub is_foreign: bool,
}

/// Appends a record; `write` puts it there.
pub(super) fn push(bytes: &mut Vec<u8>, id: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let at = bytes.len();
    bytes.extend([0; HEAD_BYTES]);
    write(bytes);
    let record = &bytes[at + HEAD_BYTES..];
    let (length, sum) = (u32::try_from(record.len()).expect("records are small"), crc32fast::hash(record));
    let head = &mut bytes[at..at + HEAD_BYTES];
    head[..4].copy_from_slice(MAGIC);
    head[4..12].copy_from_slice(&id.to_le_bytes());
    head[12..16].copy_from_slice(&length.to_le_bytes());
    head[20..24].copy_from_slice(&sum.to_le_bytes());
    let head_sum = crc32fast::hash(&head[..16]);
    head[16..20].copy_from_slice(&head_sum.to_le_bytes());
}

/// All that can be read. What is cut short at the end was never answered for, and is left out without a word.
pub(super) fn read(bytes: &[u8]) -> Contents<'_> {
    let is_other =
        bytes.len() > FORMAT_AT && bytes[..FORMAT_AT] == MAGIC[..FORMAT_AT] && bytes[FORMAT_AT] != MAGIC[FORMAT_AT];
    let mut contents = Contents { is_foreign: is_other, ..Contents::default() };
    let mut at = 0;
    while let Some((start, id, length, sum)) = next_head(bytes, at) {
        contents.lost_bytes += start - at;
        let begin = start + HEAD_BYTES;
        let Some(record) = bytes.get(begin..begin + length) else { break };
        if crc32fast::hash(record) == sum {
            contents.frames.push(Frame { id, record });
        } else {
            contents.damaged.push(id);
        }
        at = begin + length;
    }
    contents
}

/// The next good head from there on.
fn next_head(bytes: &[u8], from: usize) -> Option<(usize, u64, usize, u32)> {
    (from..bytes.len().checked_sub(HEAD_BYTES)? + 1).find_map(|start| {
        let head = &bytes[start..start + HEAD_BYTES];
        let number = |at: usize| u32::from_le_bytes(*head[at..].first_chunk().expect("within the head"));
        let is_good = head.starts_with(MAGIC) && crc32fast::hash(&head[..16]) == number(16);
        let id = u64::from_le_bytes(*head[4..].first_chunk().expect("within the head"));
        is_good.then(|| (start, id, number(12) as usize, number(20)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, record) in [(0, "began"), (1, "first"), (2, "second"), (1, "third")] {
            push(&mut bytes, id, |bytes| bytes.extend(record.as_bytes()));
        }
        bytes
    }

    fn records(contents: &Contents) -> Vec<(u64, String)> {
        let text = |frame: &Frame| (frame.id, String::from_utf8_lossy(frame.record).into_owned());
        contents.frames.iter().map(text).collect()
    }

    #[test]
    fn a_log_cut_anywhere_holds_what_was_whole() {
        let bytes = log();
        let whole = records(&read(&bytes));
        assert_eq!(whole.len(), 4);
        for end in 0..bytes.len() {
            let contents = read(&bytes[..end]);
            let found = records(&contents);
            assert!(
                whole.starts_with(&found) && contents.damaged.is_empty() && contents.lost_bytes == 0,
                "cut at {end}"
            );
        }
    }

    #[test]
    fn one_wrong_byte_costs_one_record_and_says_whose() {
        let bytes = log();
        let whole = records(&read(&bytes));
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x40;
            let contents = read(&bytes);
            let found = records(&contents);
            let missing: Vec<_> = whole.iter().filter(|record| !found.contains(record)).collect();
            assert_eq!((missing.len(), found.len()), (1, 3), "byte {at}");
            match contents.damaged[..] {
                [id] => assert_eq!(id, missing[0].0, "byte {at}"),
                // A damaged head says nothing; the last record's is a cut.
                _ => assert!(contents.lost_bytes > 0 || missing[0].1 == "third", "byte {at}"),
            }
        }
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        assert!(read(b"MCP2 whatever comes").is_foreign);
        assert!(!read(b"MCQ1 whatever comes").is_foreign);
        assert_eq!(read(b""), Contents::default());
    }
}
