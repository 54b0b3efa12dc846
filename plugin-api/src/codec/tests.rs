use std::{
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex},
};

use super::*;
use crate::{
    Calls, CommandHost, Executor, ExecutorCalls, FakeMaster, Framework, Injector, Invocation, Plugin, Time,
    abi::{ByteHost, in_process},
    command::{Cluster, RunFramework, RunFrameworkResult},
    framework,
    v1::{self, TaskInfo, Uri},
};

/// A plugin whose command does what its first word says, and whose halves tell what they get.
struct Telling;

impl Plugin for Telling {
    fn command(&self, host: &dyn CommandHost, invocation: &Invocation) -> Result<i32, String> {
        match invocation.path.last().map(String::as_str) {
            Some("run") => {
                let run = RunFramework { name: "f".into(), config: b"c".to_vec(), ..Default::default() };
                host.run_framework(run).map(|result| result.exit_code)
            }
            Some(ask @ ("ask" | "ask-a-little")) => {
                let mut count = 0;
                let enough = if ask == "ask" { usize::MAX } else { 10 };
                let asked = host.request("web", b"scale".to_vec(), &mut |piece| {
                    count += piece.len();
                    if count < enough { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
                });
                asked.map(|()| i32::try_from(count).expect("few"))
            }
            Some("upload") => host.upload(Path::new("/tmp/a b")).map(|uri| i32::from(uri.value == "blob:/tmp/a b")),
            _ => host.cluster().map(|cluster| i32::from(cluster.embedded())),
        }
    }

    fn framework(&self, _config: &[u8], injector: Injector) -> Result<Box<dyn Framework>, String> {
        injector.inject(b"made".to_vec());
        Ok(Box::new(TellingFramework))
    }

    fn executor(&self, _config: &[u8], _injector: Injector) -> Result<Box<dyn Executor>, String> {
        Ok(Box::new(TellingExecutor))
    }
}

struct TellingFramework;

impl Framework for TellingFramework {
    fn on_event(&mut self, now: Time, event: framework::Event, calls: &mut Calls) {
        assert!(!matches!(event, framework::Event::Disconnected(_)), "no master");
        calls.stdout(format!("{now:?} {event:?}"));
        calls.set_timer(7, now);
    }
}

struct TellingExecutor;

impl Executor for TellingExecutor {
    fn on_event(&mut self, _now: Time, event: crate::executor::Event, calls: &mut ExecutorCalls) {
        match event {
            crate::executor::Event::Shutdown(_) => panic!("never"),
            event => calls.message(format!("{event:?}").into_bytes()),
        }
    }
}

/// A host that answers with what the test can tell apart.
#[derive(Default)]
struct TestHost {
    ran: Mutex<Vec<RunFramework>>,
}

impl CommandHost for TestHost {
    fn run_framework(&self, run: RunFramework) -> Result<RunFrameworkResult, String> {
        self.ran.lock().expect("not poisoned").push(run);
        Ok(RunFrameworkResult { exit_code: 3, framework_id: None })
    }

    fn request(&self, framework: &str, data: Vec<u8>, piece: &mut crate::command::Pieces<'_>) -> Result<(), String> {
        if framework != "web" || data != b"scale" {
            return Err(format!("no framework {framework}"));
        }
        // More than may wait at once.
        let _ = (0..PIECES).try_for_each(|_| piece(b"ab"));
        Ok(())
    }

    fn upload(&self, path: &Path) -> Result<Uri, String> {
        Ok(Uri { value: format!("blob:{}", path.display()), ..Default::default() })
    }

