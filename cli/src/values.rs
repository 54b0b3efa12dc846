//! Values as people type them: each reader returns what it understood, or a line that says what was wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use mesos_host::election::{AddressError, ZooKeeperAddress};
use mesos_plugin_api::resources;
use mesos_plugin_api::v1::attribute::Value as AttributeValue;
use mesos_plugin_api::v1::custom_resource::Value as CustomValue;
use mesos_plugin_api::v1::{Attribute, Resources};

/// The most cores or megabytes that one task or agent can be given; beyond it a number is a slip of the finger.
const AMOUNT_MAX: f64 = 1e9;

/// A number of cores: `0.5`, `4`.
pub fn cpus(text: &str) -> Result<f64, String> {
    let wanted = || format!("{text:?} is not a number of cores; write it like 0.5 or 4");
    let cpus: f64 = text.trim().parse().map_err(|_| wanted())?;
    if !cpus.is_finite() || !(0.001..=AMOUNT_MAX).contains(&cpus) {
        return Err(wanted());
    }
    Ok(cpus)
}

/// Megabytes: `512`, `512m`, `4g`, `1t`.
pub fn megabytes(text: &str) -> Result<f64, String> {
    let wanted = || format!("{text:?} is not an amount of memory; write megabytes like 512, or 4g");
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &lower[digits.len()..] {
        "" | "m" | "mb" | "mib" => 1.0,
        "k" | "kb" | "kib" => 1.0 / 1024.0,
        "g" | "gb" | "gib" => 1024.0,
        "t" | "tb" | "tib" => 1024.0 * 1024.0,
        _ => return Err(wanted()),
    };
    let megabytes = digits.parse::<f64>().map_err(|_| wanted())? * factor;
    if !megabytes.is_finite() || !(0.0..=AMOUNT_MAX).contains(&megabytes) {
        return Err(wanted());
    }
    Ok(megabytes)
}

/// A length of time: `90` (seconds), `500ms`, `1h30m`, `2d`, `01:30:00`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || format!("{text:?} is not a duration; write it like 90s, 5m, 1h30m or 2d");
    let trimmed = text.trim();
    let millis = if trimmed.contains(':') {
        clock(trimmed)
    } else if !trimmed.is_empty() && trimmed.chars().all(|c| c.is_ascii_digit()) {
        trimmed.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1000))
    } else {
        units(trimmed)
    };
    millis.map(Duration::from_millis).ok_or_else(wanted)
}

/// A length of time that isn't none.
pub fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err(format!("{text:?} is no time at all; write it like 5s")),
        period => Ok(period),
    }
}

/// How often in how long: `20/1m`.
pub fn rate(text: &str) -> Result<(u32, Duration), String> {
    let wanted = || format!("{text:?} is not a rate; write it like 1/20s or 20/1m");
    let (often, long) = text.trim().split_once('/').ok_or_else(wanted)?;
    Ok((count(often).map_err(|_| wanted())?, period(long).map_err(|_| wanted())?))
}

/// `MM:SS` or `HH:MM:SS`, in milliseconds.
fn clock(text: &str) -> Option<u64> {
    let parts: Vec<u64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let within_the_hour = parts.iter().skip(1).all(|part| *part < 60);
    match parts.as_slice() {
        [minutes, seconds] if within_the_hour => minutes.checked_mul(60)?.checked_add(*seconds)?.checked_mul(1000),
        [hours, minutes, seconds] if within_the_hour => {
            hours.checked_mul(3600)?.checked_add(minutes * 60 + seconds)?.checked_mul(1000)
        }
        _ => None,
    }
}

/// `1h30m`, in milliseconds.
fn units(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let unit = rest[number..].find(|c: char| !c.is_ascii_alphabetic()).map_or(rest.len(), |length| number + length);
        let millis = match &rest[number..unit] {
            "ms" => 1.0,
            "s" => 1e3,
            "m" | "min" => 60e3,
            "h" => 3600e3,
            "d" => 86_400e3,
            _ => return None,
        };
        let value = rest[..number].parse::<f64>().ok()? * millis;
        if value > 1e15 {
            return None;
        }
        total = total.checked_add(value.round() as u64)?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

/// A whole number from 1 on.
pub fn count(text: &str) -> Result<u32, String> {
    match text.trim().parse::<u32>() {
        Ok(0) => Err(format!("{text:?} is too few; 1 is the least")),
        Ok(count) => Ok(count),
        Err(_) => Err(format!("{text:?} is not a whole number")),
    }
}

/// A port; 0 for any that is free.
pub fn port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not a port; write a number from 0 (any free one) to 65535"))
}

/// `HOST:PORT`, also `[::1]:5050`.
pub fn address(text: &str) -> Result<String, String> {
    let wanted = || format!("{text:?} is not an address; write HOST:PORT, like 10.0.0.1:5050");
    let (host, port) = text.trim().rsplit_once(':').ok_or_else(wanted)?;
    let bare_v6 = host.contains(':') && !host.starts_with('[');
    if host.is_empty() || bare_v6 || host.contains(char::is_whitespace) || !port.parse::<u16>().is_ok_and(|p| p > 0) {
        return Err(wanted());
    }
    Ok(text.trim().to_string())
}

