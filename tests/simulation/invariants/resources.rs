//! No resource is offered or used twice: what a master has offered and launched on an agent fits the agent, and so does what
//! really runs on the machine.

use std::collections::BTreeMap;

use mesos_host::protocol::{agent_call, agent_event};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::scheduler::{call::Call, event::Event};
use mesos_plugin_api::v1::{AgentId, ExecutorId, FrameworkId, OfferId, OfferPart, Resources, TaskId, TaskState};

use super::Invariant;
use crate::sight::Sight;

/// The books of somebody who only listens.
#[derive(Default)]
pub struct ResourcesOnce {
    machines: BTreeMap<usize, Machine>,
    nodes: BTreeMap<AgentId, usize>,
    offers: BTreeMap<OfferId, (usize, Vec<OfferPart>)>,
    /// What the master has launched and not heard the end of.
    tasks: BTreeMap<(AgentId, FrameworkId, TaskId), Resources>,
    executors: BTreeMap<(AgentId, FrameworkId, ExecutorId), Resources>,
    /// An agent that is being answered to its registration.
    registering: Option<AgentId>,
    brought: BTreeMap<usize, Brought>,
    checked: u64,
}

/// What an agent says that it runs when it registers.
#[derive(Default)]
struct Brought {
    tasks: Vec<(FrameworkId, TaskId)>,
    executors: Vec<(FrameworkId, ExecutorId)>,
}

#[derive(Default)]
struct Machine {
    total: Resources,
    tasks: BTreeMap<(FrameworkId, TaskId), Resources>,
    executors: BTreeMap<u64, Resources>,
}

impl Machine {
    fn check(&self, agent: usize) -> Result<(), String> {
        let used: Resources = self.tasks.values().chain(self.executors.values()).sum();
        if self.total.contains(&used) {
            return Ok(());
        }
        Err(format!("on agent {agent} with {} processes use {used}: {:?}", self.total, self.tasks))
    }
}

impl ResourcesOnce {
    fn check_offered(&mut self, agent: &AgentId) -> Result<(), String> {
        self.checked += 1;
        let parts = self.offers.values().flat_map(|(_, parts)| parts).filter(|part| part.agent_id == *agent);
        let offered: Resources = parts.map(|part| &part.resources).sum();
        let tasks = self.tasks.iter().filter(|((of, _, _), _)| of == agent).map(|(_, resources)| resources);
        let executors = self.executors.iter().filter(|((of, _, _), _)| of == agent).map(|(_, resources)| resources);
        let used: Resources = tasks.chain(executors).sum();
        let total = self.nodes.get(agent).and_then(|node| self.machines.get(node)).map(|machine| &machine.total);
        match total {
            Some(total) if total.contains(&(used.clone() + &offered)) => Ok(()),
            Some(total) => Err(format!("of {total} on {agent} {offered} are offered while {used} are in use")),
            None => Err(format!("{agent} is offered and has never registered")),
        }
    }

    fn told_agent(&mut self, agent: usize, event: &agent_event::Event) -> Result<(), String> {
        match event {
            agent_event::Event::Registered(registered) => {
                let id = registered.agent_id.clone();
                self.nodes.insert(id.clone(), agent);
                let Brought { tasks, executors } = self.brought.remove(&agent).unwrap_or_default();
                self.tasks
                    .retain(|(of, framework, task), _| *of != id || tasks.contains(&(framework.clone(), task.clone())));
                self.executors.retain(|(of, framework, executor), _| {
                    *of != id || executors.contains(&(framework.clone(), executor.clone()))
                });
                self.registering = Some(id);
            }
            agent_event::Event::RunTasks(run) => {
                let framework = run.framework.id.clone().expect("a master gives ids");
                for task in &run.tasks {
                    let agent = task.agent_id.clone();
                    if let Some(executor) = &task.executor {
                        let key = (agent.clone(), framework.clone(), executor.id.clone());
                        self.executors.entry(key).or_insert_with(|| executor.resources.clone());
                    }
                    self.tasks.insert((agent.clone(), framework.clone(), task.id.clone()), task.resources.clone());
                    self.check_offered(&agent)?;
                }
            }
            // What was given up with a lost agent is not in the master's books any more: it is told to end.
            agent_event::Event::KillTask(kill) if self.registering.is_some() => {
                let id = self.registering.clone().expect("looked at just now");
                self.tasks.remove(&(id, kill.framework_id.clone(), kill.task_id.clone()));
            }
            agent_event::Event::ShutdownExecutor(shut) if self.registering.is_some() => {
                let id = self.registering.clone().expect("looked at just now");
                self.executors.remove(&(id, shut.framework_id.clone(), shut.executor_id.clone()));
            }
            agent_event::Event::ShutdownFramework(shut) => {
                let here = |of: &AgentId| self.nodes.get(of) == Some(&agent);
                self.tasks.retain(|(of, framework, _), _| !here(of) || *framework != shut.framework_id);
                self.executors.retain(|(of, framework, _), _| !here(of) || *framework != shut.framework_id);
            }
            _ => {}
        }
        Ok(())
    }

