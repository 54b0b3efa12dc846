//! Tokens that this plugin mints and checks.
//!
//! ```text
//! application master ──YARN_AM_RM_TOKEN──▶ its node's relay        who is speaking
//! application master ──NMToken──▶ container manager of a node      may start containers there
//!                      ──ContainerToken──▶ the same                this one, of that size
//! ```
//!
//! A password is the HMAC of the identifier with the instance's secret: whoever knows the secret checks it without a list, also after
//! the scheduler has moved.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use hmac::{Hmac, KeyInit, Mac};
use prost::Message;
use sha1::Sha1;

use crate::ids::{AttemptId, ContainerId};
use crate::messages::yarn::{
    AmrmTokenIdentifierProto, ContainerTokenIdentifierProto, ContainerTypeProto, NmTokenIdentifierProto, NodeIdProto,
    PriorityProto, ResourceProto, TokenProto,
};
use crate::writable::Token;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An application master at the scheduler.
    AmRm,
    /// An application master at a node.
    Node,
    /// A container at its node.
    Container,
}

impl Kind {
    /// Hadoop's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::AmRm => "YARN_AM_RM_TOKEN",
            Self::Node => "NMToken",
            Self::Container => "ContainerToken",
        }
    }
}

/// Where a node's container manager listens, as applications dial it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeAddress {
    /// A name or an address, never an IPv6 literal: fetchers of map outputs can't read those.
    pub host: String,
    /// Of the container manager.
    pub port: u16,
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl From<&NodeAddress> for NodeIdProto {
    fn from(address: &NodeAddress) -> Self {
        Self { host: Some(address.host.clone()), port: Some(address.port.into()) }
    }
}

/// What stands in the token of a container beside its id.
#[derive(Clone, Debug)]
pub struct ContainerGrant {
    /// Which.
    pub id: ContainerId,
    /// Where.
    pub node: NodeAddress,
    /// For whom.
    pub user: String,
    /// How much of what.
    pub resource: ResourceProto,
    /// As it was asked for.
    pub priority: i32,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Milliseconds since 1970; it can't be started afterwards.
    pub expires_ms: i64,
    /// It holds the application master.
    pub is_master: bool,
}

/// Makes and checks the tokens of an instance.
#[derive(Clone, Debug)]
pub struct Minter {
    secret: Vec<u8>,
    cluster_timestamp: u64,
}

impl Minter {
    /// With the secret and the start of the instance.
    pub fn new(secret: &[u8], cluster_timestamp: u64) -> Self {
        Self { secret: secret.to_vec(), cluster_timestamp }
    }

    /// What proves an identifier of this kind.
    pub fn password(&self, kind: Kind, identifier: &[u8]) -> Vec<u8> {
        self.mac(kind, identifier).finalize().into_bytes().to_vec()
    }

    /// Whether somebody who knew the secret made it. Takes as long for a wrong password as for the right one.
    pub fn is_genuine(&self, kind: Kind, identifier: &[u8], password: &[u8]) -> bool {
        self.mac(kind, identifier).verify_slice(password).is_ok()
    }

    fn mac(&self, kind: Kind, identifier: &[u8]) -> Hmac<Sha1> {
        let mut mac = Hmac::<Sha1>::new_from_slice(&self.secret).expect("HMAC takes keys of any length");
        // Identifiers of two kinds may be the same bytes.
        mac.update(kind.name().as_bytes());
        mac.update(&[0]);
        mac.update(identifier);
        mac
    }

    /// For the token file of an application master's container.
    pub fn am_rm(&self, attempt: AttemptId) -> Token {
        let identifier = AmrmTokenIdentifierProto { app_attempt_id: Some(attempt.into()), key_id: Some(1) };
        let identifier = identifier.encode_to_vec();
        let password = self.password(Kind::AmRm, &identifier);
        Token { identifier, password, kind: Kind::AmRm.name().into(), service: Vec::new() }
    }

    /// For an application master that may speak to a node.
    pub fn node(&self, attempt: AttemptId, node: &NodeAddress, user: &str) -> TokenProto {
        let identifier = NmTokenIdentifierProto {
            app_attempt_id: Some(attempt.into()),
            node_id: Some(node.into()),
            app_submitter: Some(user.to_string()),
            key_id: Some(1),
        };
        self.token(Kind::Node, identifier.encode_to_vec(), node.to_string())
    }

    /// For an application master that may start a container.
    pub fn container(&self, grant: &ContainerGrant) -> TokenProto {
        let kind = if grant.is_master { ContainerTypeProto::ApplicationMaster } else { ContainerTypeProto::Task };
        let identifier = ContainerTokenIdentifierProto {
            container_id: Some(grant.id.into()),
            nm_host_addr: Some(grant.node.to_string()),
            app_submitter: Some(grant.user.clone()),
            resource: Some(grant.resource.clone()),
            expiry_time_stamp: Some(grant.expires_ms),
            master_key_id: Some(1),
            rm_identifier: Some(self.cluster_timestamp.cast_signed()),
            priority: Some(PriorityProto { priority: Some(grant.priority) }),
            creation_time: Some(grant.created_ms),
            container_type: Some(kind.into()),
            ..ContainerTokenIdentifierProto::default()
        };
        self.token(Kind::Container, identifier.encode_to_vec(), grant.node.to_string())
    }

    fn token(&self, kind: Kind, identifier: Vec<u8>, service: String) -> TokenProto {
        let password = self.password(kind, &identifier);
        TokenProto { identifier, password, kind: kind.name().into(), service }
    }
}

/// What SASL calls name and password of a token's holder.
pub(crate) fn sasl_text(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// The bytes behind such a text.
pub(crate) fn from_sasl_text(text: &[u8]) -> Option<Vec<u8>> {
    BASE64_STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt() -> AttemptId {
        "appattempt_1700000000000_0001_000001".parse().unwrap()
    }

    #[test]
    fn only_the_secret_and_the_kind_of_an_instance_make_a_token() {
        let minter = Minter::new(b"secret", 1);
        let token = minter.am_rm(attempt());
        assert!(minter.is_genuine(Kind::AmRm, &token.identifier, &token.password));
        assert!(!minter.is_genuine(Kind::Node, &token.identifier, &token.password), "another kind");
        assert!(!Minter::new(b"other", 1).is_genuine(Kind::AmRm, &token.identifier, &token.password));
        assert!(!minter.is_genuine(Kind::AmRm, &token.identifier, &token.password[..19]));
        let changed = [token.identifier.as_slice(), &[0]].concat();
        assert!(!minter.is_genuine(Kind::AmRm, &changed, &token.password));
    }

    #[test]
    fn a_container_s_token_says_which_where_and_how_large() {
        let node = NodeAddress { host: "a1".into(), port: 4000 };
        let id: ContainerId = "container_1700000000000_0001_01_000002".parse().unwrap();
        let resource = ResourceProto { memory: Some(1024), virtual_cores: Some(1), ..ResourceProto::default() };
        let (created_ms, expires_ms) = (5, 600_005);
        let user = "ann".to_string();
        let grant = ContainerGrant { id, node, user, resource, priority: 20, created_ms, expires_ms, is_master: false };
        let token = Minter::new(b"secret", 1_700_000_000_000).container(&grant);
        let identifier = ContainerTokenIdentifierProto::decode(token.identifier.as_slice()).unwrap();
        assert_eq!(ContainerId::try_from(&identifier.container_id.unwrap()), Ok(id));
        assert_eq!(identifier.nm_host_addr.as_deref(), Some("a1:4000"));
        assert_eq!((token.service.as_str(), token.kind.as_str()), ("a1:4000", "ContainerToken"));
    }
}
