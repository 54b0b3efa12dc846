//! Versions of plugins and of the plugin API.

use std::{cmp::Ordering, fmt, str::FromStr};

use serde::Deserialize;

/// `major.minor.patch`, perhaps with a pre-release after a hyphen, as Cargo has them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Version {
    /// Changes when something breaks.
    pub major: u64,
    /// Changes when something is added; in 0.x, when something breaks.
    pub minor: u64,
    /// Changes when something is mended; in 0.x, when something is added.
    pub patch: u64,
    /// `alpha.1` in `1.0.0-alpha.1`, or empty.
    pub pre: String,
}

/// A text that is no version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no version; it should be like 0.1.0")]
pub struct VersionError(String);

impl Version {
    /// Whether a plugin built with the API version `plugin` runs in a host that speaks `self`: the same major version
    /// (in 0.x: minor), and nothing that this host lacks. A pre-release promises nothing: it fits itself alone.
    pub fn takes(&self, plugin: &Self) -> bool {
        if !self.pre.is_empty() || !plugin.pre.is_empty() {
            return self == plugin;
        }
        let (host_line, host_additions) = self.line();
        let (plugin_line, plugin_additions) = plugin.line();
        host_line == plugin_line && plugin_additions <= host_additions
    }

    /// What has to be the same, and what may only grow.
    fn line(&self) -> ((u64, u64), u64) {
        match self.major {
            0 => ((0, self.minor), self.patch),
            major => ((major, 0), self.minor),
        }
    }

    /// Whether the text after `@` in `hadoop@0.1` means this version: equal to it, or to its first parts.
    pub fn matches(&self, wanted: &str) -> bool {
        let own = self.to_string();
        own == wanted || own.strip_prefix(wanted).is_some_and(|rest| !wanted.is_empty() && rest.starts_with(['.', '-']))
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(text.to_owned());
        // Build metadata says nothing about order.
        let version = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, pre) = version.split_once('-').unwrap_or((version, ""));
        let number = |part: &str| match part.bytes().all(|byte| byte.is_ascii_digit()) {
            true => part.parse().map_err(|_| error()),
            false => Err(error()),
        };
        let is_part =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let pre_is_good = !version.contains('-') || pre.split('.').all(is_part);
        match numbers.split('.').collect::<Vec<_>>()[..] {
            [major, minor, patch] if pre_is_good => {
                let (major, minor, patch) = (number(major)?, number(minor)?, number(patch)?);
                Ok(Self { major, minor, patch, pre: pre.to_owned() })
            }
            _ => Err(error()),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        text.parse()
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        match self.pre.is_empty() {
            true => Ok(()),
            false => write!(f, "-{}", self.pre),
        }
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let numbers = |version: &Self| (version.major, version.minor, version.patch);
        // A pre-release comes before its release; among themselves they are ordered as texts, which is enough here.
        let pre = |version: &Self| (version.pre.is_empty(), version.pre.clone());
        numbers(self).cmp(&numbers(other)).then_with(|| pre(self).cmp(&pre(other)))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
