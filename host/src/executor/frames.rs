//! Frames on a stream: four bytes of length, then the message.

use std::io;

use bytes::{Buf, BytesMut};
use mesos_plugin_api::v1::executor::Frame;
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 << 20;
const HEADER: usize = 4;

/// Reads frames.
pub struct FrameReader<R> {
    read: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from `read`.
    pub fn new(read: R) -> Self {
        Self { read, buffer: BytesMut::new() }
    }

    /// The next frame, `None` at the end. May be dropped while it waits, nothing is lost.
    ///
    /// # Errors
    /// When the stream breaks, or what comes is no frame.
    pub async fn next(&mut self) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(Some(frame));
            }
            if self.read.read_buf(&mut self.buffer).await? == 0 {
                let whole = self.buffer.is_empty();
                return if whole { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    fn buffered(&mut self) -> io::Result<Option<Frame>> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes(*header) as usize;
        if length > FRAME_BYTES_MAX {
            return Err(invalid(format!("a frame of {length} bytes; at most {FRAME_BYTES_MAX} are taken")));
        }
        if self.buffer.len() < HEADER + length {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let frame = Frame::decode(self.buffer.split_to(length)).map_err(|error| invalid(error.to_string()))?;
        Ok(Some(frame))
    }
}

/// Writes a frame.
///
/// # Errors
/// When the stream breaks, or the frame is too large.
pub async fn write_frame(write: &mut (impl AsyncWrite + Unpin), frame: &Frame) -> io::Result<()> {
    let length = frame.encoded_len();
    if length > FRAME_BYTES_MAX {
        return Err(invalid(format!("a frame of {length} bytes; at most {FRAME_BYTES_MAX} are sent")));
    }
    let mut bytes = Vec::with_capacity(HEADER + length);
    bytes.extend_from_slice(&(length as u32).to_be_bytes());
    frame.encode(&mut bytes).expect("a Vec grows as needed");
    write.write_all(&bytes).await
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
