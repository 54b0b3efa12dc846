//! A whole plugin: `mesos hello -n 3` runs `echo hello` as three tasks and shows what they say.

use mesos_plugin_api::prelude::*;

struct Hello;

impl Plugin for Hello {
    /// Runs in the process of the person who typed the command.
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        let count: u32 = invocation.get("count", "a number of tasks")?;
        host.run(RunFramework::job("hello", count.to_le_bytes()))
    }

    /// Makes the scheduler from the bytes that the command gave.
    fn framework(&self, config: &[u8], _: Injector) -> Result<Box<dyn Framework>, String> {
        let count = config.try_into().map_err(|_| "hello wants four bytes as its configuration")?;
        Ok(Box::new(Greeter { unlaunched: u32::from_le_bytes(count), running: 0, exit_code: 0 }))
    }
}

/// The scheduler: no clock, no files, no sockets; events in, calls out.
struct Greeter {
    unlaunched: u32,
    running: u32,
    exit_code: i32,
}

impl Framework for Greeter {
    fn on_event(&mut self, _now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Offers(offers) => offers.offers.into_iter().for_each(|offer| self.launch(offer, calls)),
            Event::Update(update) if update.status.state().is_terminal() => {
                self.running -= 1;
                self.exit_code = self.exit_code.max(update.status.shell_code());
            }
            _ => {}
        }
        if self.unlaunched + self.running == 0 {
            calls.finish(self.exit_code, None);
        }
    }
}

impl Greeter {
    /// Puts as many tasks on the offer as it holds; what is left over goes back to the master.
    fn launch(&mut self, offer: Offer, calls: &mut Calls) {
        let each = Resources::new(0.1, 16.0);
        let fit = offer.resources().times(&each).min(self.unlaunched);
        let ids = self.unlaunched - fit..self.unlaunched;
        (self.unlaunched, self.running) = (self.unlaunched - fit, self.running + fit);
        let echo = CommandInfo::argv(["echo", "hello"]);
        let task = |id| TaskInfo::command(format!("hello-{id}"), offer.agent().clone(), each.clone(), echo.clone());
        let tasks: Vec<_> = ids.map(task).collect();
        tasks.iter().for_each(|task| calls.follow_output(task.id.clone()));
        calls.accept([offer.id], tasks);
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
argument = [{ name = "count", short = "n", long = "count", default = "1", help = "Number of tasks" }]
"#,
}
