//! Volumes as operators see and destroy them.

use mesos_plugin_api::Time;

use super::volumes::{State, Volume, VolumeKey};
use super::{Caller, Effect, LinkId, Master, Peer, authorise};
use crate::protocol::operator_reply::Reply;
use crate::protocol::{DestroyVolumeCall, VolumeRecord, VolumeRow};

impl Master {
    pub(super) fn volume_rows(&self) -> Vec<Reply> {
        self.volumes.iter().map(|(key, volume)| Reply::Volume(self.volume_row(key, volume))).collect()
    }

    fn volume_row(&self, key: &VolumeKey, volume: &Volume) -> VolumeRow {
        let agent = &self.agents[&key.agent];
        let state = match volume.state {
            State::Creating => "being made",
            State::Destroying { .. } => "being destroyed",
            State::Ready if agent.link.is_none() => "away",
            State::Ready if !volume.fits => "reserves more than its agent has",
            State::Ready => "ready",
        };
        VolumeRow {
            volume: VolumeRecord { id: key.id(), reserved: volume.reserved.clone() },
            agent_id: key.agent.clone(),
            hostname: agent.info.hostname.clone(),
            used: volume.used.clone(),
            tasks: self.users_of(key).into_iter().map(|task| task.info.id.clone()).collect(),
            state: state.to_string(),
        }
    }

    /// The operator's command waits until the volume is gone.
    pub(super) fn destroy_by_operator(
        &mut self,
        now: Time,
        link: LinkId,
        caller: &Caller,
        call: &DestroyVolumeCall,
        effects: &mut Vec<Effect>,
    ) -> Result<(), String> {
        let key = self.find_volume_named(call)?;
        authorise::destroy(caller, &key)?;
        let by = super::operators::operator(caller);
        let refused = |problem| format!("the volume {} on agent {}: {problem}", key.name, key.agent);
        self.destroy_volume(now, &key, &by, Some(link), effects).map_err(refused)?;
        self.links.insert(link, Peer::Waiter);
        Ok(())
    }

    fn find_volume_named(&self, call: &DestroyVolumeCall) -> Result<VolumeKey, String> {
        let is_meant = |key: &&VolumeKey| {
            let on = |text: &String| key.agent.as_str() == text || self.agents[&key.agent].info.hostname == *text;
            key.name == call.name
                && call.agent.as_ref().is_none_or(on)
                && call.framework.as_ref().is_none_or(|text| key.framework == *text)
        };
        let found: Vec<&VolumeKey> = self.volumes.keys().filter(is_meant).collect();
        match found[..] {
            [] => Err(format!("no volume {:?} is known here; 'mesos volumes' lists those of all agents", call.name)),
            [key] => Ok(key.clone()),
            [one, other, ..] => Err(format!(
                "{:?} is a volume of {} on agent {} and of {} on agent {}; say which with --framework and --agent",
                call.name, one.framework, one.agent, other.framework, other.agent
            )),
        }
    }
}
