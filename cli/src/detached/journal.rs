//! What a scheduler has for the terminal, as a file: words of the framework's calls, each with its length before it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use mesos_plugin_api::v1::framework::Call as Word;
pub use mesos_plugin_api::v1::framework::call::Call;
use prost::Message;

/// Its name in the scheduler's sandbox.
pub const FILE: &str = "journal";
/// A bar's moves between two that are written.
const BAR_INTERVAL: Duration = Duration::from_secs(1);
/// No word is longer, in bytes.
const WORD_BYTES_MAX: usize = 64 << 20;

/// Writes a journal into the working directory, which is the sandbox.
pub struct Writer {
    file: File,
    bars: BTreeMap<String, Instant>,
}

impl Writer {
    /// A new one.
    ///
    /// # Errors
    /// The file can't be made.
    pub fn create() -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(FILE);
        Ok(Self { file: file.with_context(|| format!("the file {FILE:?} can't be made"))?, bars: BTreeMap::new() })
    }

    /// Adds a word. Of a bar that moves often, only some moves are kept.
    ///
    /// # Errors
    /// The disk is full.
    pub fn add(&mut self, call: Call) -> Result<()> {
        if let Call::Progress(progress) = &call {
            let now = Instant::now();
            let last = self.bars.insert(progress.id.clone(), now);
            if progress.end != Some(true) && last.is_some_and(|last| now - last < BAR_INTERVAL) {
                self.bars.extend(last.map(|last| (progress.id.clone(), last)));
                return Ok(());
            }
        }
        // In one piece: whoever reads meanwhile sees whole words sooner.
        let bytes = Word { call: Some(call) }.encode_length_delimited_to_vec();
        self.file.write_all(&bytes).with_context(|| format!("the file {FILE:?} can't be written"))
    }
}

/// Takes words out of pieces of a journal.
#[derive(Default)]
pub struct Reader {
    rest: Vec<u8>,
}

impl Reader {
    /// The words that are complete now. One that a newer version wrote is passed over.
    ///
    /// # Errors
    /// It is no journal.
    pub fn take(&mut self, piece: &[u8]) -> Result<Vec<Call>> {
        self.rest.extend_from_slice(piece);
        let mut words = Vec::new();
        let mut at = 0;
        while let Some((length, head)) = length(&self.rest[at..])? {
            let (begin, end) = (at + head, at + head + length);
            let Some(word) = self.rest.get(begin..end) else { break };
            words.extend(Word::decode(word).context("it is damaged")?.call);
            at = end;
        }
        self.rest.drain(..at);
        Ok(words)
    }
}

/// The length of the next word, and how long that itself is.
fn length(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut rest = bytes;
    match prost::decode_length_delimiter(&mut rest) {
        Ok(length) if length <= WORD_BYTES_MAX => Ok(Some((length, bytes.len() - rest.len()))),
        Ok(length) => Err(anyhow!("it is damaged: a word of {length} bytes")),
        // Cut off.
        Err(_) if bytes.len() < 10 => Ok(None),
        Err(error) => Err(anyhow!("it is damaged: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use mesos_plugin_api::framework::Output;

    use super::*;

    fn said(text: &str) -> Call {
        Call::Output(Output { data: text.into(), stderr: None })
    }

    #[test]
    fn words_are_read_from_pieces_of_any_size() {
        let words = [said("one"), said(&"long ".repeat(100)), said("")];
        let encode = |call: &Call| Word { call: Some(call.clone()) }.encode_length_delimited_to_vec();
        let bytes: Vec<u8> = words.iter().flat_map(encode).collect();
        for size in [1, 2, 7, bytes.len()] {
            let mut reader = Reader::default();
            let read: Vec<Call> = bytes.chunks(size).flat_map(|piece| reader.take(piece).expect("whole")).collect();
            assert_eq!(read, words);
        }
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        assert!(Reader::default().take(&[0xff; 20]).is_err());
        assert!(Reader::default().take(&[3, 0xff, 0xff, 0xff]).is_err());
    }
}
