//! Masters that meet in real ZooKeeper servers, which are killed, paused and cut off meanwhile.

use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use harness::{Proxy, ZooKeeper as Servers, or_skip, poll};
use mesos_host::election::{Coordinator, CoordinatorError, Detector, Kept, ZooKeeper, ZooKeeperAddress, ZooKeeperAuth};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use zookeeper_client::{Acls, Client, CreateMode, Error};

/// So long that no loaded machine ends it.
const PATIENT: Duration = Duration::from_secs(40);
/// So short that a test can wait for its end.
const SHORT: Duration = Duration::from_secs(6);
/// Everything that is waited for comes within this.
const SOON: Duration = Duration::from_secs(60);

fn master(address: &str, auth: Option<&str>, session: Duration) -> ZooKeeper {
    let address: ZooKeeperAddress = address.parse().unwrap();
    let auth = auth.map(|auth| ZooKeeperAuth::parse(auth).unwrap());
    ZooKeeper::new(&address, auth, session).unwrap()
}

type Outcome = Result<(ZooKeeper, Kept), CoordinatorError>;

/// Has it wait for its turn in a thread.
fn contend(mut master: ZooKeeper, own_address: &'static str) -> Receiver<Outcome> {
    let (tell, outcome) = mpsc::channel();
    thread::spawn(move || {
        let outcome = master.lead(own_address).map(|kept| (master, kept));
        // A test that has failed doesn't listen any more.
        let _ = tell.send(outcome);
    });
    outcome
}

fn led(outcome: &Receiver<Outcome>) -> (ZooKeeper, Kept) {
    outcome.recv_timeout(SOON).expect("its turn comes").unwrap_or_else(|error| panic!("{error}"))
}

fn waits(outcome: &Receiver<Outcome>) -> bool {
    matches!(outcome.try_recv(), Err(mpsc::TryRecvError::Empty))
}

fn is_told(lost: &mut watch::Receiver<Option<String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(async {
        tokio::time::timeout(SOON, lost.wait_for(Option::is_some)).await.expect("it is told").unwrap().clone()
    });
    assert!(told.unwrap().contains("another one may lead"));
}

fn detector(address: &str) -> Detector {
    Detector::zookeeper(&address.parse().unwrap(), None).unwrap()
}

fn wait_for_leader(detector: &Detector, address: Option<&str>) {
    poll::until(SOON, &format!("the leader {address:?}"), || {
        (detector.leader().map(|leader| leader.address).as_deref() == address).then_some(())
    });
}

/// Waits until that many masters stand in line.
fn wait_for_line(servers: &Servers, node: &str, count: usize) {
    let view = View::of(servers);
    poll::until(SOON, &format!("{count} masters in line"), || {
        (view.children(&format!("{node}/masters")).len() == count).then_some(())
    });
}

/// ZooKeeper as somebody sees it who isn't a master.
struct View {
    runtime: Runtime,
    client: Client,
}

impl View {
    fn of(servers: &Servers) -> View {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let connector = Client::connector().with_session_timeout(PATIENT);
        let client = runtime.block_on(connector.connect(&servers.servers())).unwrap();
        View { runtime, client }
    }

    fn children(&self, node: &str) -> Vec<String> {
        let mut names = match self.runtime.block_on(self.client.list_children(node)) {
            Err(Error::NoNode) => Vec::new(),
            names => names.unwrap(),
        };
        names.sort();
        names
    }

    fn read(&self, node: &str) -> Result<Vec<u8>, Error> {
        self.runtime.block_on(self.client.get_data(node)).map(|(data, _)| data)
    }

    fn make(&self, node: &str, data: &[u8]) {
        let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
        self.runtime.block_on(self.client.create(node, data, &options)).map(drop).unwrap();
    }

    fn write(&self, node: &str, data: &[u8]) {
        self.runtime.block_on(self.client.set_data(node, data, None)).map(drop).unwrap();
    }
}

