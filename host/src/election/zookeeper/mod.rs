//! Masters that meet in ZooKeeper.

mod address;
mod auth;

pub use address::{AddressError, ZooKeeperAddress};
pub use auth::{AuthError, ZooKeeperAuth};
