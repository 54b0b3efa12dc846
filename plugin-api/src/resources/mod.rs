//! Resources: what an agent has, an offer holds or a task uses, in fixed-point arithmetic.
//!
//! ```text
//! text  ──parse──▶ Resources ──+ −, contains, times──▶ Resources ──Display──▶ text
//! ```
//!
//! Scalars are thousandths, as in Mesos: 0.1 + 0.2 is 0.3, and what is taken from an agent comes back exactly. Canonical form
//! (what every constructor here yields and [`Resources::checked`] ensures for what a peer sent): no negative scalar, ranges
//! sorted, disjoint and not adjacent, custom resources sorted by name, none of them empty.

mod parse;
mod ranges;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeSet;

use thiserror::Error;

pub use parse::ParseError;

use crate::v1::custom_resource::Value;
use crate::v1::{CustomResource, Range, Ranges, Set};

/// An amount of each resource; empty by default.
#[derive(Clone, PartialEq, prost::Message)]
#[prost(skip_debug)]
pub struct Resources {
    #[prost(sint64, tag = "1")]
    cpus: i64,
    #[prost(sint64, tag = "2")]
    mem: i64,
    #[prost(sint64, tag = "3")]
    disk: i64,
    #[prost(message, repeated, tag = "4")]
    ports: Vec<Range>,
    #[prost(message, repeated, tag = "5")]
    custom: Vec<CustomResource>,
}

/// What is missing when more is asked than there is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{asked} {name} asked, {available} available")]
pub struct Shortage {
    /// The resource that is short.
    pub name: String,
    /// How much of it was asked, as text.
    pub asked: String,
    /// How much of it there is, as text.
    pub available: String,
}

