//! The master.

pub mod shell;

pub use shell::BlobStore;
