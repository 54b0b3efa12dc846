//! What a framework has declined for a while it isn't offered again meanwhile, unless there is more of it, or it wants all again.

use std::collections::BTreeMap;

use mesos_host::protocol::agent_event;
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{call::Call, event::Event};
use mesos_plugin_api::v1::{AgentId, OfferId, OfferPart, Resources};

use super::Invariant;
use crate::sight::Sight;

/// Open offers and what was declined.
#[derive(Default)]
pub struct Filters {
    open: BTreeMap<OfferId, (usize, Vec<OfferPart>)>,
    declined: BTreeMap<(usize, AgentId), (Resources, Time)>,
    met: u64,
}

impl Filters {
    /// A later word about the same agent replaces an earlier filter; only what was declined last is looked at here.
    fn forget(&mut self, parts: &(usize, Vec<OfferPart>)) {
        parts.1.iter().for_each(|part| drop(self.declined.remove(&(parts.0, part.agent_id.clone()))));
    }

    fn heard(&mut self, now: Time, scheduler: usize, call: &Call) {
        match call {
            Call::Decline(decline) => {
                let filter = decline.filters.unwrap_or_default().duration();
                for id in &decline.offer_ids {
                    let Some(offer) = self.open.remove(id) else { continue };
                    self.forget(&offer);
                    for part in offer.1 {
                        self.declined.insert((scheduler, part.agent_id), (part.resources, now + filter));
                    }
                }
            }
            Call::Accept(accept) => {
                for id in &accept.offer_ids {
                    if let Some(offer) = self.open.remove(id) {
                        self.forget(&offer);
                    }
                }
            }
            Call::Revive(_) => self.declined.retain(|(of, _), _| *of != scheduler),
            _ => {}
        }
    }

    fn offered(&mut self, now: Time, scheduler: usize, part: &OfferPart) -> Result<(), String> {
        let Some((declined, until)) = self.declined.get(&(scheduler, part.agent_id.clone())) else { return Ok(()) };
        if *until <= now {
            return Ok(());
        }
        self.met += 1;
        if !declined.contains(&part.resources) {
            return Ok(());
        }
        Err(format!(
            "{} of {} are offered to scheduler {scheduler}, which declined {declined} until {until:?}",
            part.resources, part.agent_id
        ))
    }
}

impl Invariant for Filters {
    fn name(&self) -> &'static str {
        "invariant: a declined offer does not come again"
    }

    fn see(&mut self, now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::MasterStarted => {
                self.open.clear();
                self.declined.clear();
            }
            Sight::MasterHeardScheduler { scheduler, call } => self.heard(now, *scheduler, call),
            Sight::MasterLostScheduler { scheduler } => {
                self.open.retain(|_, (of, _)| of != scheduler);
                self.declined.retain(|(of, _), _| of != scheduler);
            }
            Sight::MasterToldAgent { event: agent_event::Event::Registered(registered), .. } => {
                self.declined.retain(|(_, agent), _| *agent != registered.agent_id);
            }
            Sight::MasterToldScheduler { scheduler, event } => match event {
                Event::Subscribed(_) => self.declined.retain(|(of, _), _| of != scheduler),
                Event::Rescind(rescind) => {
                    if let Some(offer) = self.open.remove(&rescind.offer_id) {
                        self.forget(&offer);
                    }
                }
                Event::Offers(offers) => {
                    for offer in &offers.offers {
                        self.open.insert(offer.id.clone(), (*scheduler, offer.parts.clone()));
                        if offer.gang_id.is_none() {
                            offer.parts.iter().try_for_each(|part| self.offered(now, *scheduler, part))?;
                        }
                    }
                }
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.met
    }
}
