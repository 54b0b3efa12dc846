//! Several masters in one process over one log: one leads, the others stand by. Agent, launcher, framework and task are real.

use std::path::Path;
use std::time::Duration;

use mesos_plugin_api::framework::Event as HalfEvent;
use mesos_plugin_api::v1::{CommandInfo, FrameworkInfo, Resources, TaskInfo, TaskState};
use mesos_plugin_api::{Calls, Framework, Time};

use super::{http_get, name_of};
use crate::agent::{self, AgentConfig, AgentHandle, Bounds, MachineFiles, Master};
use crate::election::meeting::Meeting;
use crate::election::{Detector, Leader};
use crate::framework::shell::{Front, RunningFramework};
use crate::launcher::AgentLoss;
use crate::master::MasterConfig;
use crate::master::shell::{Keeps, MasterHandle, MasterOptions};
use crate::protocol::client::{ClientError, Credentials, MasterClient, Patience, RemoteMaster};
use crate::protocol::{GetCluster, ListAgents, ListTasks, operator_call, operator_reply};

/// No machine is so slow; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(60);

struct TestEnv {
    dir: tempfile::TempDir,
    meeting: Meeting,
    masters: Vec<MasterHandle>,
}

impl TestEnv {
    /// The first of them leads.
    async fn new(masters: usize) -> Self {
        let dir = tempfile::Builder::new().prefix("standby-test").tempdir().expect("a temporary folder");
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o711)).expect("our own folder");
        let mut env = Self { dir, meeting: Meeting::new(), masters: Vec::new() };
        for number in 0..masters {
            env.start_master(number).await;
            if number == 0 {
                env.masters[0].leads().await.expect("nobody else is there");
            }
        }
        env
    }

    async fn start_master(&mut self, number: usize) {
        let keeps = Keeps::Together {
            coordinator: self.meeting.candidate(),
            detector: self.meeting.detector(),
            advertise: None,
        };
        let options = MasterOptions {
            config: MasterConfig { master_id: format!("m{number}"), ..MasterConfig::default() },
            work_dir: self.dir.path().join(format!("master{number}")),
            keeps,
            listen: Some("127.0.0.1:0".parse().unwrap()),
            token: None,
        };
        self.masters.push(MasterHandle::stand_by(options).await.expect("a master"));
        // It takes its place in a thread of its own: the next one could come before it, and lead before it.
        let (meeting, masters) = (&self.meeting, self.masters.len());
        until("candidate", || async { (meeting.candidates() == masters).then_some(()) }).await;
    }

    /// Wherever it is.
    fn remote(&self) -> RemoteMaster {
        RemoteMaster::new(self.meeting.detector(), Credentials::default())
    }

    fn patient(&self) -> MasterClient {
        MasterClient::Remote(self.remote().patient(Patience { wait: DEADLINE, say: |_| {} }))
    }

    /// Whoever leads goes in order, and the next of them leads.
    async fn next_leads(&mut self) {
        drop(self.masters.remove(0));
        let leads = tokio::time::timeout(DEADLINE, self.masters[0].leads()).await;
        leads.expect("in time").expect("its turn has come");
    }

    async fn start_agent(&self, master: Master) -> AgentHandle {
        let config = AgentConfig {
            work_dir: self.dir.path().join("agent"),
            hostname: "here".into(),
            address: "127.0.0.1".parse().unwrap(),
            listen: "127.0.0.1:0".parse().unwrap(),
            resources: Resources::new(2.0, 256.0),
            attributes: Vec::new(),
            on_agent_loss: AgentLoss::Kill,
            remove_at_end: false,
            shared_folder: None,
            program: None,
            bounds: Bounds::default(),
            machine: MachineFiles::default(),
        };
        agent::start(config, master).await.expect("an agent")
    }

    async fn running_tasks(&self) -> Vec<String> {
        let call = operator_call::Call::ListTasks(ListTasks { all: None, framework: None });
        let replies = self.patient().ask(call).await.expect("an answer");
        let tasks = replies.into_iter().filter_map(|reply| match reply {
            operator_reply::Reply::Task(row) if row.status.state() == TaskState::TaskRunning => {
                Some(row.task.id.to_string())
            }
            _ => None,
        });
        tasks.collect()
    }
}

