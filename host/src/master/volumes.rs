//! Volumes: asked for, and refused as no agent keeps any yet.

use mesos_plugin_api::v1::scheduler::{DestroyVolume, VolumeState, VolumeStatus, event};
use mesos_plugin_api::v1::{AgentId, FrameworkId};

use super::{Effect, Master};

impl Master {
    pub(super) fn destroy_volume(&self, framework: &FrameworkId, destroy: DestroyVolume, effects: &mut Vec<Effect>) {
        self.refuse_volume(framework, destroy.agent_id, destroy.name, effects);
    }

    pub(super) fn refuse_volume(
        &self,
        framework: &FrameworkId,
        agent_id: AgentId,
        name: String,
        effects: &mut Vec<Effect>,
    ) {
        let state = VolumeState::VolumeRefused.into();
        let message = Some("no agent of this cluster keeps volumes".to_string());
        let status = VolumeStatus { agent_id, name, state, message, ..Default::default() };
        self.tell(framework, event::Event::VolumeStatus(status), effects);
    }
}