/// Where a master is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MasterPlace {
    /// At `HOST:PORT`.
    Address(String),
    /// Wherever the masters that meet there say.
    ZooKeeper(ZooKeeperAddress),
}

impl fmt::Display for MasterPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.write_str(address),
            Self::ZooKeeper(address) => address.fmt(f),
        }
    }
}

/// Where a master is: `HOST:PORT`, or `zk://host:2181,host:2181/mesos`.
pub fn master(text: &str) -> Result<MasterPlace, String> {
    if ZooKeeperAddress::is_meant(text.trim()) {
        return zookeeper(text).map(MasterPlace::ZooKeeper);
    }
    let or = |problem: String| format!("{problem}, or zk://HOST:PORT,HOST:PORT/mesos where masters meet in ZooKeeper");
    address(text).map(MasterPlace::Address).map_err(or)
}

/// Where masters meet: `zk://host:2181,host:2181/mesos`.
pub fn zookeeper(text: &str) -> Result<ZooKeeperAddress, String> {
    text.trim().parse().map_err(|error: AddressError| error.to_string())
}

/// How long a master may be silent before another one leads.
pub fn session_timeout(text: &str) -> Result<Duration, String> {
    let wanted = |_| format!("{text:?} is no session timeout; write it like 10s, between 1s and 5m");
    let timeout = duration(text).map_err(wanted)?;
    let sane = (Duration::from_secs(1)..=Duration::from_secs(300)).contains(&timeout);
    if sane { Ok(timeout) } else { Err(wanted(String::new())) }
}

/// Roles and what they count: `prod:2;dev:0.5`.
pub fn weights(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let mut weights = BTreeMap::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let wrong = || format!("{part:?} in the weights is not ROLE:WEIGHT; write them like 'prod:2;dev:0.5'");
        let (role, weight) = part.split_once(':').ok_or_else(wrong)?;
        let weight: f64 = weight.trim().parse().map_err(|_| wrong())?;
        let (role, sane) = (role.trim(), weight.is_finite() && weight > 0.0);
        if role.is_empty() || !sane || weights.insert(role.to_string(), weight).is_some() {
            return Err(format!("{part:?} in the weights must name a role once, with a number above 0"));
        }
    }
    Ok(weights)
}

/// The address to listen on.
pub fn ip(text: &str) -> Result<std::net::IpAddr, String> {
    text.trim().parse().map_err(|_| format!("{text:?} is not an IP address; write it like 127.0.0.1 or 0.0.0.0"))
}

/// What an agent offers: `cpus:4;mem:4096;ports:[31000-32000]`.
pub fn resources(text: &str) -> Result<Resources, String> {
    let parsed: Resources = text.parse().map_err(|error: resources::ParseError| error.to_string())?;
    if parsed.is_empty() {
        return Err(format!("{text:?} holds no resources; write them like 'cpus:4;mem:4096'"));
    }
    Ok(parsed)
}

/// Properties of an agent: `rack:r1;generation:3;disks:{ssd,nvme}`.
pub fn attributes(text: &str) -> Result<Vec<Attribute>, String> {
    let mut all: Vec<Attribute> = Vec::new();
    for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
        let bad = |problem: &str| format!("{part:?} in the attributes is {problem}; write them like 'rack:r1;zone:a'");
        let (name, value) = part.split_once(':').ok_or_else(|| bad("not NAME:VALUE"))?;
        let (name, value) = (name.trim(), value.trim());
        if name.is_empty() || value.is_empty() || name.contains(char::is_whitespace) {
            return Err(bad("without a proper name and value"));
        }
        if all.iter().any(|attribute| attribute.name == name) {
            return Err(bad("given twice"));
        }
        all.push(Attribute { name: name.to_string(), value: Some(attribute_value(value)) });
    }
    Ok(all)
}

/// A number, ranges or a set where the text reads as one, otherwise text as it is.
fn attribute_value(text: &str) -> AttributeValue {
    let as_resource: Option<Resources> = format!("x:{text}").parse().ok();
    match as_resource.and_then(|parsed| parsed.custom().first().and_then(|custom| custom.value.clone())) {
        Some(CustomValue::Scalar(milli)) => AttributeValue::Scalar(milli),
        Some(CustomValue::Ranges(ranges)) => AttributeValue::Ranges(ranges),
        Some(CustomValue::Set(set)) => AttributeValue::Set(set),
        None => AttributeValue::Text(text.to_string()),
    }
}

/// What happens to an agent's tasks when its process is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnAgentLoss {
    /// They run on; after so long without an agent they are killed.
    Keep(Duration),
    /// They are killed at once.
    Kill,
}

