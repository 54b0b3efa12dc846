//! Starts a cluster inside this program, runs one task on it, and ends it: `cargo run -p mesos-host --example embedded`.

use mesos_host::cluster::Cluster;
use mesos_host::framework::shell::{Front, RunningFramework};
use mesos_plugin_api::framework::Event;
use mesos_plugin_api::v1::{CommandInfo, FrameworkInfo, Resources, TaskInfo};
use mesos_plugin_api::{Calls, Framework, Time};

/// Runs `true` once and ends with its exit code.
struct Once;

impl Framework for Once {
    fn on_event(&mut self, _now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Offers(offers) => {
                for (number, offer) in offers.offers.into_iter().enumerate() {
                    let agent = offer.parts[0].agent_id.clone();
                    let task =
                        TaskInfo::command("once", agent, Resources::new(0.1, 32.0), CommandInfo::argv(["/bin/true"]));
                    calls.accept([offer.id], if number == 0 { vec![task] } else { Vec::new() });
                }
                calls.suppress();
            }
            Event::Update(update) if update.status.state().is_terminal() => {
                let code = update.status.shell_code();
                calls.stdout(format!("task {} is {}\n", update.status.task_id, update.status.state()));
                calls.finish(code, update.status.message);
            }
            _ => {}
        }
    }
}

fn main() {
    // First of all: the launcher is this program again.
    mesos_host::init();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let code = runtime.block_on(run()).unwrap_or_else(|error| {
        eprintln!("{error}");
        1
    });
    std::process::exit(code);
}

async fn run() -> Result<i32, Box<dyn std::error::Error>> {
    let cluster = Cluster::builder().start().await?;
    let info = FrameworkInfo { name: "example".into(), user: user(), role: "default".into(), ..Default::default() };
    let mut framework = RunningFramework::start(cluster.client(), info, None, None, |_| Ok(Box::new(Once))).await?;
    let mut code = 1;
    while let Some(word) = framework.front.recv().await {
        match word {
            Front::Output(output) => print!("{}", String::from_utf8_lossy(&output.data)),
            Front::Ended { exit_code, message } => {
                code = exit_code;
                message.into_iter().for_each(|message| eprintln!("{message}"));
            }
            _ => {}
        }
    }
    cluster.stop().await;
    Ok(code)
}

fn user() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    user.map_or_else(|| "nobody".to_string(), |user| user.name)
}
