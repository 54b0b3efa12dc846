//! One file of the plugins folder: what it declares, and its content hash.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use mesos_plugin_api::{
    declaration::{Declaration, DeclarationError, Preamble, Version},
    v1::PluginRef,
};
use sha2::{Digest, Sha256};

use super::elf::{self, ElfError, Glibc, Machine, Target};

/// A plugin that could be loaded, as far as can be told without doing it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginFile {
    /// Where it is.
    pub path: PathBuf,
    /// What it says of itself.
    pub declaration: Declaration,
    /// What it is built for: this machine's kind.
    pub target: Target,
    /// The glibc that it needs: at most this machine's.
    pub glibc: Option<Glibc>,
    /// Which file this was, so that another one put in its place is noticed.
    pub(super) identity: Identity,
}

/// Why a file is no plugin for this host; the path is the caller's to say.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// Not a library for this machine.
    #[error(transparent)]
    Elf(#[from] ElfError),
    /// Its declaration can't be used.
    #[error("has a bad {0}")]
    Declaration(#[from] DeclarationError),
    /// Made for a newer host, or for another major version.
    #[error("is {} {} for plugin API {}, this mesos speaks {host}; {}", plugin.name, plugin.version, plugin.api, advice(plugin, host))]
    OtherApi {
        /// What the plugin says of itself.
        plugin: Box<Preamble>,
        /// The plugin API of this host.
        host: Version,
    },
    /// A folder, a socket, …
    #[error("is not a regular file")]
    NotRegular,
}

/// The SHA-256 of a file's content; shown as hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContentHash(pub [u8; 32]);

/// What tells one file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl PluginFile {
    /// Looks at the file at `path` for this machine and this host. Nothing of it is run.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read(path: &Path) -> Result<Self, FileProblem> {
        Self::read_for(path, &Machine::this())
    }

    /// The same for a machine of the caller's choice.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn read_for(path: &Path, machine: &Machine) -> Result<Self, FileProblem> {
        // Before it is opened: opening a named pipe would wait for a writer.
        if !fs::metadata(path).map_err(ElfError::from)?.is_file() {
            return Err(FileProblem::NotRegular);
        }
        let file = File::open(path).map_err(ElfError::from)?;
        let identity = Identity::of(&file.metadata().map_err(ElfError::from)?);
        let facts = elf::inspect(&file, machine)?;
        // First what any version of a plugin has, since a newer one may declare more than can be read here.
        let plugin = Preamble::parse(&facts.declaration)?;
        if !machine.api.takes(&plugin.api) {
            return Err(FileProblem::OtherApi { plugin: Box::new(plugin), host: machine.api.clone() });
        }
        let declaration = Declaration::parse(&facts.declaration)?;
        Ok(Self { path: path.to_owned(), declaration, target: facts.target, glibc: facts.glibc, identity })
    }

    /// The hash of its content, read from the file when first asked for and kept as long as the file is the same.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn hash(&self) -> io::Result<ContentHash> {
        static HASHES: Mutex<BTreeMap<PathBuf, (Identity, ContentHash)>> = Mutex::new(BTreeMap::new());
        let mut file = File::open(&self.path)?;
        let identity = Identity::of(&file.metadata()?);
        let hashes = || HASHES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, hash)) = hashes().get(&self.path)
            && *known == identity
        {
            return Ok(*hash);
        }
        let hash = ContentHash::of(&mut file)?;
        hashes().insert(self.path.clone(), (identity, hash));
        Ok(hash)
    }

    /// What names it to the agents, by content.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn reference(&self) -> io::Result<PluginRef> {
        let Declaration { name, version, .. } = &self.declaration;
        let (version, sha256) = (version.to_string(), self.hash()?.to_string());
        Ok(PluginRef { name: name.clone(), version, sha256, size: self.identity.size })
    }

    /// `mpi 0.1.0`.
    pub fn name_and_version(&self) -> String {
        format!("{} {}", self.declaration.name, self.declaration.version)
    }
}

fn advice(plugin: &Preamble, host: &Version) -> String {
    let name = &plugin.name;
    match plugin.api > *host {
        true => format!("update mesos, or install the {name} plugin built for API {host}"),
        false => format!("install a newer {name} plugin, or build it again with API {host}"),
    }
}

impl Identity {
    pub(super) fn of(metadata: &fs::Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

impl ContentHash {
    /// Hashes everything that `content` has.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn of(content: &mut impl Read) -> io::Result<Self> {
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(Self(digest.finalize().into())),
                count => digest.update(&buffer[..count]),
            }
        }
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
