//! Which user of this machine is at the other end of a loopback connection: the kernel lists the owner of every socket.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::unistd::Uid;

/// The owner of the socket at that address of this machine; none if there is no such socket, or it is another machine's.
pub(super) fn uid_of(address: SocketAddr) -> Option<Uid> {
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
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            assert_eq!(uid_of(client.local_addr().unwrap()), Some(Uid::effective()));
        }
        assert_eq!(uid_of("127.0.0.1:1".parse().unwrap()), None);
    }

    #[test]
    fn lines_of_the_kernel_are_read() {
        let line = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 12345 1";
        assert_eq!(owner(line), Some(("127.0.0.1:8080".parse().unwrap(), Uid::from_raw(1000))));
        assert_eq!(owner("nonsense"), None);
        assert_eq!(owner(""), None);
    }
}
