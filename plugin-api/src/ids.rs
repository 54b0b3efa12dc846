//! Ids: strings of their own type, so that no two kinds can be confused.

use std::fmt;

use serde::{Serialize, Serializer};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Message)]
        #[prost(skip_debug)]
        pub struct $name {
            #[prost(string, required, tag = "1")]
            value: String,
        }

        impl $name {
            /// Names a thing; the text is taken as it is.
            pub fn new(value: impl Into<String>) -> Self {
                Self { value: value.into() }
            }

            /// The text of the id.
            pub fn as_str(&self) -> &str {
                &self.value
            }
        }

        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self::new(value)
            }
        }

        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self { value }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.value)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.value)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.value)
            }
        }
    };
}

id!(/// A framework, for as long as it lives, over restarts of its scheduler half.
    FrameworkId);
id!(/// An agent, for as long as its machine's checkpoints live.
    AgentId);
id!(/// One offer; never used twice.
    OfferId);
id!(/// A task; chosen by its framework and unique within it.
    TaskId);
id!(/// An executor; chosen by its framework and unique within it on one agent.
    ExecutorId);

/// The longest id that a peer may choose, in bytes.
pub const ID_LENGTH_MAX: usize = 200;

impl TaskId {
    /// Why the id can't be used as one, if so: it names a folder and a line in a listing.
    pub fn problem(&self) -> Option<&'static str> {
        problem(&self.value)
    }
}

impl ExecutorId {
    /// Why the id can't be used as one, if so: it names a folder and a line in a listing.
    pub fn problem(&self) -> Option<&'static str> {
        problem(&self.value)
    }
}

fn problem(value: &str) -> Option<&'static str> {
    match value {
        "" => Some("is empty"),
        "." | ".." => Some("is a name that folders reserve"),
        _ if value.len() > ID_LENGTH_MAX => Some("is longer than 200 bytes"),
        _ if value.chars().any(|c| c == '/' || c.is_whitespace() || c.is_control()) => {
            Some("holds a slash, white space or a control character")
        }
        _ => None,
    }
}