async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, found).await.unwrap_or_else(|_| panic!("no {what} in time"))
}

/// One task, whose exit code is the framework's.
struct One {
    task: TaskInfo,
    launched: bool,
}

impl Framework for One {
    fn on_event(&mut self, _now: Time, event: HalfEvent, calls: &mut Calls) {
        match event {
            HalfEvent::Offers(offers) => {
                for offer in offers.offers {
                    let first = !std::mem::replace(&mut self.launched, true);
                    let task = TaskInfo { agent_id: offer.parts[0].agent_id.clone(), ..self.task.clone() };
                    calls.accept([offer.id], first.then_some(task).into_iter().collect::<Vec<_>>());
                }
                calls.suppress();
            }
            HalfEvent::Update(update) if update.status.state().is_terminal() => {
                calls.finish(update.status.shell_code(), None);
            }
            _ => {}
        }
    }
}

async fn start_framework(client: MasterClient, gate: &Path) -> RunningFramework {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
    let info = FrameworkInfo {
        name: "one".into(),
        user: user.expect("who runs tests has a name"),
        role: "default".into(),
        failover_timeout_ms: Some(60_000),
        ..FrameworkInfo::default()
    };
    let waits = format!("while [ ! -e {} ]; do sleep 0.02; done; exit 7", gate.display());
    let command = CommandInfo::argv(["/bin/sh", "-c", &waits]);
    let task = TaskInfo::command("t", "".into(), Resources::new(0.1, 16.0), command);
    let half = One { task, launched: false };
    RunningFramework::start(client, info, None, None, |_| Ok(Box::new(half))).await.expect("a framework")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agent_and_framework_follow_the_leader_and_the_task_runs_on() {
    let mut env = TestEnv::new(3).await;
    let agent = env.start_agent(Master::Remote(env.remote())).await;
    let gate = env.dir.path().join("gate");
    let mut framework = start_framework(env.patient(), &gate).await;
    until("task", || async { (env.running_tasks().await == ["t"]).then_some(()) }).await;
    for _ in 0..2 {
        env.next_leads().await;
        until("task that runs on", || async { (env.running_tasks().await == ["t"]).then_some(()) }).await;
    }
    std::fs::write(&gate, "").unwrap();
    let ended = async {
        loop {
            match framework.front.recv().await {
                Some(Front::Ended { exit_code, .. }) => return exit_code,
                Some(_) => {}
                None => panic!("no last word"),
            }
        }
    };
    assert_eq!(tokio::time::timeout(DEADLINE, ended).await.expect("in time"), 7);
    agent.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_by_sends_everyone_to_the_leader() {
    let env = TestEnv::new(2).await;
    let [leads, stands_by] = [0, 1].map(|number: usize| env.masters[number].address().unwrap());
    // Its answer is the first that it can give.
    let client = MasterClient::connect(&stands_by.to_string(), Credentials::default()).await.unwrap();
    let answer = client.ask(operator_call::Call::GetCluster(GetCluster {})).await.unwrap();
    assert!(matches!(&answer[..], [operator_reply::Reply::Cluster(state)] if state.master_id == "m0"));
    client.agent_link().await.unwrap();
    client.scheduler_link().await.unwrap();

    assert!(http_get(leads, "/health", "").await.ends_with("ok\n"));
    assert!(http_get(stands_by, "/health", "").await.ends_with(&format!("standby; the leader is {leads}\n")));
    let state = http_get(stands_by, "/state", "").await;
    assert!(state.contains("\"standby\":true") && state.contains(&leads.to_string()), "{state}");
    assert!(http_get(stands_by, "/metrics", "").await.contains("mesos_master_leading 0"));
    assert!(http_get(leads, "/metrics", "").await.contains("mesos_master_leading 1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_session_has_ended_ends() {
    for told in [true, false] {
        let mut env = TestEnv::new(2).await;
        let old = Master::Local(env.masters[0].local());
        env.meeting.expire_leader(told);
        env.masters[1].leads().await.unwrap();
        if !told {
            // It doesn't know until it writes: whoever needs that to be kept isn't told that it is.
            let agent = env.start_agent(old).await;
            let line = tokio::time::timeout(DEADLINE, env.masters[0].ended()).await.expect("in time");
            assert!(line.contains("another master leads"), "{line}");
            agent.stop().await;
            continue;
        }
        let line = tokio::time::timeout(DEADLINE, env.masters[0].ended()).await.expect("in time");
        assert_eq!(line, "its session has ended");
    }
}

#[tokio::test]
async fn a_link_is_left_when_another_one_leads_and_not_when_nobody_is_known_to() {
    let env = TestEnv::new(1).await;
    let leader = Leader { address: env.masters[0].address().unwrap().to_string(), id: "1".into() };
    let (sender, detector) = Detector::channel("a test");
    sender.send_replace(Some(leader.clone()));
    let client = MasterClient::Remote(RemoteMaster::new(detector, Credentials::default()));
    let mut link = client.agent_link().await.unwrap();
    sender.send_replace(None);
    assert!(client.agent_link().await.is_err_and(|error| matches!(error, ClientError::NoLeader { .. })));
    sender.send_replace(Some(leader.clone()));
    tokio::task::yield_now().await;
    assert!(!link.inbox.is_closed());
    sender.send_replace(Some(Leader { id: "2".into(), ..leader }));
    let left = tokio::time::timeout(DEADLINE, link.inbox.recv()).await.expect("in time");
    assert_eq!(left, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_patient_waits_for_a_leader_and_others_are_told() {
    let mut env = TestEnv::new(0).await;
    let ask = || operator_call::Call::ListAgents(ListAgents { all: None });
    let error = MasterClient::Remote(env.remote()).ask(ask()).await.unwrap_err().to_string();
    assert!(error.contains("no master leads at the meeting"), "{error}");
    let patience = Patience { wait: Duration::from_millis(1), say: |_| {} };
    let error = MasterClient::Remote(env.remote().patient(patience)).ask(ask()).await.unwrap_err().to_string();
    assert!(error.contains("no master leads at the meeting"), "{error}");

    let client = env.patient();
    let asked = tokio::spawn(async move { client.ask(ask()).await });
    env.start_master(0).await;
    assert_eq!(tokio::time::timeout(DEADLINE, asked).await.expect("in time").unwrap().unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_uploaded_to_one_master_is_given_to_the_next_before_the_framework_is() {
    let mut env = TestEnv::new(2).await;
    let client = env.patient();
    let (from, into) = (env.dir.path().join("program"), env.dir.path().join("copy"));
    std::fs::write(&from, "#!/bin/sh\n").unwrap();
    let name = name_of(b"#!/bin/sh\n");
    client.put_blob(&from, &name).await.unwrap();
    // As if the next one had not been there in time.
    let copies = env.masters[1].local().blobs;
    until("copy", || async { copies.path(&name).ok() }).await;
    env.next_leads().await;
    std::fs::remove_dir_all(env.dir.path().join("master1/blobs")).unwrap();
    std::fs::create_dir(env.dir.path().join("master1/blobs")).unwrap();
    let other = env.patient();
    assert!(other.get_blob(&name, &into).await.is_err_and(|error| matches!(error, ClientError::NotThere(_))));
    client.first_scheduler_link().await.unwrap();
    other.get_blob(&name, &into).await.unwrap();

    // One that can't be read any more keeps nobody from the next master.
    std::fs::remove_file(&from).unwrap();
    env.start_master(2).await;
    env.next_leads().await;
    client.first_scheduler_link().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_by_copies_what_is_uploaded_and_what_was() {
    let mut env = TestEnv::new(2).await;
    let (client, into) = (env.patient(), env.dir.path().join("copy"));
    let contents = ["before anybody looked", "while somebody looks"];
    for content in contents {
        let path = env.dir.path().join("upload");
        std::fs::write(&path, content).unwrap();
        client.put_blob(&path, &name_of(content.as_bytes())).await.unwrap();
        let blobs = env.masters[1].local().blobs;
        until("copy", || async { blobs.path(&name_of(content.as_bytes())).ok() }).await;
    }
    env.start_master(2).await;
    let blobs = env.masters[2].local().blobs;
    for content in contents {
        until("copy", || async { blobs.path(&name_of(content.as_bytes())).ok() }).await;
    }
    env.next_leads().await;
    env.patient().get_blob(&name_of(contents[0].as_bytes()), &into).await.unwrap();
    assert_eq!(std::fs::read_to_string(&into).unwrap(), contents[0]);
}
