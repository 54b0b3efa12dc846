//! Resources as text: `cpus:4;mem:4096;ports:[31000-32000];gpus:2;fpgas:{a,b}`, as Mesos writes them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::{Resources, decimal, milli, ranges};
use crate::v1::custom_resource::Value;
use crate::v1::{Range, Ranges, Set};

/// Why a text isn't a list of resources.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{part:?} in the resources is {problem}; write them like 'cpus:4;mem:4096;ports:[31000-32000]' (mem and disk in MB)"
)]
pub struct ParseError {
    /// The part that can't be read.
    pub part: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// Beyond it a decimal number of machine precision can't be told from its neighbour by thousandths.
const SCALAR_MAX: f64 = 1e12;

impl FromStr for Resources {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut all = Resources::default();
        let mut seen = BTreeSet::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = |problem| ParseError { part: part.to_string(), problem };
            let (name, value) = part.split_once(':').ok_or_else(|| bad("not NAME:VALUE"))?;
            let (name, value) = (name.trim(), value.trim());
            if !is_name(name) {
                return Err(bad("without a proper name"));
            }
            if !seen.insert(name) {
                return Err(bad("given twice"));
            }
            let value = parse_value(value).map_err(bad)?;
            all = match (name, value) {
                ("cpus", Value::Scalar(milli)) => Resources { cpus: milli, ..all },
                ("mem", Value::Scalar(milli)) => Resources { mem: milli, ..all },
                ("disk", Value::Scalar(milli)) => Resources { disk: milli, ..all },
                ("ports", Value::Ranges(ports)) if ports.range.iter().all(|range| range.end <= 65535) => {
                    all.with_ports(ports.range)
                }
                ("ports", Value::Ranges(_)) => return Err(bad("beyond port 65535")),
                ("cpus" | "mem" | "disk", _) => return Err(bad("not a number")),
                ("ports", _) => return Err(bad("not a list of ranges like [31000-32000]")),
                (_, value) => all.with_custom(name, value),
            };
        }
        Ok(all)
    }
}

/// Letters, digits, `_`, `-` and `.`, at least one.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Whether a set with this item can be written and read again.
pub(super) fn is_item(item: &str) -> bool {
    !item.is_empty() && item.trim() == item && !item.contains(|c: char| c.is_control() || "{},;".contains(c))
}

fn parse_value(text: &str) -> Result<Value, &'static str> {
    if let Some(list) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let parsed: Result<Vec<Range>, _> =
            list.split(',').filter(|part| !part.trim().is_empty()).map(parse_range).collect();
        return Ok(Value::Ranges(Ranges { range: ranges::canonical(parsed?) }));
    }
    if let Some(list) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        let items: BTreeSet<String> =
            list.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_string).collect();
        if !items.iter().all(|item| is_item(item)) {
            return Err("a set with an item that holds a bracket or a control character");
        }
        return Ok(Value::Set(Set { item: items.into_iter().collect() }));
    }
    match text.parse::<f64>() {
        Ok(number) if !number.is_finite() || number > SCALAR_MAX => Err("not a number that makes sense"),
        Ok(number) if number < 0.0 => Err("negative"),
        Ok(number) => Ok(Value::Scalar(milli(number))),
        Err(_) => Err("neither a number, nor [ranges], nor a {set}"),
    }
}

fn parse_range(text: &str) -> Result<Range, &'static str> {
    let (begin, end) = text.split_once('-').unwrap_or((text, text));
    let begin: u64 = begin.trim().parse().map_err(|_| "not a range of whole numbers")?;
    let end: u64 = end.trim().parse().map_err(|_| "not a range of whole numbers")?;
    if begin > end {
        return Err("a range that ends before it begins");
    }
    if end == u64::MAX {
        return Err("a range beyond all bounds");
    }
    Ok(Range { begin, end })
}

/// A custom resource's value as text; `none` if there is none.
pub(super) fn value_text(value: Option<&Value>) -> String {
    match value {
        Some(Value::Scalar(milli)) => decimal(*milli),
        Some(Value::Ranges(ranges)) => ranges::text(&ranges.range),
        Some(Value::Set(set)) => format!("{{{}}}", set.item.join(",")),
        None => "none".to_string(),
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        for (name, value) in [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk)] {
            if value != 0 {
                parts.push(format!("{name}:{}", decimal(value)));
            }
        }
        if !self.ports.is_empty() {
            parts.push(format!("ports:{}", ranges::text(&self.ports)));
        }
        for resource in &self.custom {
            parts.push(format!("{}:{}", resource.name, value_text(resource.value.as_ref())));
        }
        f.write_str(&if parts.is_empty() { "nothing".to_string() } else { parts.join(";") })
    }
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
