//! What `mesos master` and `mesos agent` have in common: folders, tokens, and running until they are told to end.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use etcetera::BaseStrategy;
use tokio::signal::unix::{SignalKind, signal};

use crate::names;
use crate::output;
use crate::values::MasterPlace;

/// The default work folder of a daemon: for root where system services keep theirs, otherwise the user's.
///
/// # Errors
/// There is no home folder.
pub fn work_dir(daemon: &str) -> Result<PathBuf> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Path::new("/var/lib/mesos").join(daemon));
    }
    let folders = etcetera::base_strategy::choose_base_strategy();
    let folders = folders.context("the home folder can't be found; name a folder with --work-dir")?;
    let state = folders.state_dir().unwrap_or_else(|| folders.home_dir().join(".local/state"));
    Ok(state.join("mesos").join(daemon))
}

/// The token that a master wants of everyone: none on loopback unless a file is named; made where there is none.
///
/// # Errors
/// The file can't be read or written, or holds no token.
pub fn token(ip: IpAddr, named: Option<&str>, work_dir: &Path) -> Result<Option<String>> {
    let path = match named {
        Some(path) => PathBuf::from(path),
        None if ip.is_loopback() => return Ok(None),
        None => work_dir.join("token"),
    };
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().is_empty() => {
            bail!("the token file {} is empty; remove it to get a new one", path.display())
        }
        Ok(text) => Ok(Some(text.trim().to_string())),
        Err(error) if error.kind() == ErrorKind::NotFound => new_token(&path).map(Some),
        Err(error) => bail!("the token file {} can't be read: {error}", path.display()),
    }
}

fn new_token(path: &Path) -> Result<String> {
    let problem = || format!("the token file {} can't be written", path.display());
    let token = names::secret()?;
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(problem)?;
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| writeln!(file, "{token}")).with_context(problem)?;
    output::remark(format!(
        "made the cluster's token in {}; agents and users need a copy (--token-file)",
        path.display()
    ));
    Ok(token)
}

/// The address that others reach us by: the one we listen on, or where we listen on all, the one towards some other machine.
///
/// # Errors
/// There is no way there.
pub fn reachable(ip: IpAddr, other: &str) -> Result<IpAddr> {
    if !ip.is_unspecified() {
        return Ok(ip);
    }
    // Nothing is sent: the kernel only chooses the way.
    let towards = UdpSocket::bind((ip, 0)).and_then(|socket| {
        socket.connect(other)?;
        socket.local_addr()
    });
    let problem = |error| anyhow!("there is no way to {other} ({error}); name our address with --advertise");
    Ok(towards.map_err(problem)?.ip())
}

/// A machine on the way to the master.
pub fn towards(master: &MasterPlace) -> String {
    match master {
        MasterPlace::Address(address) => address.clone(),
        MasterPlace::ZooKeeper(address) => address.servers().split(',').next().unwrap_or_default().to_string(),
    }
}

/// Tells `mesos up` where a daemon listens: whole or not at all.
///
/// # Errors
/// The file can't be written.
pub fn tell_address(file: Option<&str>, address: &str) -> Result<()> {
    let Some(path) = file.map(Path::new) else { return Ok(()) };
    let new = path.with_extension("new");
    let written = fs::write(&new, address).and_then(|()| fs::rename(&new, path));
    written.with_context(|| format!("{} can't be written", path.display()))
}

/// With `background`, becomes a session of its own, which no terminal ends.
///
/// # Errors
/// This process leads a process group.
pub fn leave_terminal(background: bool) -> Result<()> {
    if background {
        nix::unistd::setsid().context("the terminal can't be left")?;
    }
    Ok(())
}

/// Waits for TERM or INT.
///
/// # Errors
/// They can't be caught.
pub async fn until_told_to_end() -> Result<()> {
    let catch = |kind| signal(kind).map_err(|error| anyhow!("signals can't be caught: {error}"));
    let (mut term, mut int) = (catch(SignalKind::terminate())?, catch(SignalKind::interrupt())?);
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    Ok(())
}

/// How an agent is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// By TERM: for a restart, or with the machine.
    Restart,
    /// By INT or USR1: with all that it runs.
    EndForGood,
}

/// Waits for TERM, INT or USR1.
///
/// # Errors
/// They can't be caught.
pub async fn until_agent_is_told() -> Result<Told> {
    let catch = |kind| signal(kind).map_err(|error| anyhow!("signals can't be caught: {error}"));
    let (mut int, mut user1) = (catch(SignalKind::interrupt())?, catch(SignalKind::user_defined1())?);
    let mut term = catch(SignalKind::terminate())?;
    Ok(tokio::select! {
        _ = term.recv() => Told::Restart,
        _ = int.recv() => Told::EndForGood,
        _ = user1.recv() => Told::EndForGood,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn loopback_needs_no_token_and_anything_else_gets_one_that_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let (loopback, all): (IpAddr, IpAddr) = ("127.0.0.1".parse().unwrap(), "0.0.0.0".parse().unwrap());
        assert_eq!(token(loopback, None, dir.path()).expect("fine"), None);
        let first = token(all, None, dir.path()).expect("made").expect("one");
        assert_eq!(first.len(), 64);
        assert_eq!(token(all, None, dir.path()).expect("read"), Some(first));
        let mode = fs::metadata(dir.path().join("token")).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_named_token_counts_on_loopback_too_and_an_empty_one_is_refused() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("secret");
        fs::write(&path, "s3cret\n").expect("written");
        let named = path.to_str();
        let loopback: IpAddr = "::1".parse().unwrap();
        assert_eq!(token(loopback, named, dir.path()).expect("read"), Some("s3cret".to_string()));
        fs::write(&path, " \n").expect("written");
        assert!(token(loopback, named, dir.path()).unwrap_err().to_string().contains("is empty"));
    }
}