    fn cluster(&self) -> Result<Cluster, String> {
        Err("no master answers at 127.0.0.1:5050".into())
    }
}

const PIECES: usize = 100;

fn run(word: &str) -> Result<i32, String> {
    let invocation = Invocation { path: vec!["tell".into(), word.into()], ..Default::default() };
    let host = Arc::new(CommandServer::new(Arc::new(TestHost::default())));
    in_process::run_command(&CodedPlugin::new(Telling), host, &invocation.encode_to_vec())
}

fn new_framework(injector: Injector) -> FrameworkHalf {
    let plugin = CodedPlugin::new(Telling);
    let half = in_process::framework(&plugin, Arc::new(InjectServer(injector)), b"");
    FrameworkHalf::new(half.expect("a half"))
}

#[test]
fn a_command_reaches_every_method_of_the_host() {
    assert_eq!(run("run"), Ok(3));
    assert_eq!(run("ask"), Ok(2 * i32::try_from(PIECES).expect("few")));
    assert_eq!(run("ask-a-little"), Ok(10), "who has seen enough gets no more");
    assert_eq!(run("upload"), Ok(1));
    assert_eq!(run("cluster"), Err("no master answers at 127.0.0.1:5050".into()), "errors pass as they are");
}

#[test]
fn a_request_that_is_refused_says_why() {
    struct AsksAnother;
    impl Plugin for AsksAnother {
        fn command(&self, host: &dyn CommandHost, _: &Invocation) -> Result<i32, String> {
            host.request("other", Vec::new(), &mut |_| panic!("no piece")).map(|()| 0)
        }
    }
    let host = Arc::new(CommandServer::new(Arc::new(TestHost::default())));
    let error = in_process::run_command(&CodedPlugin::new(AsksAnother), host, &Invocation::default().encode_to_vec());
    assert_eq!(error, Err("no framework other".into()));
}

#[test]
fn events_and_calls_pass_unchanged() {
    let mut half = new_framework(Injector::new(|_| ()));
    let event = framework::Event::Signal(v1::framework::Signal { number: 15 });
    let mut direct = Calls::default();
    TellingFramework.on_event(Time(5), event.clone(), &mut direct);
    assert_eq!(half.handle(Time(5), event), Ok(direct.take()));
}

#[test]
fn an_executor_is_driven_the_same_way() {
    let plugin = CodedPlugin::new(Telling);
    let half = in_process::executor(&plugin, Arc::new(InjectServer(Injector::new(|_| ()))), b"");
    let mut half = ExecutorHalf::new(half.expect("a half"));
    let task = TaskInfo::command("T", "A".into(), v1::Resources::new(1.0, 1.0), v1::CommandInfo::default());
    let event = crate::executor::Event::Launch(v1::executor::Launch { task });
    let expected = v1::executor::Message { data: format!("{event:?}").into_bytes() };
    assert_eq!(half.handle(Time(0), event), Ok(vec![v1::executor::call::Call::Message(expected)]));

    let mut calls = ExecutorCalls::default();
    half.on_event(Time(0), crate::executor::Event::Shutdown(v1::executor::Shutdown {}), &mut calls);
    let calls = calls.take();
    let [v1::executor::call::Call::Exit(exit)] = &calls[..] else { panic!("ends: {calls:?}") };
    assert!(exit.message().starts_with("plugin test 0.1.0 panicked in handle: never at "), "{exit:?}");
}

#[test]
fn what_a_thread_injects_arrives() {
    let injected = Arc::new(Mutex::new(Vec::new()));
    let into = injected.clone();
    new_framework(Injector::new(move |data| into.lock().expect("not poisoned").push(data)));
    assert_eq!(*injected.lock().expect("not poisoned"), [b"made".to_vec()]);
}

#[test]
fn a_framework_that_panics_ends_with_the_error_and_stays_dead() {
    let mut master = FakeMaster::new(Box::new(new_framework(Injector::new(|_| ()))));
    assert_eq!(master.finished, None);
    master.send(framework::Event::Disconnected(v1::framework::Disconnected::default()));
    let first = master.finished.take().expect("finished");
    assert_eq!(first.0, 1);
    let message = first.1.as_deref().expect("an error");
    assert!(message.starts_with("plugin test 0.1.0 panicked in handle: no master at "), "{message}");
    master.offer();
    master.send(framework::Event::Connected(v1::framework::Connected {}));
    assert_eq!(master.finished, Some(first), "a dead half doesn't come back to life");
}

#[test]
fn a_plugin_ignores_events_that_it_does_not_know() {
    let plugin = CodedPlugin::new(Telling);
    let mut half = in_process::framework(&plugin, Arc::new(InjectServer(Injector::new(|_| ()))), b"").expect("a half");
    // Field 2000, an empty message.
    let unknown = [0x82, 0x7d, 0x00];
    assert_eq!(half.handle(0, &unknown), Ok(Vec::new()));
    assert!(half.handle(0, &[0xff]).unwrap_err().starts_with("the event can't be understood: "));
}

#[test]
fn an_unknown_method_is_refused_with_what_to_do() {
    let command = CommandServer::new(Arc::new(TestHost::default()));
    let half = InjectServer(Injector::new(|_| ()));
    for host in [&command as &dyn ByteHost, &half] {
        let error = host.call(99, b"").unwrap_err();
        assert!(error.contains("no method 99 here; update mesos"), "{error}");
    }
    assert!(command.call(method::NEXT_REPLY, &[8, 1]).unwrap_err().contains("the answer 1 is not open"));
    assert!(command.call(method::UPLOAD, &[0xff]).unwrap_err().starts_with("Upload can't be understood"));
}
