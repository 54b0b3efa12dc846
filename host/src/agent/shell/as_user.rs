//! File operations with the rights of another user, on a thread of their own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{io, thread};

use tokio::sync::oneshot;

use crate::launcher::User;

/// Set when nobody waits for the outcome any more; long operations look at it.
#[derive(Debug, Clone, Default)]
pub(super) struct Cancelled(Arc<AtomicBool>);

impl Cancelled {
    pub(super) fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
    }
}

/// Sets it when dropped.
struct CancelOnDrop(Cancelled);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Runs blocking work on a thread of its own, which ends with it. Dropping the future cancels the work.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce(&Cancelled) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let cancel = CancelOnDrop(Cancelled::default());
    let cancelled = cancel.0.clone();
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new().name("files".to_string()).spawn(move || sender.send(work(&cancelled)))?;
    receiver.await.unwrap_or_else(|_| Err(io::Error::other("the thread for files panicked; see the log")))
}

/// From here to the end of this thread the kernel checks files against that user's rights, and makes new ones its own.
/// Without root there is no other user, and nothing is done.
pub(super) fn become_for_files(user: &User) -> io::Result<()> {
    if !nix::unistd::Uid::effective().is_root() {
        return Ok(());
    }
    let groups: Vec<libc::gid_t> = user.groups.clone();
    // SAFETY: a pointer to that many numbers. The raw call changes this thread alone, the C library's would change all.
    let set = unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) };
    if set < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: numbers only; both are of this thread alone, and leaving user 0 drops the right to pass by permissions.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, user.gid);
        libc::syscall(libc::SYS_setfsuid, user.uid);
    }
    // They return what was before and never an error, so ask once more.
    // SAFETY: numbers only; an impossible id changes nothing.
    let now = unsafe { libc::syscall(libc::SYS_setfsuid, u32::MAX) };
    if now == i64::from(user.uid) { Ok(()) } else { Err(io::ErrorKind::PermissionDenied.into()) }
}
