//! A plugin with all three halves, which say everything once: `mesos NAME WORDS` gives the words to an executor, which has a
//! process print them and hands what it printed back.

use mesos_plugin_api::command::RunFramework;
use mesos_plugin_api::executor::{Event as ExecutorEvent, Pipe};
use mesos_plugin_api::framework::Event;
use mesos_plugin_api::v1::executor::Spawn;
use mesos_plugin_api::v1::{AgentId, CommandInfo, ExecutorInfo, Offer, PluginRef, Resources, TaskId, TaskInfo, TaskState};
use mesos_plugin_api::{
    Calls, CommandHost, Executor, ExecutorCalls, Framework, Injector, Invocation, Plugin, Time, export_plugin,
};

struct Golden;

impl Plugin for Golden {
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        ask(host)?;
        let words: Vec<String> =
            invocation.trailing.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let (name, config) = (env!("GOLDEN_NAME").to_string(), words.join(" ").into_bytes());
        let run = RunFramework { name, name_is_prefix: Some(true), config, ..Default::default() };
        host.run_framework(run).map(|result| result.exit_code)
    }

    fn framework(&self, config: &[u8], injector: Injector) -> Result<Box<dyn Framework>, String> {
        injector.inject(b"ready".to_vec());
        Ok(Box::new(Scheduler { words: config.to_vec(), plugin: None, agent: None, steps: Vec::new() }))
    }

    fn executor(&self, config: &[u8], _: Injector) -> Result<Box<dyn Executor>, String> {
        Ok(Box::new(OnAgent { words: config.to_vec(), task: None, printed: Vec::new() }))
    }
}

/// Asks the host something that has an answer.
fn ask(host: &dyn CommandHost) -> Result<(), String> {
    host.cluster().map(drop)
}

/// Launches one task and waits for its words, its timer, its write and its end.
struct Scheduler {
    words: Vec<u8>,
    plugin: Option<PluginRef>,
    agent: Option<AgentId>,
    steps: Vec<&'static str>,
}

impl Framework for Scheduler {
    fn on_event(&mut self, now: Time, event: Event, calls: &mut Calls) {
        match event {
            Event::Started(started) => {
                self.plugin = started.plugin;
                calls.set_timer(1, now);
                calls.put_state("words", Some(self.words.clone()), 1);
            }
            Event::Injected(_) => self.step("injected", calls),
            Event::Timer(_) => self.step("timer", calls),
            Event::StateStored(stored) if stored.error.is_none() => self.step("stored", calls),
            Event::Offers(offers) => offers.offers.into_iter().for_each(|offer| self.launch(offer, calls)),
            Event::Message(message) => {
                calls.stdout(message.data);
                calls.message(message.agent_id, message.executor_id, b"thanks".to_vec());
                self.step("message", calls);
            }
            Event::Update(update) if update.status.state() == TaskState::TaskFinished => self.step("finished", calls),
            Event::Update(update) if update.status.state().is_terminal() => calls.finish(1, update.status.message),
            _ => {}
        }
    }
}

impl Scheduler {
    fn launch(&mut self, offer: Offer, calls: &mut Calls) {
        if self.agent.is_some() {
            return calls.accept([offer.id], Vec::new());
        }
        let (agent, each) = (offer.parts[0].agent_id.clone(), Resources::new(0.1, 32.0));
        let executor = ExecutorInfo {
            id: "e".into(),
            plugin: self.plugin.clone().expect("it was started"),
            resources: each.clone(),
            config: Some(self.words.clone()),
            ..Default::default()
        };
        self.agent = Some(agent.clone());
        calls.accept([offer.id], vec![TaskInfo::executor("t", agent, each, executor, Vec::new())]);
        calls.suppress();
    }

    fn step(&mut self, step: &'static str, calls: &mut Calls) {
        self.steps.push(step);
        if ["injected", "timer", "stored", "message", "finished"].iter().all(|step| self.steps.contains(step)) {
            calls.finish(0, None);
        }
    }
}

/// Prints the words by a process, and ends the task when the scheduler thanks for them.
struct OnAgent {
    words: Vec<u8>,
    task: Option<TaskId>,
    printed: Vec<u8>,
}

impl Executor for OnAgent {
    fn on_event(&mut self, _: Time, event: ExecutorEvent, calls: &mut ExecutorCalls) {
        match event {
            ExecutorEvent::Launch(launch) => {
                calls.update_state(&launch.task.id, TaskState::TaskRunning);
                self.task = Some(launch.task.id);
                let command = CommandInfo::argv([&b"/bin/echo"[..], &self.words]);
                let pipe = Pipe { stream: 1, fd: Some(1), ..Default::default() };
                calls.spawn(Spawn { process: 1, command, pipes: vec![pipe], ..Default::default() });
            }
            ExecutorEvent::StreamData(data) => self.printed.extend(data.data),
            ExecutorEvent::ProcessExited(_) => calls.message(std::mem::take(&mut self.printed)),
            ExecutorEvent::ProcessFailed(failed) => calls.exit(Some(failed.message)),
            ExecutorEvent::Message(_) => {
                calls.update_state(self.task.as_ref().expect("it was launched"), TaskState::TaskFinished);
            }
            ExecutorEvent::Shutdown(_) => calls.exit(None),
            _ => {}
        }
    }
}

export_plugin! {
    plugin: Golden,
    name: env!("GOLDEN_NAME"),
    declaration: concat!(
        "about = \"Kept to see that it still loads\"\n[[command]]\nname = \"",
        env!("GOLDEN_NAME"),
        "\"\nhelp = \"Print words on an agent\"\n[[command.argument]]\nname = \"words\"\nhelp = \"The words\"\ntrailing = true\n"
    ),
}
