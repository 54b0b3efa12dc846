//! Agents that are drained.

use crate::framework::Event;
use crate::v1::scheduler::{InverseOffers, RescindInverseOffer};
use crate::v1::{AgentId, FrameworkId, InverseOffer, OfferId, Unavailability};
use crate::{FakeMaster, Time};

impl FakeMaster {
    /// Offers nothing of the agent any more, and asks the framework to be away by then. Killing what still runs then is the
    /// test's part: a status update each.
    pub fn drain_agent(&mut self, id: &AgentId, by: Time) {
        let (hostname, _) = &self.agents[id];
        let offer = InverseOffer {
            id: OfferId::new(format!("I-{id}")),
            framework_id: FrameworkId::from("F1"),
            agent_id: id.clone(),
            unavailability: Unavailability { start_ns: by.as_nanos(), duration_ms: None },
            resources: None,
            hostname: Some(hostname.clone()),
            message: Some(format!("the agent {id} on {hostname} is being drained by the test")),
        };
        self.draining.insert(id.clone());
        self.send(Event::InverseOffers(InverseOffers { inverse_offers: vec![offer] }));
    }

    /// Takes that back.
    pub fn undrain_agent(&mut self, id: &AgentId) {
        assert!(self.draining.remove(id), "agent {id} is being drained");
        let rescind = RescindInverseOffer { inverse_offer_id: OfferId::new(format!("I-{id}")) };
        self.send(Event::RescindInverseOffer(rescind));
    }
}
