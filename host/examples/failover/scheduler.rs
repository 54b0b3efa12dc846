//! The scheduler of all the tasks, without the runner around it: what is measured is the master.

use std::time::Instant;

use mesos_host::protocol::client::MasterClient;
use mesos_host::protocol::link::{Batch, Link};
use mesos_plugin_api::v1::FrameworkInfo;
use mesos_plugin_api::v1::scheduler::{Acknowledge, Call, Event, Subscribe, Suppress, call, event};

use super::Failure;

/// A framework that wants no offers.
pub struct Scheduler {
    pub info: FrameworkInfo,
    secret: Option<String>,
    link: Option<Link<Call, Event>>,
}

impl Scheduler {
    pub fn new(user: &str) -> Self {
        let info = FrameworkInfo {
            name: "simulation".into(),
            user: user.into(),
            role: "default".into(),
            failover_timeout_ms: Some(3_600_000),
            ..FrameworkInfo::default()
        };
        Self { info, secret: None, link: None }
    }

    /// Returns when it is welcome.
    pub async fn subscribe(&mut self, client: MasterClient) -> Result<(), Failure> {
        let link = self.link.insert(client.scheduler_link().await?);
        let subscribe = Subscribe { framework: self.info.clone(), secret: self.secret.clone(), incarnation: None };
        let items = [call::Call::Subscribe(subscribe), call::Call::Suppress(Suppress {})];
        let items = items.map(|call| Call { call: Some(call) }).to_vec();
        link.out.send(Batch { epoch: 0, items }).await?;
        while let Some(batch) = link.inbox.recv().await {
            for event in batch.items.into_iter().filter_map(|event| event.event) {
                match event {
                    event::Event::Subscribed(subscribed) => {
                        self.info.id = Some(subscribed.framework_id);
                        self.secret = Some(subscribed.secret);
                        return Ok(());
                    }
                    event::Event::Error(error) => return Err(error.message.into()),
                    _ => {}
                }
            }
        }
        Err("the master closed the scheduler's stream".into())
    }

    /// Acknowledges so many updates; how many a second that were.
    pub async fn take_updates(&mut self, count: u64, begin: impl FnOnce()) -> Result<f64, Failure> {
        let link = self.link.as_mut().ok_or("subscribe first")?;
        let started = Instant::now();
        begin();
        let mut taken = 0;
        while taken < count {
            let batch = link.inbox.recv().await.ok_or("the master closed the scheduler's stream")?;
            let updates = batch.items.into_iter().filter_map(|event| match event.event {
                Some(event::Event::Update(update)) => Some(update.status),
                _ => None,
            });
            // What comes without a number is an answer, not an update.
            let items: Vec<Call> = updates.filter_map(acknowledged).collect();
            taken += items.len() as u64;
            link.out.send(Batch { epoch: batch.epoch, items }).await?;
        }
        Ok(count as f64 / started.elapsed().as_secs_f64())
    }
}

fn acknowledged(status: mesos_plugin_api::v1::TaskStatus) -> Option<Call> {
    let (agent_id, update_seq) = status.agent_id.zip(status.update_seq)?;
    let acknowledge = Acknowledge { agent_id, task_id: status.task_id, update_seq };
    Some(Call { call: Some(call::Call::Acknowledge(acknowledge)) })
}