#[test]
fn masters_lead_in_turn_and_the_next_one_has_all_records() {
    let servers = or_skip!(Servers::single());
    let address = servers.address("/a/mesos");
    let seen = detector(&address);
    let (mut first, kept) = led(&contend(master(&address, None, PATIENT), "h:1"));
    assert_eq!(kept, Kept::default());
    wait_for_leader(&seen, Some("h:1"));
    let id = seen.leader().unwrap().id;
    for (index, record) in [&b"one"[..], b"", b"three"].into_iter().enumerate() {
        first.append(index as u64, record).unwrap();
    }

    let second = contend(master(&address, None, PATIENT), "h:2");
    wait_for_line(&servers, "/a/mesos", 2);
    let gives_up = master(&address, None, PATIENT);
    let resign = gives_up.resigner();
    let third = contend(gives_up, "h:3");
    wait_for_line(&servers, "/a/mesos", 3);
    resign();
    let outcome = third.recv_timeout(SOON).expect("it doesn't wait any more");
    assert!(matches!(outcome, Err(CoordinatorError::Resigned)));
    wait_for_line(&servers, "/a/mesos", 2);
    assert!(waits(&second), "the first one leads");

    let lost = first.lost();
    (first.resigner())();
    let (mut second, kept) = led(&second);
    assert_eq!((kept.records, kept.next), (vec![b"one".to_vec(), b"".to_vec(), b"three".to_vec()], 3));
    wait_for_leader(&seen, Some("h:2"));
    assert_ne!(seen.leader().unwrap().id, id);
    assert!(first.append(3, b"late").is_err());
    assert_eq!(*lost.borrow(), None, "it knows that it has resigned");
    second.append(3, b"four").unwrap();
    // One that has taken the same index finds it taken.
    let again = second.append(3, b"four, otherwise");
    assert!(matches!(again, Err(CoordinatorError::Superseded { index: 3, .. })), "{again:?}");

    // Somebody removes its node by hand: nobody has to write before it is over.
    let mut lost = second.lost();
    let view = View::of(&servers);
    let own = view.children("/a/mesos/masters").remove(0);
    view.runtime.block_on(view.client.delete(&format!("/a/mesos/masters/{own}"), None)).unwrap();
    let late = second.append(4, b"late").unwrap_err();
    assert!(matches!(late, CoordinatorError::SessionLost { .. }), "{late}");
    is_told(&mut lost);
    wait_for_leader(&seen, None);
}

#[test]
fn a_record_whose_answer_is_lost_is_written_once() {
    let servers = or_skip!(Servers::single());
    let (address, way) = (servers.address("/mesos"), Proxy::to(&servers.servers()));
    let view = View::of(&servers);
    let (mut first, _) = led(&contend(master(&format!("zk://{}/mesos", way.address()), None, PATIENT), "h:1"));
    let large = vec![7; 1200 << 10];
    for round in 0..3 {
        way.block_answers();
        let (asked, large) = (round * 2, large.clone());
        let writing = thread::spawn(move || {
            first.append(asked, b"small").unwrap();
            first.append(asked + 1, &large).unwrap();
            first
        });
        let arrived = || (view.children("/mesos/log").len() as u64 > asked).then_some(());
        poll::until(SOON, "the record", arrived);
        way.cut();
        way.unblock();
        first = writing.join().unwrap();
    }
    way.block_answers();
    let snapshotting = thread::spawn(move || first.compact(6, &[b"snapshot".to_vec()]).map(|()| first));
    let arrived = || view.children("/mesos/parts").iter().any(|name| name.starts_with("snapshot")).then_some(());
    poll::until(SOON, "the snapshot's folder", arrived);
    way.cut();
    way.unblock();
    let mut first = snapshotting.join().unwrap().unwrap();
    first.append(6, b"last").unwrap();
    drop(first);
    let (_, kept) = led(&contend(master(&address, None, PATIENT), "h:2"));
    assert_eq!((kept.records, kept.next), (vec![b"snapshot".to_vec(), b"last".to_vec()], 7));
}

