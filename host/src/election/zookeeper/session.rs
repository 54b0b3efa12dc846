//! Sessions with ZooKeeper, and what its answers mean.

use std::time::Duration;

use tokio::time::sleep;
use zookeeper_client::{Acl, Acls, Client, CreateMode, CreateOptions, Error, Permission};

use super::{ZooKeeperAddress, ZooKeeperAuth};
use crate::election::CoordinatorError;

/// How long a master may be silent before the next one leads, unless said otherwise.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The masters' alone, and for all to read.
static OWNER_AND_READERS: [Acl; 2] =
    [Acl::new_const(Permission::ALL, "auth", ""), Acl::new_const(Permission::READ, "world", "anyone")];

/// Where a cluster's nodes are, and who we are there.
#[derive(Debug, Clone)]
pub(super) struct Place {
    address: ZooKeeperAddress,
    auth: Option<ZooKeeperAuth>,
    session_timeout: Duration,
}

/// Why something wasn't done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The session is over: a new one may do better.
    Session,
    /// Nothing would.
    Final(CoordinatorError),
}

impl From<CoordinatorError> for Failure {
    fn from(error: CoordinatorError) -> Self {
        Self::Final(error)
    }
}

impl Place {
    /// The user is the given one, or the one in the address.
    pub(super) fn new(address: &ZooKeeperAddress, auth: Option<ZooKeeperAuth>, session_timeout: Duration) -> Self {
        Self { auth: auth.or_else(|| address.auth().cloned()), address: address.clone(), session_timeout }
    }

    /// The node of that name.
    pub(super) fn node(&self, name: &str) -> String {
        format!("{}/{name}", self.address.node())
    }

    /// The node that all others lie under.
    pub(super) fn root(&self) -> &str {
        self.address.node()
    }

    /// Nodes that anyone may read: they say which master leads.
    pub(super) fn shown(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(match self.auth {
            Some(_) => Acls::new(&OWNER_AND_READERS),
            None => Acls::anyone_all(),
        })
    }

    /// Nodes that hold the cluster's key and what frameworks stored.
    pub(super) fn hidden(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(match self.auth {
            Some(_) => Acls::creator_all(),
            None => Acls::anyone_all(),
        })
    }

    /// A new session, however long that takes.
    pub(super) async fn connect(&self, news: &mut News) -> Client {
        let mut pause = RETRY_FIRST;
        loop {
            let connector = Client::connector().with_session_timeout(self.session_timeout).with_fail_eagerly();
            let connector = match &self.auth {
                Some(auth) => connector.with_auth("digest", auth.credentials().as_bytes()),
                None => connector,
            };
            match connector.connect(&self.address.servers()).await {
                Ok(client) => {
                    news.reached(self);
                    return client;
                }
                Err(error) => news.away(self, &error),
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Asks until there is an answer.
    ///
    /// # Errors
    /// The answer is one, or the session is over.
    pub(super) async fn ask<T, Answer>(&self, client: &Client, mut request: impl FnMut() -> Answer) -> Result<T, Error>
    where
        Answer: Future<Output = Result<T, Error>>,
    {
        let mut pause = RETRY_FIRST;
        loop {
            match request().await {
                Err(error) if !is_answer(&error) => {
                    if client.state().is_terminated() {
                        return Err(Error::SessionExpired);
                    }
                    tracing::debug!("{}: asked again after: {error}", self.address);
                }
                answered => return answered,
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// What an error means for whoever wanted to do this to that node.
    pub(super) fn failure(&self, operation: &'static str, node: &str, error: Error) -> Failure {
        let (node, place) = (node.to_string(), self.address.to_string());
        match error {
            Error::SessionExpired | Error::SessionMoved | Error::ClientClosed | Error::AuthFailed => Failure::Session,
            Error::NoAuth | Error::InvalidAcl => {
                Failure::Final(CoordinatorError::Forbidden { operation, node, servers: self.address.servers() })
            }
            error => Failure::Final(CoordinatorError::ZooKeeper { operation, node, place, cause: error.to_string() }),
        }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.address.fmt(f)
    }
}

/// Whether this came from ZooKeeper, or nothing can come any more. Otherwise the request may have been carried out, or may still be.
pub(super) fn is_answer(error: &Error) -> bool {
    matches!(
        error,
        Error::NoNode
            | Error::NoAuth
            | Error::BadVersion
            | Error::NoChildrenForEphemerals
            | Error::NodeExists
            | Error::NotEmpty
            | Error::InvalidAcl
            | Error::BadArguments(_)
            | Error::QuotaExceeded
            | Error::Unimplemented
            | Error::MarshallingError
            | Error::UnexpectedErrorCode(_)
            | Error::SessionExpired
            | Error::AuthFailed
            | Error::SessionMoved
            | Error::ClientClosed
    )
}

/// What was said about the connection: each thing once.
#[derive(Debug, Default)]
pub(super) struct News {
    is_away: bool,
}

impl News {
    /// It can't be reached.
    pub(super) fn away(&mut self, place: &Place, cause: &dyn std::fmt::Display) {
        if !std::mem::replace(&mut self.is_away, true) {
            let servers = place.address.servers();
            tracing::warn!("ZooKeeper at {servers} can't be reached ({cause}); trying on, and what runs goes on");
        }
    }

    /// It can.
    pub(super) fn reached(&mut self, place: &Place) {
        if std::mem::take(&mut self.is_away) {
            tracing::warn!("ZooKeeper at {} is reached again", place.address.servers());
        }
    }
}
