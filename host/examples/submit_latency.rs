//! How long a task takes from submission to running on a quiet cluster: `submit_latency MASTER TASKS`.
//!
//! One framework stays connected and submits single tasks, one after the other: it asks for offers, accepts the first, and waits
//! until the task runs and has ended. Prints one line, `running` and then a number of milliseconds for each task.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mesos_host::framework::shell::{Front, RunningFramework};
use mesos_host::protocol::client::{Credentials, MasterClient};
use mesos_plugin_api::framework::Event;
use mesos_plugin_api::v1::{CommandInfo, FrameworkInfo, Offer, Resources, TaskInfo, TaskState};
use mesos_plugin_api::{Calls, Framework, Time};

/// Between the end of a task and the next submission: the cluster is quiet then.
const PAUSE: Duration = Duration::from_millis(10);
const SUBMIT_TIMER: u64 = 1;

struct OneByOne {
    left: u32,
    /// The task that was asked for, and when.
    submitted: Option<Instant>,
    launched: bool,
    millis: Arc<Mutex<Vec<f64>>>,
}

impl OneByOne {
    fn submit(&mut self, calls: &mut Calls) {
        self.submitted = Some(Instant::now());
        self.launched = false;
        calls.revive();
    }

    fn offered(&mut self, offers: Vec<Offer>, calls: &mut Calls) {
        for offer in offers {
            let wanted = self.submitted.is_some() && !std::mem::replace(&mut self.launched, true);
            let agent = offer.parts[0].agent_id.clone();
            let id = format!("task-{}", self.left);
            let task = TaskInfo::command(id, agent, Resources::new(0.1, 1.0), CommandInfo::argv(["/bin/true"]));
            calls.accept([offer.id], if wanted { vec![task] } else { Vec::new() });
        }
        calls.suppress();
    }

    fn updated(&mut self, now: Time, state: TaskState, calls: &mut Calls) {
        if state == TaskState::TaskRunning
            && let Some(submitted) = self.submitted.take()
        {
            self.millis.lock().expect("nobody panics with it").push(submitted.elapsed().as_secs_f64() * 1000.0);
        }
        if state.is_terminal() {
            self.left -= 1;
            match (state, self.left) {
                (TaskState::TaskFinished, 0) => calls.finish(0, None),
                (TaskState::TaskFinished, _) => calls.set_timer(SUBMIT_TIMER, now + PAUSE),
                _ => calls.finish(1, Some(format!("a task is {state}"))),
            }
        }
    }
}

impl Framework for OneByOne {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Connected(_) => {
                calls.suppress();
                calls.set_timer(SUBMIT_TIMER, now + PAUSE);
            }
            Event::Timer(_) => self.submit(calls),
            Event::Offers(offers) => self.offered(offers.offers, calls),
            Event::Update(update) => self.updated(now, update.status.state(), calls),
            _ => {}
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [master, tasks] = arguments.as_slice() else {
        eprintln!("usage: submit_latency MASTER TASKS");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let measured = tasks.parse().map_err(Into::into).and_then(|tasks| runtime.block_on(run(master, tasks)));
    match measured {
        Ok(millis) => {
            println!("running {}", millis.iter().map(|millis| format!("{millis:.3}")).collect::<Vec<_>>().join(" "));
        }
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}

async fn run(master: &str, left: u32) -> Result<Vec<f64>, Box<dyn std::error::Error>> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid())?.map_or_else(|| "nobody".into(), |user| user.name);
    let credentials = Credentials { principal: user.clone(), token: None };
    let client = MasterClient::connect(master, credentials).await?;
    let info = FrameworkInfo { name: "submit-latency".into(), user, role: "default".into(), ..Default::default() };
    let millis = Arc::new(Mutex::new(Vec::new()));
    let half = OneByOne { left, submitted: None, launched: false, millis: millis.clone() };
    let mut framework = RunningFramework::start(client, info, None, None, |_| Ok(Box::new(half))).await?;
    while let Some(word) = framework.front.recv().await {
        if let Front::Ended { exit_code: 1.., message } = word {
            return Err(message.unwrap_or_default().into());
        }
    }
    let millis = millis.lock().expect("nobody panics with it").clone();
    Ok(millis)
}
