//! The ids of applications, attempts and containers, and YARN's texts for them.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::messages::yarn::{ApplicationAttemptIdProto, ApplicationIdProto, ContainerIdProto};

/// `application_1700000000000_0001`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationId {
    /// Milliseconds since 1970 of the start of the instance that numbered it.
    pub cluster_timestamp: u64,
    /// From 1 on.
    pub number: u32,
}

/// `appattempt_1700000000000_0001_000001`: one run of an application's master.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// Whose attempt.
    pub application: ApplicationId,
    /// From 1 on.
    pub number: u32,
}

/// `container_1700000000000_0001_01_000001`. The first of an attempt is its master's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId {
    /// For whom it was allocated.
    pub attempt: AttemptId,
    /// From 1 on; in the bits from 40 on the epoch, which is 0 for those that this plugin numbers.
    pub number: u64,
}

/// Not an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// As a person or a message wrote it.
    #[error("{text:?} is no {wanted}")]
    Text {
        /// What was read.
        text: String,
        /// What it should look like.
        wanted: &'static str,
    },
    /// In a message.
    #[error("{what} lacks its {part}, or it is negative")]
    Part {
        /// Which id.
        what: &'static str,
        /// Which part of it.
        part: &'static str,
    },
}

/// Where the epoch begins in the number of a container.
const EPOCH_SHIFT: u32 = 40;

impl ContainerId {
    /// The number within its epoch.
    fn sequence(self) -> u64 {
        self.number & ((1 << EPOCH_SHIFT) - 1)
    }
}

impl fmt::Display for ApplicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "application_{}_{:04}", self.cluster_timestamp, self.number)
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ApplicationId { cluster_timestamp, number } = self.application;
        write!(f, "appattempt_{cluster_timestamp}_{number:04}_{:06}", self.number)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AttemptId { application: ApplicationId { cluster_timestamp, number }, number: attempt } = self.attempt;
        f.write_str("container_")?;
        match self.number >> EPOCH_SHIFT {
            0 => {}
            epoch => write!(f, "e{epoch:02}_")?,
        }
        write!(f, "{cluster_timestamp}_{number:04}_{attempt:02}_{:06}", self.sequence())
    }
}

impl FromStr for ApplicationId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let parts = text.strip_prefix("application_").and_then(|rest| rest.split_once('_'));
        parts
            .and_then(|(timestamp, number)| {
                Some(Self { cluster_timestamp: decimal(timestamp)?, number: decimal(number)? })
            })
            .ok_or_else(|| IdError::Text { text: text.into(), wanted: "application_TIME_NUMBER" })
    }
}

impl FromStr for AttemptId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.strip_prefix("appattempt_")
            .and_then(|rest| attempt(&rest.split('_').collect::<Vec<_>>()))
            .ok_or_else(|| IdError::Text { text: text.into(), wanted: "appattempt_TIME_NUMBER_ATTEMPT" })
    }
}

impl FromStr for ContainerId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        container(text)
            .ok_or_else(|| IdError::Text { text: text.into(), wanted: "container_TIME_NUMBER_ATTEMPT_CONTAINER" })
    }
}

fn container(text: &str) -> Option<ContainerId> {
    let rest = text.strip_prefix("container_")?;
    let (epoch, rest) = match rest.strip_prefix('e') {
        Some(rest) => rest.split_once('_').and_then(|(epoch, rest)| Some((decimal::<u64>(epoch)?, rest)))?,
        None => (0, rest),
    };
    let parts: Vec<&str> = rest.split('_').collect();
    let (number, rest) = parts.split_last()?;
    let number: u64 = decimal(number)?;
    let fits = number < 1 << EPOCH_SHIFT && epoch < 1 << (63 - EPOCH_SHIFT);
    fits.then_some(ContainerId { attempt: attempt(rest)?, number: epoch << EPOCH_SHIFT | number })
}

fn attempt(parts: &[&str]) -> Option<AttemptId> {
    let &[timestamp, application, number] = parts else { return None };
    let application = ApplicationId { cluster_timestamp: decimal(timestamp)?, number: decimal(application)? };
    Some(AttemptId { application, number: decimal(number)? })
}