    fn heard_agent(&mut self, agent: usize, call: &agent_call::Call) {
        let here = |of: &AgentId| self.nodes.get(of) == Some(&agent);
        match call {
            agent_call::Call::Register(register) => {
                let lives = |state: TaskState| !state.is_terminal();
                let tasks = register.tasks.iter().filter(|record| lives(record.status.state()));
                let tasks = tasks.map(|record| (record.framework_id.clone(), record.task.id.clone())).collect();
                let executors = register.executors.iter();
                let executors = executors.map(|record| (record.framework_id.clone(), record.executor.id.clone()));
                self.brought.insert(agent, Brought { tasks, executors: executors.collect() });
            }
            agent_call::Call::Update(update) if update.latest_state().is_terminal() => {
                let (framework, task) = (&update.framework_id, &update.status.task_id);
                self.tasks.retain(|(of, f, t), _| !here(of) || f != framework || t != task);
            }
            agent_call::Call::ExecutorEnded(ended) => {
                let (framework, executor) = (&ended.framework_id, &ended.executor_id);
                self.executors.retain(|(of, f, e), _| !here(of) || f != framework || e != executor);
            }
            _ => {}
        }
    }

    fn told_scheduler(&mut self, scheduler: usize, event: &Event) -> Result<(), String> {
        match event {
            Event::Offers(offers) => {
                for offer in &offers.offers {
                    self.offers.insert(offer.id.clone(), (scheduler, offer.parts.clone()));
                    offer.parts.iter().try_for_each(|part| self.check_offered(&part.agent_id))?;
                }
            }
            Event::Rescind(rescind) => drop(self.offers.remove(&rescind.offer_id)),
            // The master gives up what it can't reach: it says so to whom it concerns.
            Event::Update(update) if update.status.update_seq.is_none() && update.status.state().is_terminal() => {
                let (Some(agent), task) = (&update.status.agent_id, &update.status.task_id) else { return Ok(()) };
                self.tasks.retain(|(of, _, t), _| of != agent || t != task);
            }
            Event::Failure(failure) if failure.executor_id.is_none() => {
                self.tasks.retain(|(of, _, _), _| *of != failure.agent_id);
                self.executors.retain(|(of, _, _), _| *of != failure.agent_id);
            }
            _ => {}
        }
        Ok(())
    }

    fn on_machine(&mut self, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::AgentStarted { agent, resources, .. } => {
                self.machines.entry(*agent).or_default().total = (*resources).clone();
            }
            Sight::TaskStarted { agent, framework, task, resources } => {
                let machine = self.machines.entry(*agent).or_default();
                machine.tasks.insert(((*framework).clone(), (*task).clone()), (*resources).clone());
                self.checked += 1;
                return machine.check(*agent);
            }
            Sight::TaskStopped { agent, framework, task } => {
                let machine = self.machines.entry(*agent).or_default();
                machine.tasks.remove(&((*framework).clone(), (*task).clone()));
            }
            Sight::Executor { agent, pid, resources: Some(resources) } => {
                let machine = self.machines.entry(*agent).or_default();
                machine.executors.insert(*pid, (*resources).clone());
                return machine.check(*agent);
            }
            Sight::Executor { agent, pid, resources: None } => {
                self.machines.entry(*agent).or_default().executors.remove(pid);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Invariant for ResourcesOnce {
    fn name(&self) -> &'static str {
        "invariant: no resource is offered or used twice"
    }

    fn see(&mut self, _now: Time, sight: &Sight) -> Result<(), String> {
        match sight {
            Sight::MasterStarted => {
                self.offers.clear();
                self.tasks.clear();
                self.executors.clear();
            }
            Sight::MasterHeardAgent { agent, call } => self.heard_agent(*agent, call),
            Sight::MasterToldAgent { agent, event } => return self.told_agent(*agent, event),
            Sight::MasterHeardScheduler { call: Call::Accept(accept), .. } => {
                accept.offer_ids.iter().for_each(|id| drop(self.offers.remove(id)));
            }
            Sight::MasterHeardScheduler { call: Call::Decline(decline), .. } => {
                decline.offer_ids.iter().for_each(|id| drop(self.offers.remove(id)));
            }
            Sight::MasterToldScheduler { scheduler, event } => return self.told_scheduler(*scheduler, event),
            Sight::MasterLostScheduler { scheduler } => self.offers.retain(|_, (of, _)| of != scheduler),
            Sight::MasterAnswered => self.registering = None,
            _ => return self.on_machine(sight),
        }
        Ok(())
    }

    fn met(&self) -> u64 {
        self.checked
    }
}
