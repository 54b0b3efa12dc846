//! Brings files into a sandbox: from this machine, from the web, from what clients uploaded to the master.
//!
//! ```text
//! file: ───────────────────────(with the user's rights)──┐
//! http(s): ──▶ download ──┐                              ├──▶ sandbox/name ──▶ executable | extracted
//! blob:    ──▶ master   ──┴──▶ cache, checked by SHA-256 ┘
//! ```

mod cache;
mod download;
mod place;
mod uploads;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use mesos_plugin_api::v1::{Reason, Uri};

use super::as_user::blocking;
use super::sandboxes::is_inside;
use super::users::Account;
use crate::agent::event::Refusal;
use crate::kept::Part;

pub(super) use uploads::{MasterSlot, Reached};

/// Fetches; one fetch at a time of each URI.
pub(super) struct Fetcher {
    folder: PathBuf,
    bytes_max: u64,
    master: MasterSlot,
    busy: Mutex<BTreeMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Refused(String),
    #[error("cannot {operation} {}: {cause}", path.display())]
    Io { operation: &'static str, path: PathBuf, cause: io::Error },
}

/// A file to fetch, as far as the URI's scheme goes.
#[derive(Debug, PartialEq, Eq)]
enum Scheme<'a> {
    File(&'a str),
    Web,
    Blob(&'a str),
}

impl Fetcher {
    pub(super) fn new(folder: PathBuf, bytes_max: u64, master: MasterSlot) -> Self {
        Self { folder, bytes_max, master, busy: Mutex::default() }
    }

    /// Puts the file into the sandbox, as its user.
    pub(super) async fn fetch(&self, uri: &Uri, sandbox: &Path, account: &Account) -> Result<(), Refusal> {
        self.try_fetch(uri, sandbox, account).await.map_err(|error| {
            let full = matches!(&error, FetchError::Io { cause, .. }
                if matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
            let (reason, advice) =
                if full { (Reason::SandboxFull, "; the agent's disk is full") } else { (Reason::FetchFailed, "") };
            Refusal { reason, message: format!("cannot fetch {}: {error}{advice}", uri.value) }
        })
    }

    async fn try_fetch(&self, uri: &Uri, sandbox: &Path, account: &Account) -> Result<(), FetchError> {
        let name = output_name(uri)?;
        let place = place::Place {
            target: sandbox.join(&name),
            user: account.user.clone(),
            executable: uri.executable(),
            sha256: uri.sha256.clone().map(|hash| hash.to_ascii_lowercase()),
        };
        let target = place.target.clone();
        match scheme(&uri.value)? {
            Scheme::File(path) => {
                let path = PathBuf::from(path);
                io_result(blocking(move |cancelled| place.from_user_file(&path, cancelled)).await, "copy to", &target)?;
            }
            Scheme::Web | Scheme::Blob(_) => {
                let busy = self.busy(&uri.value);
                let _one_at_a_time = busy.lock().await;
                let cached = self.cached(uri).await?;
                let path = cached.path().to_owned();
                let copied = blocking(move |cancelled| place.from_agent_file(&path, cancelled)).await;
                io_result(copied, "copy to", &target)?;
            }
        }
        if uri.extract() { place::extract(&target, sandbox, account).await } else { Ok(()) }
    }

    /// The content in the cache folder; goes when the handle does unless it is to be kept.
    async fn cached(&self, uri: &Uri) -> Result<cache::Cached, FetchError> {
        let wanted = uri.sha256.as_ref().map(|hash| hash.to_ascii_lowercase());
        let (key, keep) = match scheme(&uri.value)? {
            Scheme::Blob(hash) => (hash.to_string(), true),
            _ => (wanted.clone().unwrap_or_else(|| cache::hash_of_text(&uri.value)), uri.cache()),
        };
        if keep && let Some(cached) = cache::find(&self.folder, &key) {
            return Ok(cached);
        }
        let part = Part::new(&self.folder);
        let found = match scheme(&uri.value)? {
            Scheme::Blob(hash) => {
                uploads::fetch(&self.master, hash, part.path()).await?;
                let path = part.path().to_owned();
                let hashed = blocking(move |cancelled| cache::hash_of_file(&path, cancelled)).await;
                io_result(hashed, "read", part.path())?
            }
            _ => download::download(&uri.value, part.path()).await?,
        };
        let wanted = if let Scheme::Blob(hash) = scheme(&uri.value)? { Some(hash.to_string()) } else { wanted };
        if let Some(wanted) = wanted.filter(|wanted| *wanted != found) {
            return Err(FetchError::Refused(format!("its SHA-256 is {found}, not {wanted}")));
        }
        if !keep {
            return Ok(cache::Cached::Passing(part));
        }
        cache::keep(part, &self.folder, &key, self.bytes_max)
    }

    fn busy(&self, uri: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = busy.get(uri).and_then(Weak::upgrade) {
            return known;
        }
        busy.retain(|_, lock| lock.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        busy.insert(uri.to_string(), Arc::downgrade(&lock));
        lock
    }

    /// Fetches a blob into a file of the agent's own, such as a plugin; the file is there whole or not at all.
    pub(super) async fn fetch_blob(&self, sha256: &str, target: &Path) -> Result<(), String> {
        if target.exists() {
            return Ok(());
        }
        let uri = Uri { value: format!("blob:{sha256}"), ..Uri::default() };
        let busy = self.busy(&uri.value);
        let _one_at_a_time = busy.lock().await;
        if target.exists() {
            return Ok(());
        }
        let cached = self.cached(&uri).await.map_err(|error| error.to_string())?;
        let (from, to) = (cached.path().to_owned(), target.to_owned());
        let copied = blocking(move |_| cache::install(&from, &to)).await;
        copied.map_err(|error| format!("cannot write {}: {error}", target.display()))
    }
}

fn scheme(uri: &str) -> Result<Scheme<'_>, FetchError> {
    let refused = |problem: &str| Err(FetchError::Refused(problem.to_string()));
    match uri.split_once(':') {
        Some(("file", path)) => match path.strip_prefix("//").unwrap_or(path) {
            path if path.starts_with('/') => Ok(Scheme::File(path)),
            _ => refused("a file's URI holds its whole path on the agent: file:///path"),
        },
        Some(("http" | "https", _)) => Ok(Scheme::Web),
        Some(("blob", hash)) if hash.len() == 64 && hash.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(Scheme::Blob(hash))
        }
        Some(("blob", _)) => refused("a blob's URI is blob: and 64 hexadecimal digits"),
        _ => refused("agents fetch file:, http:, https: and blob: only"),
    }
}

/// The name in the sandbox, which it can't lead out of.
fn output_name(uri: &Uri) -> Result<PathBuf, FetchError> {
    let from_uri = || {
        let path = uri.value.split(['?', '#']).next().unwrap_or_default();
        path.rsplit(['/', ':']).next().unwrap_or_default().to_string()
    };
    let name = PathBuf::from(uri.output_file.clone().unwrap_or_else(from_uri));
    if !is_inside(&name) {
        let problem = "is no name for a file in the sandbox; give another as output_file";
        return Err(FetchError::Refused(format!("{:?} {problem}", name.display())));
    }
    Ok(name)
}

fn io_result<T>(result: io::Result<T>, operation: &'static str, path: &Path) -> Result<T, FetchError> {
    result.map_err(|cause| FetchError::Io { operation, path: path.to_owned(), cause })
}
