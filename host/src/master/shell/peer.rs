//! Which user of this machine is at the other end of a loopback connection: the kernel knows the owner of every socket.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;

use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};
use nix::unistd::Uid;

/// The two ends of a connection within this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    /// Whose owner is asked for.
    pub theirs: SocketAddr,
    pub ours: SocketAddr,
}

/// The owner of their end; none if there is no such socket, or it is another machine's.
pub(super) fn uid_of(ends: Ends) -> Option<Uid> {
    // A kernel without that facility still has its table, which it searches for milliseconds.
    asked(ends).or_else(|| listed(ends.theirs))
}

/// Asks the kernel for one connection, as sock_diag(7) describes it.
fn asked(ends: Ends) -> Option<Uid> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let kernel = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkSockDiag).ok()?;
    send(kernel.as_raw_fd(), &question(ends), MsgFlags::empty()).ok()?;
    // The kernel has answered when the question is sent.
    let mut answer = [0; 1024];
    let length = recv(kernel.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
    answered(&answer[..length], ends)
}

/// The number of the messages both ways, `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
/// `struct nlmsghdr`, before each message.
const HEADER_BYTES: usize = 16;
const QUESTION_BYTES: u32 = 72;
/// Where the connection's ends stand in an answer: after family, state, timer and retransmits.
const ENDS_AT: usize = HEADER_BYTES + 4;
/// Where the owner stands: after 48 bytes of ends, interface and cookie, and three words.
const UID_AT: usize = ENDS_AT + 48 + 12;

/// `struct inet_diag_req_v2` behind its header.
fn question(ends: Ends) -> Vec<u8> {
    let family = if ends.theirs.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut bytes = Vec::with_capacity(QUESTION_BYTES as usize);
    bytes.extend(QUESTION_BYTES.to_ne_bytes());
    bytes.extend([BY_FAMILY.to_ne_bytes(), NLM_F_REQUEST.to_ne_bytes()].concat());
    bytes.extend([0; 8]);
    bytes.extend([family as u8, IPPROTO_TCP as u8, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    bytes.extend(ends_as_kernel(ends));
    // On any interface, without a cookie.
    bytes.extend([0; 4]);
    bytes.extend([0xff; 8]);
    bytes
}

/// The beginning of `struct inet_diag_sockid`, in the network's byte order.
fn ends_as_kernel(ends: Ends) -> Vec<u8> {
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => [&ip.octets()[..], &[0; 12]].concat(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let ports = [ends.theirs.port().to_be_bytes(), ends.ours.port().to_be_bytes()].concat();
    [ports, address(ends.theirs.ip()), address(ends.ours.ip())].concat()
}

/// Where no connection has these ends, the kernel tells of a socket that listens at that address: that is somebody else.
fn answered(answer: &[u8], ends: Ends) -> Option<Uid> {
    let expected = ends_as_kernel(ends);
    let is_it = answer.get(4..6)? == BY_FAMILY.to_ne_bytes() && answer.get(ENDS_AT..)?.starts_with(&expected);
    let uid = answer.get(UID_AT..UID_AT + 4)?.try_into().expect("four bytes");
    is_it.then(|| Uid::from_raw(u32::from_ne_bytes(uid)))
}

/// Looks through the table of all sockets.
fn listed(address: SocketAddr) -> Option<Uid> {
    let table = if address.is_ipv4() { "/proc/thread-self/net/tcp" } else { "/proc/thread-self/net/tcp6" };
    let sockets = fs::read_to_string(table).ok()?;
    sockets.lines().skip(1).find_map(|line| owner(line).filter(|(local, _)| *local == address).map(|(_, uid)| uid))
}

/// Local address and owner of a line of `/proc/net/tcp`.
fn owner(line: &str) -> Option<(SocketAddr, Uid)> {
    let mut fields = line.split_whitespace();
    let (ip, port) = fields.nth(1)?.split_once(':')?;
    let uid = fields.nth(5)?.parse().ok()?;
    Some((SocketAddr::new(ip_of(ip)?, u16::from_str_radix(port, 16).ok()?), Uid::from_raw(uid)))
}

/// The kernel prints each word of an address as a number of this machine's byte order.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| Some(u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (number, part) in bytes.chunks_mut(4).enumerate() {
                part.copy_from_slice(&word(number * 8)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn the_owner_of_a_connection_is_found() {
        for listen in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(listen) else { continue };
            let ours = listener.local_addr().unwrap();
            let client = TcpStream::connect(ours).unwrap();
            let theirs = client.local_addr().unwrap();
            assert_eq!(asked(Ends { theirs, ours }), Some(Uid::effective()));
            assert_eq!(listed(theirs), Some(Uid::effective()));
        }
    }

    #[test]
    fn who_only_listens_at_that_address_is_not_the_owner_of_the_connection() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let [ours, nobody] = [ours.local_addr().unwrap(), "127.0.0.1:1".parse().unwrap()];
        assert_eq!(asked(Ends { theirs: ours, ours: nobody }), None);
        assert_eq!(uid_of(Ends { theirs: nobody, ours }), None);
        assert_eq!(answered(&[], Ends { theirs: nobody, ours }), None);
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1";
        assert_eq!(owner(line), Some(("127.0.0.1:8080".parse().unwrap(), Uid::from_raw(1000))));
        assert_eq!(owner("nonsense"), None);
        assert_eq!(owner(""), None);
    }
}
