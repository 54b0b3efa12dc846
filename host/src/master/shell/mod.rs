//! The I/O around the master's core.

mod blobs;

pub use blobs::{BlobError, BlobStore, Upload, hex};