/// `kill`, `keep` or `keep:10m`.
pub fn on_agent_loss(text: &str) -> Result<OnAgentLoss, String> {
    const KEEP_DEFAULT: Duration = Duration::from_secs(15 * 60);
    match text.trim().split_once(':') {
        None if text.trim() == "kill" => Ok(OnAgentLoss::Kill),
        None if text.trim() == "keep" => Ok(OnAgentLoss::Keep(KEEP_DEFAULT)),
        Some(("keep", timeout)) => duration(timeout).map(OnAgentLoss::Keep),
        _ => Err(format!("{text:?} is neither kill, nor keep, nor keep:DURATION like keep:10m")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_name_each_role_once_with_a_number_above_zero() {
        let expected = BTreeMap::from([("dev".to_string(), 0.5), ("prod".to_string(), 2.0)]);
        assert_eq!(weights(" prod:2; dev:0.5;"), Ok(expected));
        for wrong in ["prod", "prod:x", "prod:0", "prod:-1", "prod:nan", ":2", "prod:1;prod:2"] {
            assert!(weights(wrong).is_err_and(|error| error.contains("in the weights")), "{wrong}");
        }
    }

    #[test]
    fn durations_as_people_write_them() {
        let cases = [("90", 90_000), ("500ms", 500), ("1h30m", 5_400_000), ("2d", 172_800_000), ("1.5s", 1500)];
        for (text, millis) in cases.into_iter().chain([("01:30", 90_000), ("1:00:01", 3_601_000), ("0", 0)]) {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5 parsecs", "1:60", "-3", "1h30", "99999999999999999999", "1:2:3:4", "1e9s"] {
            assert!(duration(text).unwrap_err().contains("is not a duration"), "{text}");
        }
    }

    #[test]
    fn memory_is_in_megabytes_unless_it_says_otherwise() {
        for (text, megabytes_wanted) in [("512", 512.0), ("4g", 4096.0), ("1.5GB", 1536.0), ("2048k", 2.0)] {
            assert_eq!(megabytes(text), Ok(megabytes_wanted), "{text}");
        }
        for text in ["", "g", "4x", "-1", "nan", "inf", "1e30"] {
            assert!(megabytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cores_are_positive_and_finite() {
        assert_eq!(cpus("0.5"), Ok(0.5));
        for text in ["0", "-1", "nan", "inf", "two", "1e12", ""] {
            assert!(cpus(text).unwrap_err().contains("number of cores"), "{text}");
        }
    }

    #[test]
    fn addresses_name_host_and_port() {
        for good in ["localhost:5050", "10.0.0.1:1", "[::1]:5050"] {
            assert_eq!(address(good), Ok(good.to_string()));
        }
        for bad in ["", "localhost", ":5050", "host:", "host:0", "host:65536", "::1:5050", "a b:1"] {
            assert!(address(bad).unwrap_err().contains("HOST:PORT"), "{bad}");
        }
    }

    #[test]
    fn attributes_keep_their_kinds() {
        let all = attributes("rack:r1; generation:3;disks:{nvme,ssd};slots:[1-4]").unwrap();
        let texts: Vec<String> = all.iter().map(|a| format!("{}={}", a.name, a.value_text())).collect();
        assert_eq!(texts, ["rack=r1", "generation=3", "disks={nvme,ssd}", "slots=[1-4]"]);
        assert!(matches!(all[1].value, Some(AttributeValue::Scalar(3000))));
        for bad in ["rack", "rack:", ":r1", "rack:r1;rack:r2"] {
            assert!(attributes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn tasks_are_kept_or_killed_when_the_agent_is_lost() {
        assert_eq!(on_agent_loss("kill"), Ok(OnAgentLoss::Kill));
        assert_eq!(on_agent_loss("keep:10m"), Ok(OnAgentLoss::Keep(Duration::from_secs(600))));
        for bad in ["", "keep:", "keep:soon", "drop", "kill:1s"] {
            assert!(on_agent_loss(bad).is_err(), "{bad}");
        }
    }

    /// Whatever is typed is understood, or refused in one line that can be shown.
    fn settles(text: &str) {
        let refusals = [
            cpus(text).err(),
            megabytes(text).err(),
            duration(text).err(),
            count(text).err(),
            port(text).err(),
            address(text).err(),
            weights(text).err(),
            ip(text).err(),
            resources(text).err(),
            attributes(text).err(),
            on_agent_loss(text).err(),
        ];
        for refusal in refusals.into_iter().flatten() {
            assert!(!refusal.contains(char::is_control), "{refusal:?}");
        }
        if let Ok(read) = resources(text)
            && !read.is_empty()
        {
            assert_eq!(resources(&read.to_string()), Ok(read), "{text:?} is written as it is read");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_settles(text in ".{0,40}") {
            settles(&text);
        }

        #[test]
        fn any_text_of_the_usual_signs_settles(text in "[0-9a-hkmst:;,.{}\\[\\] \\-\n]{0,30}") {
            settles(&text);
        }
    }
}
