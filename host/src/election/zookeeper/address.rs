//! `zk://user:password@a:2181,b:2181/mesos`: the servers, and the node that all of a cluster's lie under.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::auth::ZooKeeperAuth;

const SCHEME: &str = "zk://";
const PORT: u16 = 2181;

/// Where a cluster's masters meet. Shown without the password.
#[derive(Clone, PartialEq, Eq)]
pub struct ZooKeeperAddress {
    servers: Vec<String>,
    node: String,
    auth: Option<ZooKeeperAuth>,
}

/// What is wrong with an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{given} is no ZooKeeper address: {why}; write zk://host:2181,host:2181/mesos")]
pub struct AddressError {
    given: String,
    why: &'static str,
}

impl ZooKeeperAddress {
    /// The servers, as the client takes them: `a:2181,b:2181`.
    pub fn servers(&self) -> String {
        self.servers.join(",")
    }

    /// The node that all others lie under, such as `/mesos`.
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The user and the password in it.
    pub fn auth(&self) -> Option<&ZooKeeperAuth> {
        self.auth.as_ref()
    }

    /// Whether this text means a ZooKeeper address, rightly written or not.
    pub fn is_meant(text: &str) -> bool {
        text.starts_with(SCHEME)
    }
}

impl FromStr for ZooKeeperAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        parse(text).map_err(|why| AddressError { given: without_password(text), why })
    }
}

impl fmt::Display for ZooKeeperAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}{}", self.servers(), self.node)
    }
}

impl fmt::Debug for ZooKeeperAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn parse(text: &str) -> Result<ZooKeeperAddress, &'static str> {
    let rest = text.strip_prefix(SCHEME).ok_or("it doesn't begin with zk://")?;
    // A password may hold any of the other marks.
    let (auth, rest) = match rest.rsplit_once('@') {
        Some((auth, rest)) => (Some(ZooKeeperAuth::parse(auth).ok_or("before @ stands user:password")?), rest),
        None => (None, rest),
    };
    let (servers, node) = rest.split_once('/').ok_or("the node is missing, such as /mesos")?;
    let servers = servers.split(',').map(server).collect::<Result<_, _>>()?;
    let node = format!("/{}", node.strip_suffix('/').unwrap_or(node));
    let good = |name: &str| !name.is_empty() && name != "." && name != ".." && !name.chars().any(char::is_control);
    if node == "/" {
        return Err("the node is missing, such as /mesos");
    }
    if node == "/zookeeper" || node.starts_with("/zookeeper/") {
        return Err("/zookeeper is ZooKeeper's own");
    }
    if !node[1..].split('/').all(good) {
        return Err("the node's name can't be one");
    }
    Ok(ZooKeeperAddress { servers, node, auth })
}

fn server(text: &str) -> Result<String, &'static str> {
    let (host, port) = match text.rsplit_once(':') {
        // Colons of an IPv6 address, which stands in brackets.
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| "a port is no number")?),
        _ => (text, PORT),
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match bracketed {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    match (good, port) {
        (false, _) => Err("a server's name can't be one"),
        (true, 0) => Err("no server has port 0"),
        (true, _) => Ok(format!("{host}:{port}")),
    }
}

/// What may be said about it.
fn without_password(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("{SCHEME}…@{rest}"),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> ZooKeeperAddress {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn an_address_has_servers_a_node_and_maybe_a_user() {
        let address = parsed("zk://user:p@ss/w:ord@a.example:2181,b,[::1]:2183,[::1]/mesos/east/");
        assert_eq!(address.servers(), "a.example:2181,b:2181,[::1]:2183,[::1]:2181");
        assert_eq!(address.node(), "/mesos/east");
        assert_eq!(address.auth().unwrap().credentials(), "user:p@ss/w:ord");
        assert_eq!(parsed("zk://a/m").auth(), None);
    }

    #[test]
    fn a_password_is_never_shown() {
        let address = parsed("zk://user:secret@a/mesos");
        assert_eq!(format!("{address} {address:?}"), "zk://a:2181/mesos zk://a:2181/mesos");
        let error = "zk://user:secret@a".parse::<ZooKeeperAddress>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "zk://…@a is no ZooKeeper address: the node is missing, such as /mesos; write zk://host:2181,host:2181/mesos"
        );
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("a:2181/mesos", "zk://"),
            ("zk://a:2181", "node is missing"),
            ("zk://a:2181/", "node is missing"),
            ("zk://a:2181,/mesos", "server's name"),
            ("zk:///mesos", "server's name"),
            ("zk://a:x/mesos", "no number"),
            ("zk://a:70000/mesos", "no number"),
            ("zk://a:0/mesos", "port 0"),
            ("zk://::1/mesos", "server's name"),
            ("zk://user@a/mesos", "user:password"),
            ("zk://a/mesos//x", "node's name"),
            ("zk://a/mesos/../x", "node's name"),
            ("zk://a/zookeeper/quota", "ZooKeeper's own"),
        ] {
            let error = text.parse::<ZooKeeperAddress>().expect_err(text).to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_refused(text in "(zk://)?[a-c:@,/.\\[\\]0-9]{0,24}") {
            if let Ok(address) = text.parse::<ZooKeeperAddress>() {
                let again = parsed(&address.to_string());
                prop_assert_eq!((again.servers(), again.node()), (address.servers(), address.node()));
            }
        }
    }
}
