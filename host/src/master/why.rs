//! Why something is as it is, in lines for people: what the master, the allocator and the task's own statuses know, joined.

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{Reason, Resources};

use super::Master;
use super::frameworks::Framework;

impl Master {
    pub(super) fn why(&self, now: Time, id: &str) -> Result<String, String> {
        if let Ok(framework) = self.find_framework(id) {
            return Ok(self.why_framework(now, framework));
        }
        let agent = self.agents.iter().find(|(agent_id, agent)| agent_id.as_str() == id || agent.info.hostname == id);
        if let Some((agent_id, _)) = agent {
            return Ok(self.why_agent(now, agent_id));
        }
        if let Some(text) = self.why_task(now, id) {
            return Ok(text);
        }
        if let Some(framework) =
            self.ended_frameworks.iter().find(|framework| framework.id.as_str() == id || framework.info.name == id)
        {
            let why = framework.ending.as_deref().unwrap_or("it ended");
            return Ok(format!("framework {} ({}) has ended: {why}", framework.id, framework.info.name));
        }
        Err(format!(
            "{id:?} is no framework, task or agent here; 'mesos frameworks', 'mesos tasks --all' and 'mesos agents' list them"
        ))
    }

    fn why_framework(&self, now: Time, framework: &Framework) -> String {
        let mut lines =
            vec![format!("framework {} ({}), role {}", framework.id, framework.info.name, framework.info.role)];
        match (&framework.link, &framework.ending) {
            (_, Some(why)) => {
                lines.push(format!("is being torn down: {why}; {} tasks still end", framework.tasks.len()))
            }
            (None, None) => {
                let left = framework.deadline.map_or(0.0, |deadline| deadline.since(now).as_secs_f64());
                lines.push(format!("its scheduler is away; without it the framework ends in {left:.0} s"));
            }
            (Some(_), None) => {}
        }
        let offers = self.offers.values().filter(|offer| offer.framework_id == framework.id).count();
        if offers > 0 {
            lines.push(format!("holds {offers} offers that it has not answered yet"));
        }
        let total: Resources = self.agents.values().map(|agent| agent.total()).sum();
        let used: Resources = self.agents.keys().map(|id| self.used_on(id)).sum();
        lines.push(format!("it uses {}; of the cluster's {total}, {used} is in use", self.used_by(framework)));
        lines.extend(self.allocator.why(&framework.id).iter().map(ToString::to_string));
        lines.join("\n")
    }

    fn why_agent(&self, now: Time, id: &mesos_plugin_api::v1::AgentId) -> String {
        let agent = &self.agents[id];
        let used = self.used_on(id);
        let mut lines = vec![format!("agent {id} on {}: {}", agent.info.hostname, agent.total())];
        lines.push(format!("used: {used}; {} tasks, {} executors", agent.tasks.len(), agent.executors.len()));
        if !agent.volumes.is_empty() {
            let kept: Resources = agent.volumes.iter().map(|key| self.volumes[key].kept()).sum();
            lines.push(format!(
                "{} volumes keep {kept} for their owners; 'mesos volumes' lists them",
                agent.volumes.len()
            ));
        }
        if agent.link.is_none() {
            let left = agent.lost_at.since(now).as_secs_f64();
            lines.push(match agent.unreachable {
                None => format!("is not connected and offers nothing; it is unreachable in {left:.0} s unless it comes back"),
                Some(since) => format!(
                    "has been out of reach for {:.0} s and offers nothing; its tasks are lost in {left:.0} s unless it comes back",
                    now.since(since).as_secs_f64()
                ),
            });
        }
        lines.extend(self.why_planned(now, id));
        let offers = self.offers.iter().filter(|(_, offer)| offer.parts.iter().any(|part| part.agent_id == *id));
        for (offer_id, offer) in offers {
            let left = offer.expires.since(now).as_secs_f64();
            lines.push(format!("offered to {} ({offer_id}), for {left:.0} s at the most", offer.framework_id));
        }
        lines.join("\n")
    }

    fn why_task(&self, now: Time, id: &str) -> Option<String> {
        let live = self.frameworks.values().find_map(|framework| {
            let task = framework.tasks.values().find(|task| task.info.id.as_str() == id)?;
            Some((&framework.id, task.as_ref()))
        });
        let ended = || self.ended_tasks.iter().rev().find(|ended| ended.task.info.id.as_str() == id);
        let (framework_id, task) = live.or_else(|| ended().map(|ended| (&ended.framework_id, &ended.task)))?;
        let agent = self.agents.get(&task.info.agent_id).map_or("a lost host", |agent| agent.info.hostname.as_str());
        let mut lines = vec![format!("task {id} of {framework_id} is {} on {agent}", task.status.state())];
        if let Some(message) = &task.status.message {
            lines.push(message.clone());
        }
        let said = task.status.reason() == Reason::CommandExited && task.status.message.is_some();
        if let Some(exit) = task.status.exit.as_ref().filter(|_| !said) {
            lines.push(format!("it ended with {exit}"));
        }
        if task.running.is_none() && task.ended.is_none() {
            lines.push(format!("launched {:.1} s ago, not running yet", now.since(task.launched).as_secs_f64()));
        }
        if let Some(kill) = task.kill_wanted.as_ref().filter(|_| task.ended.is_none()) {
            let why = kill.message.as_deref().unwrap_or("its framework wants it");
            lines.push(format!("is being killed: {why}"));
        }
        Some(lines.join("\n"))
    }
}