/// Why a peer's resources can't be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidResources {
    /// A scalar below zero.
    #[error("{name} is negative")]
    Negative {
        /// The resource.
        name: String,
    },
    /// A range that ends before it begins, or ports above 65535.
    #[error("{name} holds the impossible range {begin}-{end}")]
    BadRange {
        /// The resource.
        name: String,
        /// Its lower end.
        begin: u64,
        /// Its upper end.
        end: u64,
    },
    /// A custom resource without a value, with the name of a standard one, or twice.
    #[error("the custom resource {name:?} is {problem}")]
    BadCustom {
        /// The resource.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Thousandths from a decimal number, rounded.
pub fn milli(value: f64) -> i64 {
    (value * 1000.0).round() as i64
}

/// A decimal number from thousandths, without trailing zeros.
pub fn decimal(milli: i64) -> String {
    let sign = if milli < 0 { "-" } else { "" };
    let (whole, part) = (milli.unsigned_abs() / 1000, milli.unsigned_abs() % 1000);
    if part == 0 {
        format!("{sign}{whole}")
    } else {
        format!("{sign}{whole}.{part:03}").trim_end_matches('0').to_string()
    }
}

impl Resources {
    /// Cores, megabytes of memory.
    pub fn new(cpus: f64, mem: f64) -> Self {
        Self::default().with_cpus(cpus).with_mem(mem)
    }

    /// The same with so many cores.
    pub fn with_cpus(mut self, cpus: f64) -> Self {
        self.cpus = milli(cpus);
        self
    }

    /// The same with so many megabytes of memory.
    pub fn with_mem(mut self, mem: f64) -> Self {
        self.mem = milli(mem);
        self
    }

    /// The same with so many megabytes of disk.
    pub fn with_disk(mut self, disk: f64) -> Self {
        self.disk = milli(disk);
        self
    }

    /// The same with these ports.
    pub fn with_ports(mut self, ports: impl IntoIterator<Item = Range>) -> Self {
        self.ports = ranges::canonical(ports.into_iter().collect());
        self
    }

    /// The same with this much of a custom resource, replacing what it held; empty values remove it.
    pub fn with_custom(mut self, name: &str, value: Value) -> Self {
        self.custom.retain(|resource| resource.name != name);
        if !is_empty(&value) {
            self.custom.push(CustomResource { name: name.to_string(), value: Some(value) });
            self.custom.sort_by(|a, b| a.name.cmp(&b.name));
        }
        self
    }

    /// Cores, in thousandths.
    pub fn cpus_milli(&self) -> i64 {
        self.cpus
    }

    /// Memory, in thousandths of a megabyte.
    pub fn mem_milli(&self) -> i64 {
        self.mem
    }

    /// Disk, in thousandths of a megabyte.
    pub fn disk_milli(&self) -> i64 {
        self.disk
    }

    /// Cores.
    pub fn cpus(&self) -> f64 {
        self.cpus_milli() as f64 / 1000.0
    }

    /// Megabytes of memory.
    pub fn mem(&self) -> f64 {
        self.mem_milli() as f64 / 1000.0
    }

    /// Megabytes of disk.
    pub fn disk(&self) -> f64 {
        self.disk_milli() as f64 / 1000.0
    }

    /// Ports, in ascending ranges.
    pub fn ports(&self) -> &[Range] {
        &self.ports
    }

    /// The lowest `count` ports; fewer if there are fewer.
    pub fn first_ports(&self, count: usize) -> Vec<u64> {
        self.ports.iter().flat_map(|range| range.begin..=range.end).take(count).collect()
    }

    /// Custom resources, by name.
    pub fn custom(&self) -> &[CustomResource] {
        &self.custom
    }

    /// Name and thousandths of each scalar that isn't zero; cpus, mem and disk first.
    pub fn scalars(&self) -> impl Iterator<Item = (&str, i64)> {
        let standard = [("cpus", self.cpus_milli()), ("mem", self.mem_milli()), ("disk", self.disk_milli())];
        let custom = self.custom.iter().filter_map(|resource| match resource.value {
            Some(Value::Scalar(milli)) => Some((resource.name.as_str(), milli)),
            _ => None,
        });
        standard.into_iter().chain(custom).filter(|(_, milli)| *milli != 0)
    }

    /// Nothing of anything.
    pub fn is_empty(&self) -> bool {
        self.cpus_milli() == 0
            && self.mem_milli() == 0
            && self.disk_milli() == 0
            && self.ports.is_empty()
            && self.custom.is_empty()
    }

    /// What a peer sent, in canonical form.
    ///
    /// # Errors
    /// A value that no agent can have: negative, a range upside down, a custom resource without a value.
    pub fn checked(mut self) -> Result<Self, InvalidResources> {
        for (name, value) in [("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk)] {
            if value < 0 {
                return Err(InvalidResources::Negative { name: name.to_string() });
            }
        }
        ranges::check("ports", &self.ports, 65535)?;
        self.ports = ranges::canonical(self.ports);
        let mut names = BTreeSet::new();
        for resource in &self.custom {
            check_custom(resource, &mut names)?;
        }
        let custom = std::mem::take(&mut self.custom);
        Ok(custom.into_iter().fold(self, |all, resource| match resource.value {
            Some(Value::Ranges(r)) => {
                all.with_custom(&resource.name, Value::Ranges(Ranges { range: ranges::canonical(r.range) }))
            }
            Some(Value::Set(s)) => {
                let items: BTreeSet<String> = s.item.into_iter().collect();
                all.with_custom(&resource.name, Value::Set(Set { item: items.into_iter().collect() }))
            }
            Some(value) => all.with_custom(&resource.name, value),
            None => all,
        }))
    }

    /// Whether all of `other` is in here.
    pub fn contains(&self, other: &Resources) -> bool {
        self.cpus_milli() >= other.cpus_milli()
            && self.mem_milli() >= other.mem_milli()
            && self.disk_milli() >= other.disk_milli()
            && ranges::contains(&self.ports, &other.ports)
            && other.custom.iter().all(|wanted| holds(self.value_of(&wanted.name), wanted.value.as_ref()))
    }

    /// Takes `other` out.
    ///
    /// # Errors
    /// The first resource of which there isn't enough; `self` is unchanged then.
    pub fn checked_sub(&self, other: &Resources) -> Result<Resources, Shortage> {
        if let Some(shortage) = self.shortage(other) {
            return Err(shortage);
        }
        let mut rest = self.clone();
        rest.cpus = self.cpus - other.cpus;
        rest.mem = self.mem - other.mem;
        rest.disk = self.disk - other.disk;
        rest.ports = ranges::difference(&self.ports, &other.ports);
        for taken in &other.custom {
            let left = without(self.value_of(&taken.name), taken.value.as_ref());
            rest = rest.with_custom(&taken.name, left);
        }
        Ok(rest)
    }

    /// What both have of each resource: the smaller amount, the ports, ranges and items that are in both.
    pub fn common(&self, other: &Resources) -> Resources {
        let standard = Resources {
            cpus: self.cpus.min(other.cpus),
            mem: self.mem.min(other.mem),
            disk: self.disk.min(other.disk),
            ports: ranges::common(&self.ports, &other.ports),
            custom: Vec::new(),
        };
        self.custom.iter().fold(standard, |all, mine| {
            let both = common(mine.value.as_ref(), other.value_of(&mine.name));
            all.with_custom(&mine.name, both)
        })
    }

    /// The first resource of which `self` has less than `asked` wants.
    pub fn shortage(&self, asked: &Resources) -> Option<Shortage> {
        let standard = [
            ("cpus", asked.cpus_milli(), self.cpus_milli()),
            ("mem", asked.mem_milli(), self.mem_milli()),
            ("disk", asked.disk_milli(), self.disk_milli()),
        ];
        for (name, asked, available) in standard {
            if asked > available {
                let unit = if name == "cpus" { "" } else { " MB" };
                return Some(Shortage {
                    name: name.to_string(),
                    asked: format!("{}{unit}", decimal(asked)),
                    available: format!("{}{unit}", decimal(available)),
                });
            }
        }
        if !ranges::contains(&self.ports, &asked.ports) {
            return Some(Shortage {
                name: "ports".to_string(),
                asked: ranges::text(&asked.ports),
                available: ranges::text(&self.ports),
            });
        }
        asked.custom.iter().find(|wanted| !holds(self.value_of(&wanted.name), wanted.value.as_ref())).map(|wanted| {
            Shortage {
                name: wanted.name.clone(),
                asked: parse::value_text(wanted.value.as_ref()),
                available: parse::value_text(self.value_of(&wanted.name)),
            }
        })
    }

    /// So many times these scalars; ports, ranges and sets can't be multiplied and are left out.
    pub fn scalars_times(&self, count: u32) -> Resources {
        let count = i64::from(count);
        let mut product = Resources {
            cpus: self.cpus.saturating_mul(count),
            mem: self.mem.saturating_mul(count),
            disk: self.disk.saturating_mul(count),
            ..Resources::default()
        };
        for resource in &self.custom {
            if let Some(Value::Scalar(milli)) = resource.value {
                product = product.with_custom(&resource.name, Value::Scalar(milli.saturating_mul(count)));
            }
        }
        product
    }

    /// How many times the scalars of `per` fit in here; `u32::MAX` if `per` has none.
    pub fn times(&self, per: &Resources) -> u32 {
        let of = |name: &str| match name {
            "cpus" => self.cpus_milli(),
            "mem" => self.mem_milli(),
            "disk" => self.disk_milli(),
            _ => match self.value_of(name) {
                Some(Value::Scalar(milli)) => *milli,
                _ => 0,
            },
        };
        per.scalars().map(|(name, milli)| u32::try_from(of(name) / milli).unwrap_or(u32::MAX)).min().unwrap_or(u32::MAX)
    }

    fn value_of(&self, name: &str) -> Option<&Value> {
        self.custom.iter().find(|resource| resource.name == name).and_then(|resource| resource.value.as_ref())
    }
}

impl std::ops::Add<&Resources> for Resources {
    type Output = Resources;

    fn add(mut self, other: &Resources) -> Resources {
        self += other;
        self
    }
}

impl std::ops::AddAssign<&Resources> for Resources {
    fn add_assign(&mut self, other: &Resources) {
        self.cpus = self.cpus.saturating_add(other.cpus);
        self.mem = self.mem.saturating_add(other.mem);
        self.disk = self.disk.saturating_add(other.disk);
        if !other.ports.is_empty() {
            self.ports = ranges::canonical(self.ports.iter().chain(&other.ports).cloned().collect());
        }
        for added in &other.custom {
            let sum = with(self.value_of(&added.name), added.value.as_ref());
            *self = std::mem::take(self).with_custom(&added.name, sum);
        }
    }
}

impl std::iter::Sum for Resources {
    fn sum<I: Iterator<Item = Resources>>(all: I) -> Resources {
        all.fold(Resources::default(), |sum, one| sum + &one)
    }
}

impl<'a> std::iter::Sum<&'a Resources> for Resources {
    fn sum<I: Iterator<Item = &'a Resources>>(all: I) -> Resources {
        all.fold(Resources::default(), |sum, one| sum + one)
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Scalar(milli) => *milli == 0,
        Value::Ranges(ranges) => ranges.range.is_empty(),
        Value::Set(set) => set.item.is_empty(),
    }
}

fn check_custom<'a>(resource: &'a CustomResource, names: &mut BTreeSet<&'a str>) -> Result<(), InvalidResources> {
    let bad = |problem| Err(InvalidResources::BadCustom { name: resource.name.clone(), problem });
    if ["cpus", "mem", "disk", "ports"].contains(&resource.name.as_str()) {
        return bad("a standard one; it has a field of its own");
    }
    if !parse::is_name(&resource.name) {
        return bad("not a name (letters, digits, '_', '-', '.')");
    }
    if !names.insert(&resource.name) {
        return bad("given twice");
    }
    match &resource.value {
        None => bad("without a value"),
        Some(Value::Scalar(milli)) if milli.cmp(&0) == Ordering::Less => {
            Err(InvalidResources::Negative { name: resource.name.clone() })
        }
        Some(Value::Ranges(r)) => ranges::check(&resource.name, &r.range, u64::MAX - 1),
        Some(Value::Set(set)) if !set.item.iter().all(|item| parse::is_item(item)) => {
            bad("a set with an item that is empty or holds a comma, a semicolon, a bracket or a control character")
        }
        Some(_) => Ok(()),
    }
}

