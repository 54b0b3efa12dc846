//! Packets with file descriptors over a SEQPACKET socket, and sealed memory for what doesn't fit into one.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};

/// Bytes in a packet, at most.
pub const PACKET_BYTES_MAX: usize = 64 * 1024;
/// File descriptors beside a packet, at most; the kernel's own bound is 253.
pub const PACKET_FDS_MAX: usize = 200;
/// Bytes of launch specs in one memfd, at most.
pub const MEMFD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Sends one packet without waiting.
///
/// # Errors
/// `WouldBlock` when the peer doesn't read fast enough, `BrokenPipe` when it is gone.
pub fn send(socket: BorrowedFd, bytes: &[u8], fds: &[RawFd]) -> io::Result<()> {
    assert!(!bytes.is_empty() && bytes.len() <= PACKET_BYTES_MAX && fds.len() <= PACKET_FDS_MAX);
    let rights = [ControlMessage::ScmRights(fds)];
    let control = if fds.is_empty() { &[][..] } else { &rights[..] };
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None)?;
    Ok(())
}

/// A packet that was received: so many bytes of the caller's buffer, and descriptors that close on exec.
pub struct Received {
    pub len: usize,
    pub fds: Vec<OwnedFd>,
}

/// Receives one packet without waiting; `None` when the peer has closed the socket.
///
/// # Errors
/// `WouldBlock` when there is none, `InvalidData` for a packet larger than the buffer.
pub fn receive(socket: BorrowedFd, buffer: &mut [u8]) -> io::Result<Option<Received>> {
    let mut control = nix::cmsg_space!([RawFd; PACKET_FDS_MAX]);
    let mut slices = [IoSliceMut::new(buffer)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut control), flags)?;
    let mut fds = Vec::new();
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = part {
            // SAFETY: the kernel has just made these descriptors for us; nobody else knows them.
            fds.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    if message.flags.contains(MsgFlags::MSG_TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "packet larger than 64 KB"));
    }
    if message.bytes == 0 {
        return Ok(None);
    }
    Ok(Some(Received { len: message.bytes, fds }))
}

/// Both ends of a packet socket; they close on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?)
}

/// Puts bytes into a memfd that nobody can change any more.
pub fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    let memfd = memfd_create(c"launch", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = std::fs::File::from(memfd);
    file.write_all(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals() | SealFlag::F_SEAL_SEAL))?;
    Ok(file.into())
}

/// Reads a sealed memfd. Anything else is refused: reading a pipe or a foreign file system could block the launcher.
pub fn unseal(memfd: &OwnedFd) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let found = fcntl(memfd, FcntlArg::F_GET_SEALS).map_or(SealFlag::empty(), SealFlag::from_bits_truncate);
    let file = std::fs::File::from(memfd.as_fd().try_clone_to_owned()?);
    let len = file.metadata()?.len() as usize;
    if !found.contains(seals()) || len > MEMFD_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "launch specs are not in a sealed memfd of at most 64 MB",
        ));
    }
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(bytes)
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW
}
