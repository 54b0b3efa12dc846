//! The part of resources that shares and gangs are reckoned in: amounts, in thousandths.

use std::collections::BTreeMap;

use mesos_plugin_api::v1::Resources;
use mesos_plugin_api::v1::custom_resource::Value;

/// An amount of each scalar. May go below zero while a plan is reckoned; never in what is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Scalars {
    /// cpus, mem, disk.
    standard: [i64; 3],
    /// Zeroes aren't kept, so that equal amounts compare equal.
    custom: BTreeMap<String, i64>,
}

const STANDARD: [&str; 3] = ["cpus", "mem", "disk"];

impl Scalars {
    pub(super) fn of(resources: &Resources) -> Self {
        let mut scalars = Self::default();
        scalars.add(resources);
        scalars
    }

    pub(super) fn add(&mut self, resources: &Resources) {
        self.add_times(resources, 1);
    }

    pub(super) fn sub(&mut self, resources: &Resources) {
        self.add_times(resources, -1);
    }

    fn add_times(&mut self, resources: &Resources, sign: i64) {
        self.standard[0] += sign * resources.cpus_milli();
        self.standard[1] += sign * resources.mem_milli();
        self.standard[2] += sign * resources.disk_milli();
        for resource in resources.custom() {
            if let Some(Value::Scalar(milli)) = resource.value {
                self.add_custom(&resource.name, sign * milli);
            }
        }
    }

    fn add_custom(&mut self, name: &str, milli: i64) {
        match self.custom.get_mut(name) {
            Some(value) => *value += milli,
            None => drop(self.custom.insert(name.to_string(), milli)),
        }
        if self.custom.get(name) == Some(&0) {
            self.custom.remove(name);
        }
    }

    pub(super) fn plus(&mut self, other: &Scalars) {
        self.plus_times(other, 1);
    }

    pub(super) fn minus(&mut self, other: &Scalars) {
        self.plus_times(other, -1);
    }

    pub(super) fn plus_times(&mut self, other: &Scalars, times: i64) {
        for (mine, theirs) in self.standard.iter_mut().zip(other.standard) {
            *mine = mine.saturating_add(theirs.saturating_mul(times));
        }
        for (name, milli) in &other.custom {
            self.add_custom(name, milli.saturating_mul(times));
        }
    }

    /// The smaller of each amount, at least nothing.
    pub(super) fn within(&self, limit: &Scalars) -> Scalars {
        let mut least = Scalars::default();
        for index in 0..3 {
            least.standard[index] = self.standard[index].min(limit.standard[index]).max(0);
        }
        for (name, milli) in &self.custom {
            let milli = (*milli).min(limit.get(name)).max(0);
            least.add_custom(name, milli);
        }
        least
    }

    /// In thousandths.
    pub(super) fn cpus_and_mem(&self) -> (i64, i64) {
        (self.standard[0], self.standard[1])
    }

    pub(super) fn is_zero(&self) -> bool {
        self.standard == [0; 3] && self.custom.is_empty()
    }

    pub(super) fn any_negative(&self) -> bool {
        self.amounts().any(|(_, milli)| milli < 0)
    }

    pub(super) fn covers(&self, other: &Scalars) -> bool {
        other.amounts().all(|(name, milli)| self.get(name) >= milli)
    }

    /// How much of `wanted` is here, summed over its amounts: from none to the number of them.
    pub(super) fn part_of(&self, wanted: &Scalars) -> f64 {
        let part = |(name, milli): (&str, i64)| (self.get(name) as f64 / milli as f64).clamp(0.0, 1.0);
        wanted.amounts().filter(|(_, milli)| *milli > 0).map(part).sum()
    }

    /// How often `per_slot` fits in here beside one `per_agent`.
    pub(super) fn slots(&self, per_agent: &Scalars, per_slot: &Scalars) -> u32 {
        if !self.covers(per_agent) {
            return 0;
        }
        let fits = |(name, milli): (&str, i64)| (self.get(name) - per_agent.get(name)) / milli;
        let least = per_slot.amounts().filter(|(_, milli)| *milli > 0).map(fits).min().unwrap_or(i64::MAX);
        u32::try_from(least.max(0)).unwrap_or(u32::MAX)
    }

    /// The largest part of any of the cluster's scalars that this is: the dominant share of the DRF paper (Ghodsi et al.,
    /// NSDI 2011, section 4).
    pub(super) fn dominant_share(&self, cluster: &Scalars) -> f64 {
        let mut share = 0.0_f64;
        for index in 0..3 {
            if cluster.standard[index] > 0 {
                share = share.max(self.standard[index] as f64 / cluster.standard[index] as f64);
            }
        }
        for (name, milli) in &self.custom {
            let whole = cluster.get(name);
            if whole > 0 {
                share = share.max(*milli as f64 / whole as f64);
            }
        }
        share
    }

    /// The same as resources. Thousandths pass through `f64` unharmed: they are far below 2^53.
    pub(super) fn resources(&self) -> Resources {
        let [cpus, mem, disk] = self.standard.map(|milli| milli as f64 / 1000.0);
        let standard = Resources::new(cpus, mem).with_disk(disk);
        self.custom.iter().fold(standard, |all, (name, milli)| all.with_custom(name, Value::Scalar(*milli)))
    }

    fn get(&self, name: &str) -> i64 {
        match STANDARD.iter().position(|standard| *standard == name) {
            Some(index) => self.standard[index],
            None => self.custom.get(name).copied().unwrap_or(0),
        }
    }

    fn amounts(&self) -> impl Iterator<Item = (&str, i64)> {
        let custom = self.custom.iter().map(|(name, milli)| (name.as_str(), *milli));
        STANDARD.into_iter().zip(self.standard).chain(custom)
    }
}
