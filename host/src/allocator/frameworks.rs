//! Frameworks and the roles whose shares they live on.

use std::collections::{BTreeMap, BTreeSet};

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::FrameworkId;

use super::bits::Bits;
use super::scalars::Scalars;
use super::why::Tally;

#[derive(Debug)]
pub(super) struct Framework {
    pub(super) id: FrameworkId,
    /// None until it subscribes: an agent that registered first may name it.
    pub(super) role: Option<u32>,
    pub(super) active: bool,
    pub(super) suppressed: bool,
    /// It wants to be shown everything: it is new, revived or back.
    pub(super) fresh: bool,
    pub(super) allocated: Scalars,
    /// Offers so far: of two with the same share, the one with fewer goes first.
    pub(super) offers: u64,
    /// Agents whose present resources one of its filters covers.
    pub(super) filtered: Bits,
    /// Agents on which it has a filter, by the time at which that ends.
    pub(super) expiries: BTreeMap<Time, BTreeSet<u32>>,
    /// Agents that it declined for no time.
    pub(super) passed: Bits,
    pub(super) tally: Tally,
}

impl Framework {
    pub(super) fn new(id: FrameworkId) -> Self {
        Self {
            id,
            role: None,
            active: false,
            suppressed: false,
            fresh: false,
            allocated: Scalars::default(),
            offers: 0,
            filtered: Bits::default(),
            expiries: BTreeMap::new(),
            passed: Bits::default(),
            tally: Tally::default(),
        }
    }

    pub(super) fn wants_offers(&self) -> bool {
        self.active && !self.suppressed
    }
}

#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: String,
    pub(super) weight: f64,
    pub(super) allocated: Scalars,
    /// Frameworks that live on it. Without any, and with the weight that all have, it is forgotten.
    pub(super) members: u32,
}

impl Role {
    /// A role that nothing is known of.
    pub(super) fn new(name: String) -> Self {
        Self { name, weight: 1.0, allocated: Scalars::default(), members: 0 }
    }

    pub(super) fn share(&self, cluster: &Scalars) -> f64 {
        self.allocated.dominant_share(cluster) / self.weight
    }
}
