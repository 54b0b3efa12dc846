//! Packets: a 4-byte length, then delimited messages.

use prost::Message;
use thiserror::Error;

/// Hadoop's own default for the longest packet (`ipc.maximum.data.length`).
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// How a connection begins: this, the version, the class of service, and how the client shows who it is.
pub(super) const MAGIC: &[u8; 4] = b"hrpc";
pub(super) const VERSION: u8 = 9;
pub(super) const AUTH_NONE: u8 = 0;
pub(super) const AUTH_SASL: u8 = 0xDF;

/// Ids of packets that are no calls: the connection's context, a ping, SASL, an end that concerns no call.
pub(super) const CONTEXT: i32 = -3;
pub(super) const PING: i32 = -4;
pub(super) const SASL: i32 = -33;
pub(super) const NO_CALL: i32 = -1;

/// Bytes that are no packet.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Its length is out of bounds.
    #[error("a packet of {bytes} bytes was announced, {FRAME_BYTES_MAX} is the most")]
    Length {
        /// As read.
        bytes: u32,
    },
    /// One of its messages can't be read.
    #[error("the packet's {part} can't be read: {message}")]
    Message {
        /// Which.
        part: &'static str,
        /// What the reader of messages says.
        message: String,
    },
}

/// Collects what arrives until packets are whole.
#[derive(Debug, Default)]
pub(super) struct Frames {
    arrived: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        // What was taken is dropped once an arrival, not once a packet: a burst of small ones would be moved over and over.
        self.arrived.drain(..self.taken);
        self.taken = 0;
        self.arrived.extend_from_slice(bytes);
    }

    /// Exactly so many bytes, once they are there.
    pub(super) fn bytes(&mut self, wanted: usize) -> Option<Vec<u8>> {
        let bytes = self.arrived.get(self.taken..self.taken + wanted)?.to_vec();
        self.taken += wanted;
        Some(bytes)
    }

    /// The next packet, once it is there.
    pub(super) fn packet(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(prefix) = self.arrived.get(self.taken..self.taken + 4) else { return Ok(None) };
        let bytes = u32::from_be_bytes(prefix.try_into().expect("4 bytes were asked for"));
        let length = usize::try_from(bytes).ok().filter(|length| *length <= FRAME_BYTES_MAX);
        let length = length.ok_or(FrameError::Length { bytes })?;
        let whole = self.arrived.len() - self.taken >= 4 + length;
        Ok(whole.then(|| {
            self.taken += 4;
            self.bytes(length).expect("it is whole")
        }))
    }
}

/// Takes a delimited message off the front.
pub(super) fn take<M: Message + Default>(rest: &mut &[u8], part: &'static str) -> Result<M, FrameError> {
    M::decode_length_delimited(rest).map_err(|error| FrameError::Message { part, message: error.to_string() })
}

/// Takes the bytes of a delimited message off the front without reading it.
pub(super) fn take_bytes(rest: &mut &[u8], part: &'static str) -> Result<Vec<u8>, FrameError> {
    let short = |message: String| FrameError::Message { part, message };
    let length = prost::decode_length_delimiter(&mut *rest).map_err(|error| short(error.to_string()))?;
    let (bytes, after) = rest.split_at_checked(length).ok_or_else(|| short("it ends early".into()))?;
    *rest = after;
    Ok(bytes.to_vec())
}

/// A packet of a header and, delimited too, a body.
pub(super) fn packet(header: &impl Message, bodies: &[&[u8]]) -> Vec<u8> {
    let mut content = header.encode_length_delimited_to_vec();
    for body in bodies {
        prost::encode_length_delimiter(body.len(), &mut content).expect("a Vec grows");
        content.extend_from_slice(body);
    }
    let length = u32::try_from(content.len()).expect("no answer comes near 4 GB");
    [length.to_be_bytes().as_slice(), &content].concat()
}
