//! A whole plugin: `mesos hello -n 3` runs `echo hello` as three tasks and shows what they say.

use mesos_plugin_api::command::RunFramework;
use mesos_plugin_api::framework::{Event, FollowFile};
use mesos_plugin_api::v1::{CommandInfo, Offer, Resources, TaskInfo, TaskStatus};
use mesos_plugin_api::{Calls, CommandHost, Framework, Injector, Invocation, Plugin, Time, export_plugin};

struct Hello;

impl Plugin for Hello {
    /// Runs in the process of the person who typed the command.
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        let count: u32 = invocation.parse("count", "a number of tasks")?.unwrap_or(1);
        if count == 0 {
            return Err("--count 0 leaves nothing to do; give a number of tasks".into());
        }
        let config = count.to_le_bytes().to_vec();
        let run = RunFramework { name: "hello".into(), name_is_prefix: Some(true), config, ..Default::default() };
        host.run_framework(run).map(|result| result.exit_code)
    }

    /// Makes the scheduler from the bytes that the command gave.
    fn framework(&self, config: &[u8], _: Injector) -> Result<Box<dyn Framework>, String> {
        let count = config.try_into().map_err(|_| "hello wants four bytes as its configuration")?;
        Ok(Box::new(Greeter { count: u32::from_le_bytes(count), launched: 0, ended: 0, exit_code: 0 }))
    }
}

/// The scheduler: no clock, no files, no sockets; events in, calls out.
struct Greeter {
    count: u32,
    launched: u32,
    ended: u32,
    exit_code: i32,
}

impl Framework for Greeter {
    fn on_event(&mut self, _now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Offers(offers) => offers.offers.into_iter().for_each(|offer| self.launch(offer, calls)),
            Event::Update(update) if update.status.state().is_terminal() => self.end(&update.status, calls),
            _ => {}
        }
    }
}

impl Greeter {
    /// Puts as many tasks on the offer as it holds; what is left over goes back to the master.
    fn launch(&mut self, offer: Offer, calls: &mut Calls) {
        let each = Resources::new(0.1, 16.0);
        let fit = offer.resources().times(&each).min(self.count - self.launched);
        let ids = self.launched..self.launched + fit;
        self.launched += fit;
        let task = |id| {
            let echo = CommandInfo::argv(["echo", "hello"]);
            TaskInfo::command(format!("hello-{id}"), offer.parts[0].agent_id.clone(), each.clone(), echo)
        };
        let tasks: Vec<_> = ids.map(task).collect();
        for task in &tasks {
            calls.follow(task.id.clone(), vec![FollowFile { path: "stdout".into(), ..Default::default() }]);
        }
        calls.accept([offer.id], tasks);
        if self.launched == self.count {
            calls.suppress();
        }
    }

    /// Finishes with the last task; the exit code is that of the first one that failed.
    fn end(&mut self, status: &TaskStatus, calls: &mut Calls) {
        let code = status.exit.as_ref().map_or(1, |exit| exit.shell_code());
        self.exit_code = if self.exit_code == 0 { code } else { self.exit_code };
        self.ended += 1;
        if self.ended == self.count {
            calls.finish(self.exit_code, None);
        }
    }
}

export_plugin! {
    plugin: Hello,
    name: "hello",
    declaration: r#"
about = "Says hello from many machines"

[[command]]
name = "hello"
help = "Run `echo hello` as tasks"
[[command.argument]]
name = "count"
short = "n"
long = "count"
default = "1"
help = "Number of tasks"
"#,
}
