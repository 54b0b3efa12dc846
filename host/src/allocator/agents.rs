//! One agent's books: what it has, what is free, who has the rest and when that comes back.

use std::collections::BTreeMap;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::custom_resource::Value;
use mesos_plugin_api::v1::{AgentId, Resources};

use super::Part;
use super::filters::Refusal;
use super::scalars::Scalars;

#[derive(Debug)]
pub(super) struct Agent {
    pub(super) id: AgentId,
    pub(super) hostname: String,
    pub(super) total: Resources,
    /// What nobody has; `held` is part of it.
    pub(super) free: Resources,
    /// Kept for gangs.
    pub(super) held: Scalars,
    /// What each framework has, offers and reserved resources in use included; none of them empty.
    pub(super) allocated: Vec<(u32, Resources)>,
    /// Set aside by volumes; few agents have any, and rows that a cycle walks over stay small.
    pub(super) reserved: Option<Box<Reserved>>,
    /// The part of `allocated` that is known to come back by a time.
    pub(super) due: BTreeMap<(Time, u32), Scalars>,
    pub(super) active: bool,
    /// More is in use than it has, since an update took something away.
    pub(super) overcommitted: bool,
    /// A part that came back whole, to be offered again as it is: in a cycle over 50,000 agents, making each part anew takes
    /// longer than everything else.
    pub(super) spare: Option<Part>,
    pub(super) refusals: Vec<Refusal>,
    /// Frameworks that declined it for no time: others get their turn first.
    pub(super) passed_by: Vec<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Reserved {
    pub(super) all: Resources,
    /// The part that is in use, and allocated.
    pub(super) used: Resources,
}

impl Reserved {
    pub(super) fn idle(&self) -> Resources {
        self.all.checked_sub(&self.used).expect("only what is reserved is used as such")
    }
}

impl Agent {
    pub(super) fn new(id: AgentId, hostname: String, total: Resources) -> Self {
        let spare = Some(Part { agent: id.clone(), resources: total.clone(), slots: None });
        Self {
            id,
            hostname,
            free: total.clone(),
            total,
            held: Scalars::default(),
            allocated: Vec::new(),
            reserved: None,
            due: BTreeMap::new(),
            active: true,
            overcommitted: false,
            spare,
            refusals: Vec::new(),
            passed_by: Vec::new(),
        }
    }

    /// What may be offered to anyone.
    pub(super) fn available(&self) -> Resources {
        if self.held.is_zero() { self.free.clone() } else { less(&self.free, &self.held) }
    }

    /// Takes all that is available out of what is free, as a part of an offer.
    pub(super) fn take_available(&mut self, framework: u32) -> Part {
        if !self.held.is_zero() || !self.allocated.is_empty() {
            let resources = self.available();
            self.take(framework, &resources);
            return Part { agent: self.id.clone(), resources, slots: None };
        }
        // A whole agent changes hands: the usual case, and the one that a cycle over a large cluster spends its time on.
        let spare = self.spare.take().filter(|spare| spare.resources == self.free);
        let part = spare.unwrap_or_else(|| Part { agent: self.id.clone(), resources: self.free.clone(), slots: None });
        self.allocated.push((framework, std::mem::take(&mut self.free)));
        part
    }

    /// Takes a part of what is free.
    pub(super) fn take(&mut self, framework: u32, part: &Resources) {
        self.free = self.free.checked_sub(part).expect("only what is free is taken");
        self.note(framework, part);
    }

    /// Books what is in use already, whether the agent has it or not.
    pub(super) fn take_used(&mut self, framework: u32, used: &Resources) {
        self.note(framework, used);
        self.reckon_free();
    }

    fn note(&mut self, framework: u32, taken: &Resources) {
        match self.allocated.iter_mut().find(|(owner, _)| *owner == framework) {
            Some((_, all)) => *all += taken,
            None if taken.is_empty() => {}
            None => self.allocated.push((framework, taken.clone())),
        }
    }

    /// What volumes keep that nobody uses.
    pub(super) fn idle_reserved(&self) -> Resources {
        self.reserved.as_ref().map(|reserved| reserved.idle()).unwrap_or_default()
    }

    /// What is offered to anyone at all, when nothing runs.
    pub(super) fn unreserved(&self) -> Scalars {
        let mut most = Scalars::of(&self.total);
        self.reserved.iter().for_each(|reserved| most.sub(&reserved.all));
        most
    }

    /// More is kept than before; where it comes from is the caller's affair.
    pub(super) fn reserve(&mut self, resources: &Resources) {
        self.reserved.get_or_insert_default().all += resources;
        self.reckon_free();
    }

    pub(super) fn unreserve(&mut self, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let id = &self.id;
        let reserved = self.reserved.as_mut().unwrap_or_else(|| panic!("nothing is kept on agent {id}"));
        assert!(reserved.idle().contains(resources), "nobody uses what is unreserved on agent {id}");
        reserved.all = reserved.all.checked_sub(resources).expect("what lies idle is reserved");
        self.reserved = self.reserved.take().filter(|reserved| !reserved.all.is_empty());
        self.reckon_free();
    }

