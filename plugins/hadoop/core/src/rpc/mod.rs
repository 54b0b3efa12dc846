//! Hadoop RPC v9, server side: bytes in, calls out; answers in, bytes out.
//!
//! ```text
//! "hrpc" 9 class auth │ SASL: NEGOTIATE ▶ ◀ NEGOTIATE with a challenge, INITIATE ▶ ◀ SUCCESS │ context │ call ▶ ◀ answer …
//!                     └── only where auth is 0xDF ──────────────────────────────────────────┘
//! ```
//!
//! Every packet is a 4-byte length and delimited messages. [`Connection`] holds no socket and no randomness: whoever owns the socket
//! gives it what arrives and a nonce.

pub mod client;
mod connection;
mod digest;
mod frame;

pub use connection::{Access, CallKey, Caller, Connection, Incoming, Output, Passwords};
pub use frame::{FRAME_BYTES_MAX, FrameError};

use crate::messages::Exception;

/// Java's names of what callers act upon.
pub mod class {
    /// No application of that id.
    pub const APPLICATION_NOT_FOUND: &str = "org.apache.hadoop.yarn.exceptions.ApplicationNotFoundException";
    /// No attempt of that id is known: its master ends.
    pub const ATTEMPT_NOT_FOUND: &str = "org.apache.hadoop.yarn.exceptions.ApplicationAttemptNotFoundException";
    /// No container of that id.
    pub const CONTAINER_NOT_FOUND: &str = "org.apache.hadoop.yarn.exceptions.ContainerNotFoundException";
    /// The master registers (again) and sends its asks again.
    pub const MASTER_NOT_REGISTERED: &str = "org.apache.hadoop.yarn.exceptions.ApplicationMasterNotRegisteredException";
    /// More than any node has, or nonsense.
    pub const INVALID_RESOURCE: &str = "org.apache.hadoop.yarn.exceptions.InvalidResourceRequestException";
    /// A container's token is wrong, late, or for another.
    pub const INVALID_CONTAINER: &str = "org.apache.hadoop.yarn.exceptions.InvalidContainerException";
    /// Anything else that YARN says.
    pub const YARN: &str = "org.apache.hadoop.yarn.exceptions.YarnException";
    /// The caller may not.
    pub const ACCESS_CONTROL: &str = "org.apache.hadoop.security.AccessControlException";
    /// The token is not one of ours.
    pub const INVALID_TOKEN: &str = "org.apache.hadoop.security.token.SecretManager$InvalidToken";
    /// Not a method of the protocol.
    pub const NO_SUCH_METHOD: &str = "org.apache.hadoop.ipc.RpcNoSuchMethodException";
    /// Not a protocol of the server.
    pub const NO_SUCH_PROTOCOL: &str = "org.apache.hadoop.ipc.RpcNoSuchProtocolException";
    /// Trouble that passes.
    pub const IO: &str = "java.io.IOException";
}

impl Exception {
    /// Of a Java class, with a line for people.
    pub fn new(class: &str, message: impl Into<String>) -> Self {
        Self { class: class.to_string(), message: message.into() }
    }
}

#[cfg(test)]
mod tests;
