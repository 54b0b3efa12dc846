//! What operators ask: listings, kill, teardown, where output lies.

use std::time::Duration;

use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{FrameworkId, Reason, Resources, TaskId};

use super::frameworks::Framework;
use super::tasks::Task;
use super::{Caller, Effect, LinkId, Master, authorise};
use crate::protocol::operator_call::Call;
use crate::protocol::operator_reply::Reply;
use crate::protocol::{
    ClusterState, Done, FrameworkState, ListTasks, Located, OperatorCall, OperatorReply, TaskRow, TaskSelector, token,
};

/// How long a token for a sandbox is good.
const SANDBOX_TOKEN_LIFE: Duration = Duration::from_secs(300);

impl Master {
    pub(super) fn operator_called(
        &mut self,
        now: Time,
        link: LinkId,
        caller: &Caller,
        call: OperatorCall,
        effects: &mut Vec<Effect>,
    ) {
        let answer = match call.call {
            Some(Call::GetCluster(_)) => Ok(vec![Reply::Cluster(self.cluster_state())]),
            Some(Call::ListAgents(list)) => Ok(self.agent_rows(list.all == Some(true))),
            Some(Call::ListFrameworks(list)) => Ok(self.framework_rows(list.completed == Some(true))),
            Some(Call::ListTasks(list)) => self.task_rows(&list),
            Some(Call::Kill(kill)) => self.kill_by_operator(&kill.task, caller, effects),
            Some(Call::Teardown(teardown)) => self.tear_down_by_operator(now, &teardown.framework, caller, effects),
            Some(Call::Why(why)) => self.why(now, &why.id).map(|text| vec![Reply::Why(text)]),
            Some(Call::Locate(locate)) => {
                self.locate(now, &locate.task, caller).map(|located| vec![Reply::Located(located)])
            }
            Some(Call::ListVolumes(_)) => Ok(self.volume_rows()),
            Some(Call::DestroyVolume(destroy)) => {
                match self.destroy_by_operator(now, link, caller, &destroy, effects) {
                    Ok(()) => return,
                    Err(error) => Err(error),
                }
            }
            Some(
                call @ (Call::DrainAgent(_)
                | Call::DeactivateAgent(_)
                | Call::ReactivateAgent(_)
                | Call::MarkAgentGone(_)),
            ) => match self.plan_by_operator(now, link, caller, call, effects) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            Some(Call::Request(request)) => match self.request_framework(link, caller, request, effects) {
                Ok(()) => return,
                Err(error) => Err(error),
            },
            None => Err("this master does not know that call; it may be older than the command".to_string()),
        };
        match answer {
            Ok(replies) => effects.extend(replies.into_iter().map(|reply| {
                let reply = Ok(OperatorReply { reply: Some(reply) });
                Effect::Reply { link, reply }
            })),
            Err(error) => effects.push(Effect::Reply { link, reply: Err(error) }),
        }
        self.close(link, effects);
        self.carry_out_allocation(now, effects);
    }

    fn cluster_state(&self) -> ClusterState {
        let here = || self.agents.iter().filter(|(_, agent)| agent.unreachable.is_none());
        ClusterState {
            master_id: self.config.master_id.clone(),
            master_epoch: self.config.epoch,
            version: env!("CARGO_PKG_VERSION").to_string(),
            total: here().map(|(_, agent)| agent.total()).sum(),
            used: here().map(|(id, _)| self.used_on(id)).sum(),
            started_ns: self.started.unwrap_or_default().as_nanos(),
            agents: here().map(|(_, agent)| agent.info.clone()).collect(),
            embedded: Some(self.config.embedded),
        }
    }

    fn framework_rows(&self, completed: bool) -> Vec<Reply> {
        let ended = self.ended_frameworks.iter().filter(|_| completed);
        let rows = ended.chain(self.frameworks.values()).map(|framework| FrameworkState {
            framework: framework.info.clone(),
            connected: framework.link.is_some(),
            used: self.used_by(framework),
            offered: self
                .offers
                .values()
                .filter(|offer| offer.framework_id == framework.id)
                .flat_map(|offer| &offer.parts)
                .map(|part| &part.resources)
                .sum(),
            tasks: framework.tasks.len() as u32,
            registered_ns: framework.registered.as_nanos(),
            ended_ns: framework.ended.map(Time::as_nanos),
            principal: Some(framework.principal.clone()),
        });
        rows.map(Reply::Framework).collect()
    }

    pub(super) fn used_by(&self, framework: &Framework) -> Resources {
        let tasks = framework.tasks.values().filter(|task| !task.resources_returned).map(|task| &task.info.resources);
        let executors = self.agents.values().flat_map(|agent| &agent.executors);
        let executors = executors.filter(|((id, _), _)| *id == framework.id).map(|(_, executor)| &executor.resources);
        tasks.chain(executors).sum()
    }

    fn task_rows(&self, list: &ListTasks) -> Result<Vec<Reply>, String> {
        let wanted = |id: &FrameworkId, name: &str| {
            list.framework.as_ref().is_none_or(|text| id.as_str() == text || name == text)
        };
        if let Some(text) = &list.framework {
            let ended = self.ended_frameworks.iter().any(|framework| wanted(&framework.id, &framework.info.name));
            if !ended {
                self.find_framework(text)?;
            }
        }
        let ended = self.ended_tasks.iter().filter(|ended| wanted(&ended.framework_id, &ended.framework_name));
        let ended = ended.filter(|_| list.all == Some(true));
        let ended = ended.map(|ended| row(&ended.framework_id, &ended.framework_name, &ended.hostname, &ended.task));
        let live = self.frameworks.values().filter(|framework| wanted(&framework.id, &framework.info.name));
        let live = live.flat_map(|framework| framework.tasks.values().map(move |task| (framework, task)));
        let live = live.filter(|(_, task)| list.all == Some(true) || !task.status.state().is_terminal());
        let live = live.map(|(framework, task)| {
            let hostname = self.agents.get(&task.info.agent_id).map_or("", |agent| agent.info.hostname.as_str());
            row(&framework.id, &framework.info.name, hostname, task)
        });
        Ok(ended.chain(live).map(Reply::Task).collect())
    }