#[test]
fn a_master_that_is_cut_off_is_followed_and_can_write_no_more() {
    let servers = or_skip!(Servers::single());
    let (address, way) = (servers.address("/mesos"), Proxy::to(&servers.servers()));
    let seen = detector(&address);
    let first = master(&format!("zk://{}/mesos", way.address()), None, SHORT);
    let mut lost = first.lost();
    let (mut first, _) = led(&contend(first, "h:1"));
    first.append(0, b"kept").unwrap();
    let second = contend(master(&address, None, PATIENT), "h:2");
    wait_for_line(&servers, "/mesos", 2);

    way.block();
    // Asked for while nobody knows yet. It never comes back with a yes.
    let late = thread::spawn(move || (first.append(1, b"never promised"), first));
    let (mut second, kept) = led(&second);
    assert_eq!(kept.records, [b"kept".to_vec()]);
    wait_for_leader(&seen, Some("h:2"));
    second.append(1, b"the second master's").unwrap();
    way.unblock();
    let (late, mut first) = late.join().unwrap();
    assert!(matches!(late, Err(CoordinatorError::SessionLost { .. })), "{late:?}");
    is_told(&mut lost);
    let error = first.append(2, b"too late").unwrap_err();
    assert!(matches!(error, CoordinatorError::SessionLost { .. }), "{error}");

    drop(second);
    let (_, kept) = led(&contend(master(&address, None, PATIENT), "h:3"));
    assert_eq!(kept.records, [b"kept".to_vec(), b"the second master's".to_vec()]);
}

#[test]
fn zookeeper_may_be_away_at_the_start_and_later() {
    let mut servers = or_skip!(Servers::stopped());
    let address = servers.address("/mesos");
    let (first, seen) = (contend(master(&address, None, PATIENT), "h:1"), detector(&address));
    assert!(waits(&first));
    servers.start(0);
    let (mut first, _) = led(&first);
    wait_for_leader(&seen, Some("h:1"));
    let lost = first.lost();

    for round in 0..2 {
        servers.kill(0);
        let appending = thread::spawn(move || {
            first.append(round, format!("record {round}").as_bytes()).unwrap();
            first
        });
        servers.start(0);
        first = appending.join().unwrap();
        assert_eq!(seen.leader().unwrap().address, "h:1");
    }
    assert_eq!(*lost.borrow(), None);
    // What watches was armed again.
    drop(first);
    wait_for_leader(&seen, None);
    let (_, kept) = led(&contend(master(&address, None, PATIENT), "h:2"));
    assert_eq!(kept.records, [b"record 0".to_vec(), b"record 1".to_vec()]);
    wait_for_leader(&seen, Some("h:2"));
}

#[test]
fn an_ensemble_that_loses_its_leader_loses_no_record() {
    let mut servers = or_skip!(Servers::ensemble());
    let address = servers.address("/mesos");
    let seen = detector(&address);
    let (mut first, _) = led(&contend(master(&address, None, PATIENT), "h:1"));
    let second = contend(master(&address, None, PATIENT), "h:2");
    wait_for_line(&servers, "/mesos", 2);

    let (stop, stopped) = mpsc::channel::<()>();
    let writing = thread::spawn(move || {
        let mut next = 0;
        while stopped.try_recv() == Err(mpsc::TryRecvError::Empty) {
            first.append(next, &next.to_le_bytes()).unwrap();
            next += 1;
        }
        (first, next)
    });
    for round in 0..3 {
        let leader = servers.leader();
        // A server that is silent is as good as dead to the others, and to those who are connected to it.
        if round == 1 {
            servers.pause(leader)
        } else {
            servers.kill(leader)
        }
        let others: Vec<usize> = (0..3).filter(|server| *server != leader).collect();
        servers.wait_for_leader_among(&others);
        if round == 1 {
            servers.go_on(leader)
        } else {
            servers.start(leader)
        }
        servers.wait_until_ready();
    }
    stop.send(()).unwrap();
    let (first, next) = writing.join().expect("each was written");
    assert!(next > 0 && waits(&second));
    drop(first);
    let (_, kept) = led(&second);
    let wanted: Vec<Vec<u8>> = (0..next).map(|number| number.to_le_bytes().to_vec()).collect();
    assert!(kept.records == wanted, "{} records of {next}", kept.records.len());
    wait_for_leader(&seen, Some("h:2"));
}

