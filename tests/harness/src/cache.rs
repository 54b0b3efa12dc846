//! Where fetched and built parts lie: downloads outside the checkout and shared by all of them, everything made from them inside `target`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

/// The folder for downloads: `$MESOS_TEST_CACHE`, or `mesos-xtask` in the user's cache folder, or, where neither can be written,
/// a folder inside `target`. What lies there is checked each time it is used.
pub fn downloads() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let chosen = variable("MESOS_TEST_CACHE")
        .or_else(|| Some(variable("XDG_CACHE_HOME")?.join("mesos-xtask")))
        .or_else(|| Some(variable("HOME")?.join(".cache/mesos-xtask")));
    match chosen {
        Some(folder) if fs::create_dir_all(&folder).is_ok() => folder,
        _ => parts("downloads"),
    }
}

/// A folder inside `target` for what the tests unpack or compile.
pub fn parts(name: &str) -> PathBuf {
    let folder = build_folder().join("test-parts").join(name);
    fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("create {}: {error}", folder.display()));
    folder
}

/// The folder of this build's binaries, such as `target/debug`.
pub fn build_folder() -> PathBuf {
    let own = std::env::current_exe().expect("/proc is mounted");
    let folder = own.parent().expect("a program lies in a folder");
    // Test programs lie one level deeper than the binaries.
    if folder.ends_with("deps") {
        folder.parent().expect("deps lies in the build folder").into()
    } else {
        folder.into()
    }
}

/// Keeps other processes and threads out while a part is made; ends when it is dropped.
pub fn lock(name: &str) -> Flock<File> {
    let path = parts("locks").join(name);
    let file = File::create(&path).unwrap_or_else(|error| panic!("create {}: {error}", path.display()));
    Flock::lock(file, FlockArg::LockExclusive).unwrap_or_else(|(_, error)| panic!("lock {}: {error}", path.display()))
}

/// The SHA-256 of a file in hexadecimal digits; `None` where there is no such file.
pub fn sha256(path: &Path) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    Some(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_file_is_the_published_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("abc");
        assert_eq!(sha256(&path), None);
        fs::write(&path, "abc").unwrap();
        assert_eq!(sha256(&path).unwrap(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