/// Whether `have` covers `wanted`; different kinds never do.
fn holds(have: Option<&Value>, wanted: Option<&Value>) -> bool {
    match (have, wanted) {
        (_, None) => true,
        (Some(Value::Scalar(have)), Some(Value::Scalar(wanted))) => have >= wanted,
        (Some(Value::Ranges(have)), Some(Value::Ranges(wanted))) => ranges::contains(&have.range, &wanted.range),
        (Some(Value::Set(have)), Some(Value::Set(wanted))) => wanted.item.iter().all(|item| have.item.contains(item)),
        _ => false,
    }
}

/// What both have; nothing of different kinds.
fn common(one: Option<&Value>, other: Option<&Value>) -> Value {
    match (one, other) {
        (Some(Value::Scalar(one)), Some(Value::Scalar(other))) => Value::Scalar(*one.min(other)),
        (Some(Value::Ranges(one)), Some(Value::Ranges(other))) => {
            Value::Ranges(Ranges { range: ranges::common(&one.range, &other.range) })
        }
        (Some(Value::Set(one)), Some(Value::Set(other))) => {
            Value::Set(Set { item: one.item.iter().filter(|item| other.item.contains(item)).cloned().collect() })
        }
        _ => Value::Scalar(0),
    }
}

/// `have` less `taken`; the caller has checked that it holds it.
fn without(have: Option<&Value>, taken: Option<&Value>) -> Value {
    match (have, taken) {
        (Some(Value::Scalar(have)), Some(Value::Scalar(taken))) => Value::Scalar(have - taken),
        (Some(Value::Ranges(have)), Some(Value::Ranges(taken))) => {
            Value::Ranges(Ranges { range: ranges::difference(&have.range, &taken.range) })
        }
        (Some(Value::Set(have)), Some(Value::Set(taken))) => {
            Value::Set(Set { item: have.item.iter().filter(|item| !taken.item.contains(item)).cloned().collect() })
        }
        (have, _) => have.cloned().unwrap_or(Value::Scalar(0)),
    }
}

/// `have` and `added` together. Different kinds under one name are refused when an agent registers.
fn with(have: Option<&Value>, added: Option<&Value>) -> Value {
    match (have, added) {
        (Some(Value::Scalar(have)), Some(Value::Scalar(added))) => Value::Scalar(have.saturating_add(*added)),
        (Some(Value::Ranges(have)), Some(Value::Ranges(added))) => {
            Value::Ranges(Ranges { range: ranges::canonical(have.range.iter().chain(&added.range).cloned().collect()) })
        }
        (Some(Value::Set(have)), Some(Value::Set(added))) => {
            let items: BTreeSet<&String> = have.item.iter().chain(&added.item).collect();
            Value::Set(Set { item: items.into_iter().cloned().collect() })
        }
        (have, added) => have.or(added).cloned().unwrap_or(Value::Scalar(0)),
    }
}