#[test]
fn large_records_and_snapshots_are_in_parts_and_what_they_replace_goes() {
    let servers = or_skip!(Servers::single());
    let address = servers.address("/mesos");
    let (mut first, _) = led(&contend(master(&address, None, PATIENT), "h:1"));
    let record = |byte: u8, kilobytes: usize| vec![byte; kilobytes << 10];
    // More than are read or deleted at once.
    for index in 0..300 {
        first.append(index, &index.to_le_bytes()).unwrap();
    }
    first.append(300, &record(1, 3000)).unwrap();
    let view = View::of(&servers);
    assert_eq!(view.children("/mesos/parts").len(), 1);
    drop(first);

    let (mut second, kept) = led(&contend(master(&address, None, PATIENT), "h:2"));
    assert_eq!((kept.records.len(), kept.next), (301, 301));
    assert!(kept.records[299] == 299u64.to_le_bytes() && kept.records[300] == record(1, 3000));
    let snapshot = [record(2, 700), Vec::new(), record(3, 512), record(4, 1500)];
    second.compact(301, &snapshot).unwrap();
    second.append(301, b"after it").unwrap();
    poll::until(SOON, "the old records' end", || (view.children("/mesos/log").len() == 1).then_some(()));
    poll::until(SOON, "the old parts' end", || (view.children("/mesos/parts").len() == 1).then_some(()));
    second.compact(302, &snapshot[..2]).unwrap();
    second.append(302, b"after that").unwrap();
    // One that was cut short: nothing names it.
    view.make("/mesos/parts/snapshot-00000000000000000900-0123", b"");
    view.make("/mesos/parts/snapshot-00000000000000000900-0123/0000000000", b"half");
    drop(second);

    let (mut third, kept) = led(&contend(master(&address, None, PATIENT), "h:3"));
    assert_eq!(kept.next, 303);
    assert!(kept.records == [&snapshot[..2], &[b"after that".to_vec()]].concat());
    third.compact(303, &snapshot).unwrap();
    poll::until(SOON, "what was cut short to go", || (view.children("/mesos/parts").len() == 1).then_some(()));
    drop(third);

    let folder = format!("/mesos/parts/{}", view.children("/mesos/parts")[0]);
    view.write(&format!("{folder}/0000000001"), b"other bytes");
    let error = contend(master(&address, None, PATIENT), "h:4").recv_timeout(SOON).unwrap().map(drop).unwrap_err();
    assert!(matches!(&error, CoordinatorError::Incomplete { node, .. } if *node == folder), "{error}");
}

#[test]
fn nodes_of_another_user_or_another_layout_are_refused_in_a_line() {
    let servers = or_skip!(Servers::single());
    let address = servers.address("/mesos");
    let (mut first, _) = led(&contend(master(&address, Some("us:secret"), PATIENT), "h:1"));
    first.append(0, b"the key").unwrap();
    for auth in [None, Some("us:wrong")] {
        let outcome = contend(master(&address, auth, PATIENT), "h:2").recv_timeout(SOON).unwrap();
        let line = outcome.map(drop).unwrap_err().to_string();
        assert!(line.contains("/mesos/masters") && line.contains("--zk-auth-file"), "{line}");
    }
    // Who leads is for all to know, what it keeps is not.
    wait_for_leader(&detector(&address), Some("h:1"));
    let view = View::of(&servers);
    let node = "/mesos/log/00000000000000000000";
    assert_eq!((view.read(node), view.read("/mesos/snapshot")), (Err(Error::NoAuth), Err(Error::NoAuth)));
    drop(first);
    let with_user = address.replace("zk://", "zk://us:secret@");
    let (_, kept) = led(&contend(master(&with_user, None, PATIENT), "h:3"));
    assert_eq!(kept.records, [b"the key".to_vec()]);

    view.make("/newer", b"");
    view.make("/newer/layout", b"2");
    let newer = contend(master(&servers.address("/newer"), None, PATIENT), "h:1").recv_timeout(SOON).unwrap();
    let line = newer.map(drop).unwrap_err().to_string();
    assert!(line.contains("/newer/layout") && line.contains("layout 2") && line.contains("--zk"), "{line}");
    assert_eq!(view.children("/newer"), ["layout"], "nothing is touched");
}
