//! Finds plugins, says what is wrong with those that don't load, and loads the one that is used.
//!
//! ```text
//! SearchPath ─▶ folders ─▶ *.so ─▶ elf: header, segments, declaration, glibc   (a few reads, nothing is run)
//!                                    │
//!                                    ▼
//!                   Catalogue: one Entry a file, Ok(PluginFile) or one line
//!                                    │ find("hadoop@0.1")
//!                                    ▼
//!                   load(PluginFile) ─▶ LoadedPlugin   (dlopen; for good)
//! ```
//!
//! It does not know what a command does or where its arguments go: that is the caller's and the plugin's.

mod catalogue;
mod elf;
mod file;
mod load;
mod search;

pub use catalogue::{Catalogue, Entry, FindError, Found, RefusedWord};
pub use elf::{ElfError, Glibc, Machine, Target};
pub use file::{ContentHash, FileProblem, PluginFile};
pub use load::{LoadProblem, LoadedPlugin, load};
pub use search::{Folder, SearchPath};

#[cfg(test)]
mod tests;