    fn kill_by_operator(
        &mut self,
        selector: &TaskSelector,
        caller: &Caller,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Reply>, String> {
        let (framework_id, task_id) = self.find_live_task(selector)?;
        authorise::control(caller, &self.frameworks[&framework_id])?;
        let by = operator(caller);
        self.kill_because(&framework_id, &task_id, Reason::KilledByOperator, &format!("killed by {by}"), effects);
        Ok(vec![done(format!("killing {task_id} of {framework_id}"))])
    }

    fn tear_down_by_operator(
        &mut self,
        now: Time,
        framework: &str,
        caller: &Caller,
        effects: &mut Vec<Effect>,
    ) -> Result<Vec<Reply>, String> {
        let framework = self.find_framework(framework)?;
        authorise::control(caller, framework)?;
        let framework_id = framework.id.clone();
        let by = operator(caller);
        let message = format!("{by} tore the framework down");
        let error = mesos_plugin_api::v1::scheduler::Error { message: message.clone(), fatal: Some(true) };
        self.tell(&framework_id, mesos_plugin_api::v1::scheduler::event::Event::Error(error), effects);
        self.tear_down(now, &framework_id, message, effects);
        self.finish_teardown(now, &framework_id, effects);
        Ok(vec![done(format!("tearing {framework_id} down"))])
    }

    fn locate(&self, now: Time, selector: &TaskSelector, caller: &Caller) -> Result<Located, String> {
        let (framework_id, task_id, agent_id, ended) = match self.find_live_task(selector) {
            Ok((framework_id, task_id)) => {
                let task = self.task(&framework_id, &task_id).expect("it was just found");
                let ended = task.status.state().is_terminal();
                (framework_id, task_id, task.info.agent_id.clone(), ended)
            }
            Err(error) => {
                let ended =
                    self.ended_tasks.iter().rev().find(|ended| {
                        matches(selector, &ended.framework_id, &ended.framework_name, &ended.task.info.id)
                    });
                let ended = ended.ok_or(error)?;
                (ended.framework_id.clone(), ended.task.info.id.clone(), ended.task.info.agent_id.clone(), true)
            }
        };
        let framework = self.frameworks.get(&framework_id);
        let framework = framework.or_else(|| self.ended_frameworks.iter().find(|ended| ended.id == framework_id));
        match framework {
            Some(framework) => authorise::control(caller, framework)?,
            None if caller.user.is_some() => {
                return Err(format!("{framework_id} ended too long ago to tell whose it was"));
            }
            None => {}
        }
        let agent =
            self.agents.get(&agent_id).ok_or_else(|| format!("the agent {agent_id} that had {task_id} is gone"))?;
        let expires = now + SANDBOX_TOKEN_LIFE;
        let token = token::sign(&agent.secret, &framework_id, &task_id, expires);
        Ok(Located {
            address: agent.info.address.clone(),
            port: agent.info.port,
            framework_id,
            task_id,
            token,
            token_expires_ns: expires.as_nanos(),
            ended,
        })
    }

    /// By id, or by name.
    pub(super) fn find_framework(&self, text: &str) -> Result<&Framework, String> {
        let mut all = self.frameworks.values();
        all.find(|framework| framework.id.as_str() == text || framework.info.name == text)
            .ok_or_else(|| format!("no framework {text:?} runs here; 'mesos frameworks' lists those that do"))
    }

    fn find_live_task(&self, selector: &TaskSelector) -> Result<(FrameworkId, TaskId), String> {
        let all =
            self.frameworks.values().flat_map(|framework| framework.tasks.keys().map(move |task| (framework, task)));
        let mut found = all.filter(|(framework, task)| matches(selector, &framework.id, &framework.info.name, task));
        match (found.next(), found.next()) {
            (None, _) => {
                Err(format!("no task {:?} runs here; 'mesos tasks --all' lists those of before too", selector.task))
            }
            (Some((framework, task)), None) => Ok((framework.id.clone(), task.clone())),
            (Some((one, _)), Some((other, _))) => Err(format!(
                "{:?} is a task of {} and of {}; say which with --framework",
                selector.task, one.id, other.id
            )),
        }
    }
}

pub(super) fn operator(caller: &Caller) -> String {
    if caller.principal.is_empty() { "an operator".to_string() } else { format!("the operator {}", caller.principal) }
}

fn matches(selector: &TaskSelector, framework_id: &FrameworkId, framework_name: &str, task_id: &TaskId) -> bool {
    let framework = selector.framework.as_ref();
    selector.task == task_id.as_str()
        && framework.is_none_or(|text| framework_id.as_str() == text || framework_name == text)
}

fn done(message: String) -> Reply {
    Reply::Done(Done { message: Some(message) })
}

fn row(framework_id: &FrameworkId, framework_name: &str, hostname: &str, task: &Task) -> TaskRow {
    TaskRow {
        framework_id: framework_id.clone(),
        framework_name: framework_name.to_string(),
        task: task.info.message(),
        status: task.status.clone(),
        hostname: hostname.to_string(),
        launched_ns: task.launched.as_nanos(),
        running_ns: task.running.map(Time::as_nanos),
        ended_ns: task.ended.map(Time::as_nanos),
    }
}
