//! Parts of other systems, fetched where they are missing: Debian packages by `apt-get`, Python wheels by `pip` with a pinned hash.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Skip, cache};

/// Who may install packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Only root, without asking anybody: tests.
    Root,
    /// Whoever `sudo` lets: commands that a person typed.
    Sudo,
}

/// Makes `programs` available, installing `packages` if one of them is missing.
///
/// # Errors
/// The reason, where something is missing and may not be installed.
///
/// # Panics
/// When the installation fails: that is no property of this machine that a test could be skipped for.
pub fn programs(programs: &[&str], packages: &[&str], permission: Permission) -> Result<(), Skip> {
    let missing =
        |programs: &[&str]| programs.iter().filter(|name| find(name).is_none()).copied().collect::<Vec<_>>().join(", ");
    if missing(programs).is_empty() {
        return Ok(());
    }
    let _turn = cache::lock("apt");
    let lacking = missing(programs);
    if lacking.is_empty() {
        return Ok(());
    }
    let root = nix::unistd::geteuid().is_root();
    let prefix: &[&str] = match (root, permission) {
        (true, _) => &[],
        (false, Permission::Sudo) => &["sudo"],
        (false, Permission::Root) => {
            return Err(Skip::because(format!("no {lacking} here, and installing {} needs root", packages.join(" "))));
        }
    };
    eprintln!("{lacking} missing: {} apt-get install {}", prefix.join(" "), packages.join(" "));
    apt_get(prefix, &["update", "-qq"]);
    apt_get(prefix, &[&["install", "-qq", "-y", "--no-install-recommends"], packages].concat());
    let still = missing(programs);
    assert!(still.is_empty(), "{still} still missing after installing {}", packages.join(" "));
    Ok(())
}

fn apt_get(prefix: &[&str], arguments: &[&str]) {
    let line = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], arguments].concat();
    let output = Command::new(line[0]).args(&line[1..]).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("start {}: {error}", line.join(" ")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} failed ({}): {said}", line.join(" "), output.status);
}

/// The path of a program, as the shell would find it.
pub fn find(program: &str) -> Option<PathBuf> {
    // Administrators' programs such as `ip` may lie where a plain user's PATH doesn't look.
    let path = format!("{}:/usr/local/sbin:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// A Python package's published archive: its exact file, and nothing else, is used.
#[derive(Debug, Clone, Copy)]
pub struct Wheel {
    /// The package's name.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// Which builds of it fit: pip's word for the oldest system they run on.
    pub platform: &'static str,
    /// The SHA-256 of the file.
    pub sha256: &'static str,
}

/// The folder into which the wheel's data files (`bin`, `lib`, `include` …) are unpacked; fetched and unpacked at the first use.
///
/// # Errors
/// The reason, where pip is missing and may not be installed.
///
/// # Panics
/// When it can't be fetched, or is not the file that was pinned.
pub fn wheel(wheel: &Wheel) -> Result<PathBuf, Skip> {
    let unpacked = cache::parts("wheels").join(format!("{}-{}-{}", wheel.name, wheel.version, &wheel.sha256[..12]));
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    programs(&["python3", "pip3"], &["python3", "python3-pip"], Permission::Root)?;
    let _turn = cache::lock(wheel.name);
    if !unpacked.is_dir() {
        let file = downloaded(wheel);
        let half_done = unpacked.with_extension("unpacking");
        let _ = fs::remove_dir_all(&half_done);
        python(&["-c", UNPACK, path(&file), path(&half_done)]);
        fs::rename(&half_done, &unpacked).expect("both names lie in one folder that is ours");
    }
    Ok(unpacked)
}

fn downloaded(wheel: &Wheel) -> PathBuf {
    let kept = cache::downloads().join(format!("{}-{}-{}.whl", wheel.name, wheel.version, &wheel.sha256[..12]));
    if cache::sha256(&kept).as_deref() == Some(wheel.sha256) {
        return kept;
    }
    let arrivals = tempfile::tempdir_in(cache::downloads()).expect("the cache folder is writable");
    let what = format!("{}=={}", wheel.name, wheel.version);
    let options =
        ["-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps", "--only-binary", ":all:"];
    python(&[&options[..], &["--platform", wheel.platform, "--dest", path(arrivals.path()), &what]].concat());
    let arrived = fs::read_dir(arrivals.path()).expect("it was made just now").flatten().next();
    let arrived = arrived.unwrap_or_else(|| panic!("pip fetched nothing for {what}")).path();
    let found = cache::sha256(&arrived).expect("it is there");
    assert_eq!(found, wheel.sha256, "{} is not the file that was pinned for {what}", arrived.display());
    fs::rename(&arrived, &kept).expect("both lie in the cache folder");
    kept
}

fn python(arguments: &[&str]) {
    let output = Command::new("python3").args(arguments).stdin(Stdio::null()).output().expect("python3 was found");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "python3 {} failed: {said}", arguments[..arguments.len().min(4)].join(" "));
}

fn path(path: &Path) -> &str {
    path.to_str().expect("the cache folder has a name in UTF-8")
}

/// Unpacks `*.data/data/` of a wheel with its modes. pip itself would put these files into different places on different systems.
const UNPACK: &str = r"
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for entry in wheel.infolist():
        parts = entry.filename.split('/')
        if entry.is_dir() or len(parts) < 3 or not parts[0].endswith('.data') or parts[1] != 'data' or '..' in parts:
            continue
        target = os.path.join(sys.argv[2], *parts[2:])
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, 'wb') as file:
            file.write(wheel.read(entry))
        os.chmod(target, (entry.external_attr >> 16) & 0o777 or 0o644)
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_as_the_shell_finds_them() {
        assert!(find("sh").is_some_and(|path| path.is_file()));
        assert_eq!(find("no-such-program-anywhere"), None);
    }

    #[test]
    fn nothing_is_installed_for_programs_that_are_there() {
        assert_eq!(programs(&["sh", "cat"], &["no-such-package"], Permission::Root), Ok(()));
    }
}
