//! Who we are to ZooKeeper: a user and a password, which only its digest scheme sees.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::{fmt, iter};

use thiserror::Error;

/// A line is that long at most.
const BYTES_MAX: u64 = 4096;

/// A user and a password. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ZooKeeperAuth(String);

/// Why there are none in a file.
#[derive(Debug, Error)]
pub enum AuthError {
    /// The file can't be read.
    #[error("can't read {}: {cause}; --zk-auth-file names a file with one line, user:password", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// As the system says it.
        cause: io::Error,
    },
    /// Others than its owner may read it.
    #[error("{} holds a password, and others may read it; chmod 600 {}", path.display(), path.display())]
    Open {
        /// Which file.
        path: PathBuf,
    },
    /// It holds something else.
    #[error("{} doesn't hold one line, user:password", path.display())]
    Form {
        /// Which file.
        path: PathBuf,
    },
}

impl ZooKeeperAuth {
    /// Of `user:password`; none where that is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, password) = text.split_once(':')?;
        let good = !user.is_empty() && !password.is_empty() && !text.chars().any(char::is_control);
        good.then(|| Self(text.to_string()))
    }

    /// Of the one line in this file, which must be its owner's alone.
    ///
    /// # Errors
    /// It can't be read, others may read it, or it holds something else.
    pub fn read(path: &Path) -> Result<Self, AuthError> {
        let io = |cause| AuthError::Io { path: path.into(), cause };
        let file = File::open(path).map_err(io)?;
        // Asked of the open file: nobody puts another in its place meanwhile.
        let mode = file.metadata().map_err(io)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(AuthError::Open { path: path.into() });
        }
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(io)?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Self::parse(line.strip_suffix('\r').unwrap_or(line)).ok_or_else(|| AuthError::Form { path: path.into() })
    }

    /// As the digest scheme takes them.
    pub(super) fn credentials(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ZooKeeperAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.0.split(':').next().into_iter();
        f.write_str(&user.chain(iter::once("…")).collect::<Vec<_>>().join(":"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn read(text: &str, mode: u32) -> Result<ZooKeeperAuth, AuthError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("auth");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        ZooKeeperAuth::read(&path)
    }

    #[test]
    fn a_file_holds_one_line() {
        for text in ["u:p:q", "u:p:q\n", "u:p:q\r\n"] {
            assert_eq!(read(text, 0o600).unwrap().credentials(), "u:p:q");
        }
        for text in ["", "\n", "u", "u:", ":p", "u:p\nv:q\n"] {
            let error = read(text, 0o400).unwrap_err();
            assert!(matches!(error, AuthError::Form { .. }), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        for mode in [0o644, 0o640, 0o604, 0o602] {
            let error = read("u:p", mode).unwrap_err().to_string();
            assert!(error.contains("chmod 600 /") && !error.contains("u:p"), "{error}");
        }
        let missing = ZooKeeperAuth::read(Path::new("/nowhere/auth")).unwrap_err().to_string();
        assert!(missing.contains("--zk-auth-file"), "{missing}");
    }

    #[test]
    fn a_password_is_never_shown() {
        assert_eq!(format!("{:?}", ZooKeeperAuth::parse("u:p").unwrap()), "u:…");
    }
}