    pub(super) fn use_reserved(&mut self, framework: u32, resources: &Resources) {
        let reserved = self.reserved.get_or_insert_default();
        assert!(reserved.idle().contains(resources), "only what volumes keep on agent {} is used", self.id);
        reserved.used += resources;
        self.note(framework, resources);
    }

    pub(super) fn return_reserved(&mut self, framework: u32, resources: &Resources) {
        let reserved = self.reserved.get_or_insert_default();
        reserved.used = reserved.used.checked_sub(resources).unwrap_or_else(|shortage| {
            panic!("more comes back to the volumes of agent {} than was used: {shortage}", self.id)
        });
        self.deduct(framework, resources);
    }

    /// Takes resources back from a framework.
    pub(super) fn recover(&mut self, framework: u32, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let index = self.allocated.iter().position(|(owner, _)| *owner == framework);
        let index =
            index.unwrap_or_else(|| panic!("{resources} come back that weren't given out on agent {}", self.id));
        let had = &mut self.allocated[index].1;
        if had == resources {
            let (_, all) = self.allocated.swap_remove(index);
            if self.free.is_empty() && !self.overcommitted {
                self.free = all;
                return;
            }
        } else {
            *had = had.checked_sub(resources).unwrap_or_else(|shortage| {
                panic!("more comes back than was given out on agent {}: {shortage}", self.id)
            });
        }
        if self.overcommitted {
            self.reckon_free();
        } else {
            self.free += resources;
        }
    }

    /// Takes resources out of what a framework has.
    fn deduct(&mut self, framework: u32, resources: &Resources) {
        if resources.is_empty() {
            return;
        }
        let index = self.allocated.iter().position(|(owner, _)| *owner == framework);
        let index = index.unwrap_or_else(|| panic!("{resources} come back that weren't used on agent {}", self.id));
        let had = &mut self.allocated[index].1;
        *had = had
            .checked_sub(resources)
            .unwrap_or_else(|shortage| panic!("more comes back than was used on agent {}: {shortage}", self.id));
        if had.is_empty() {
            self.allocated.swap_remove(index);
        }
    }

    /// Gives all that a framework has back, and says what that was.
    pub(super) fn recover_all(&mut self, framework: u32) -> Resources {
        let all = self.allocated.iter().find(|(owner, _)| *owner == framework);
        let all = all.map(|(_, resources)| resources.clone()).unwrap_or_default();
        self.recover(framework, &all);
        self.due.retain(|(_, owner), _| *owner != framework);
        all
    }

    /// Free is what isn't in use; nothing of what is in use twice over, after the agent has lost some.
    pub(super) fn reckon_free(&mut self) {
        let used = self.allocated.iter().map(|(_, resources)| resources).sum::<Resources>() + &self.idle_reserved();
        match self.total.checked_sub(&used) {
            Ok(rest) => (self.free, self.overcommitted) = (rest, false),
            Err(_) => (self.free, self.overcommitted) = (clipped(&self.total, &used), true),
        }
    }

    /// Notes that resources come back by a time.
    pub(super) fn expect(&mut self, by: Time, framework: u32, amount: &Scalars) {
        self.due.entry((by, framework)).or_default().plus(amount);
    }

    /// They came back, or the time isn't true any more.
    pub(super) fn unexpect(&mut self, by: Time, framework: u32, amount: &Scalars) {
        let noted = self.due.get_mut(&(by, framework)).unwrap_or_else(|| {
            panic!("nothing was to come back on agent {} by {by:?}, but it did", self.id);
        });
        noted.minus(amount);
        assert!(!noted.any_negative(), "more came back on agent {} by {by:?} than was to", self.id);
        if noted.is_zero() {
            self.due.remove(&(by, framework));
        }
    }
}

/// What is left of `free` without `held`, which is part of it.
fn less(free: &Resources, held: &Scalars) -> Resources {
    free.checked_sub(&held.resources()).expect("what is held is free")
}

/// `total` less `used` as far as there is any: scalars down to nothing, of ports, ranges and sets all or none.
fn clipped(total: &Resources, used: &Resources) -> Resources {
    let mut scalars = Scalars::of(total);
    scalars.minus(&Scalars::of(used));
    let mut free = scalars.within(&Scalars::of(total)).resources();
    let (total_ports, used_ports) = (ports(total), ports(used));
    if let Ok(rest) = total_ports.checked_sub(&used_ports) {
        free += &rest;
    }
    for resource in total.custom() {
        let Some(value @ (Value::Ranges(_) | Value::Set(_))) = &resource.value else { continue };
        let only = |value: &Value| Resources::default().with_custom(&resource.name, value.clone());
        let taken =
            used.custom().iter().find(|taken| taken.name == resource.name).and_then(|taken| taken.value.as_ref());
        if let Ok(rest) = only(value).checked_sub(&taken.map(only).unwrap_or_default()) {
            free += &rest;
        }
    }
    free
}

fn ports(of: &Resources) -> Resources {
    Resources::default().with_ports(of.ports().iter().cloned())
}