/// Digits only: `parse` would take a sign too. No number here is larger than Java's of the same name.
fn decimal<T: TryFrom<i64>>(text: &str) -> Option<T> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse::<i64>().ok()).flatten().and_then(|number| T::try_from(number).ok())
}

impl TryFrom<&ApplicationIdProto> for ApplicationId {
    type Error = IdError;

    fn try_from(proto: &ApplicationIdProto) -> Result<Self, IdError> {
        const WHAT: &str = "an application's id";
        Ok(Self {
            cluster_timestamp: part(proto.cluster_timestamp, WHAT, "time")?,
            number: part(proto.id.map(i64::from), WHAT, "number")?,
        })
    }
}

impl TryFrom<&ApplicationAttemptIdProto> for AttemptId {
    type Error = IdError;

    fn try_from(proto: &ApplicationAttemptIdProto) -> Result<Self, IdError> {
        const WHAT: &str = "an attempt's id";
        let application = proto.application_id.as_ref().ok_or(IdError::Part { what: WHAT, part: "application" })?;
        let number = part(proto.attempt_id.map(i64::from), WHAT, "number")?;
        Ok(Self { application: application.try_into()?, number })
    }
}

impl TryFrom<&ContainerIdProto> for ContainerId {
    type Error = IdError;

    fn try_from(proto: &ContainerIdProto) -> Result<Self, IdError> {
        const WHAT: &str = "a container's id";
        let attempt = proto.app_attempt_id.as_ref().ok_or(IdError::Part { what: WHAT, part: "attempt" })?;
        Ok(Self { attempt: attempt.try_into()?, number: part(proto.id, WHAT, "number")? })
    }
}

fn part<T: TryFrom<i64>>(value: Option<i64>, what: &'static str, part: &'static str) -> Result<T, IdError> {
    value.and_then(|value| T::try_from(value).ok()).ok_or(IdError::Part { what, part })
}

impl From<ApplicationId> for ApplicationIdProto {
    fn from(id: ApplicationId) -> Self {
        Self { id: Some(id.number.cast_signed()), cluster_timestamp: Some(id.cluster_timestamp.cast_signed()) }
    }
}

impl From<AttemptId> for ApplicationAttemptIdProto {
    fn from(id: AttemptId) -> Self {
        Self { application_id: Some(id.application.into()), attempt_id: Some(id.number.cast_signed()) }
    }
}

impl From<ContainerId> for ContainerIdProto {
    fn from(id: ContainerId) -> Self {
        Self {
            app_id: Some(id.attempt.application.into()),
            app_attempt_id: Some(id.attempt.into()),
            id: Some(id.number.cast_signed()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_messages_say_the_same() {
        for text in ["container_1700000000000_0001_02_000003", "container_e17_1700000000000_12345_01_1234567"] {
            let id: ContainerId = text.parse().unwrap();
            assert_eq!(id.to_string(), text);
            assert_eq!(ContainerId::try_from(&ContainerIdProto::from(id)), Ok(id));
        }
        let id: AttemptId = "appattempt_1700000000000_0001_000002".parse().unwrap();
        assert_eq!(id.to_string(), "appattempt_1700000000000_0001_000002");
        assert_eq!(AttemptId::try_from(&ApplicationAttemptIdProto::from(id)), Ok(id));
        assert_eq!("application_1700000000000_0001".parse(), Ok(id.application));
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in
            ["", "container_", "container_1_1_1", "container_1_1_1_-1", "container_1_1_1_+1", "container_e_1_1_1_1"]
        {
            assert!(text.parse::<ContainerId>().is_err(), "{text}");
        }
        assert!("container_1_1_1_1099511627776".parse::<ContainerId>().is_err(), "it would run into the epoch");
        assert!("application_1_1_1".parse::<ApplicationId>().is_err());
        let negative = ApplicationIdProto { id: Some(-1), cluster_timestamp: Some(1) };
        assert!(ApplicationId::try_from(&negative).is_err());
        assert!(ContainerId::try_from(&ContainerIdProto::default()).is_err());
    }
}
