use std::io::{self, Write};
use std::sync::Mutex;

use mesos_host::master::MasterConfig;
use mesos_host::master::shell::{Keeps, MasterHandle, MasterOptions};
use mesos_plugin_api::framework::{FollowFile, Output};

use super::followers::Sink;
use super::screen::Writer;
use super::*;

/// What was written, in order, by stream.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<(&'static str, String)>>>);

struct Pen {
    paper: Paper,
    name: &'static str,
    broken: bool,
}

impl Write for Pen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let text = String::from_utf8(bytes.to_vec()).expect("text");
        self.paper.0.lock().expect("not poisoned").push((self.name, text));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Paper {
    fn screen(&self, out_broken: bool) -> Screen {
        let pen = |name, broken| Pen { paper: self.clone(), name, broken };
        Screen::start_on(Writer::new(pen("out", out_broken), pen("err", false), false))
    }

    fn lines(&self) -> Vec<(&'static str, String)> {
        self.0.lock().expect("not poisoned").clone()
    }

    fn text(&self, stream: &str) -> String {
        self.lines().into_iter().filter(|(name, _)| *name == stream).map(|(_, text)| text).collect()
    }
}

fn output(stderr: bool, text: &str) -> Front {
    Front::Output(Output { data: text.as_bytes().to_vec(), stderr: stderr.then_some(true) })
}

struct TestEnv {
    _dir: tempfile::TempDir,
    master: MasterHandle,
    paper: Paper,
    screen: Screen,
    front: mpsc::Sender<Front>,
    front_in: Option<mpsc::Receiver<Front>>,
    press: mpsc::Sender<Press>,
    presses: Option<mpsc::Receiver<Press>>,
    events: mpsc::Receiver<HalfEvent>,
    events_out: mpsc::Sender<HalfEvent>,
}

impl TestEnv {
    async fn new(out_broken: bool) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let work_dir = dir.path().to_path_buf();
        let options = MasterOptions {
            config: MasterConfig::default(),
            work_dir,
            keeps: Keeps::Memory,
            listen: None,
            token: None,
        };
        let master = MasterHandle::start(options).await.expect("starts");
        let paper = Paper::default();
        let screen = paper.screen(out_broken);
        let (front, front_in) = mpsc::channel(16);
        let (press, presses) = mpsc::channel(16);
        let (events_out, events) = mpsc::channel(16);
        let (front_in, presses) = (Some(front_in), Some(presses));
        Self { _dir: dir, master, paper, screen, front, front_in, press, presses, events, events_out }
    }

    async fn attend(&mut self) -> Result<Ended> {
        let client = MasterClient::Local(self.master.local());
        let (front, presses) = (self.front_in.take().expect("once"), self.presses.take().expect("once"));
        let (pause, _paused) = watch::channel(false);
        let ended = attend(&client, front, &self.events_out, presses, &pause, &self.screen, &mut |_, _| Ok(())).await;
        self.screen.end().await;
        ended
    }
}

#[tokio::test]
async fn output_keeps_its_stream_and_order_and_the_last_word_comes_last() {
    let mut env = TestEnv::new(false).await;
    for word in [output(false, "one\n"), output(true, "two\n"), output(false, "three"), Front::MasterLost(None)] {
        env.front.send(word).await.expect("room");
    }
    env.front.send(Front::Ended { exit_code: 7, message: Some("task failed".into()) }).await.expect("room");
    assert_eq!(env.attend().await.expect("ends"), Ended { exit_code: 7, framework_id: None });
    let expected = [
        ("out", "one\n"),
        ("err", "two\n"),
        ("out", "three"),
        // Our own lines begin at the left margin.
        ("err", "\nmesos: the master is back\n"),
        ("err", "mesos: task failed\n"),
    ];
    assert_eq!(env.paper.lines(), expected.map(|(stream, text)| (stream, text.to_string())));
}

#[tokio::test]
async fn presses_are_the_frameworks_until_one_too_many() {
    let mut env = TestEnv::new(false).await;
    for press in [Press::Ask(2), Press::Ask(2), Press::Abort(2)] {
        env.press.send(press).await.expect("room");
    }
    assert_eq!(env.attend().await.expect("ends").exit_code, 130);
    assert!(env.paper.text("err").contains("ended by force"));
}

#[tokio::test]
async fn a_runner_that_vanishes_is_an_error() {
    let mut env = TestEnv::new(false).await;
    env.front = mpsc::channel(1).0;
    assert!(env.attend().await.unwrap_err().to_string().contains("without a word"));
}

#[tokio::test]
async fn the_framework_is_asked_to_end_when_nobody_reads_its_output() {
    let mut env = TestEnv::new(true).await;
    env.front.send(output(false, "lost\n")).await.expect("room");
    let (front, mut events) = (env.front.clone(), std::mem::replace(&mut env.events, mpsc::channel(1).1));
    let framework = tokio::spawn(async move {
        let event = events.recv().await;
        front.send(Front::Ended { exit_code: 143, message: None }).await.expect("attended");
        event
    });
    assert_eq!(env.attend().await.expect("ends").exit_code, 143);
    let event = framework.await.expect("no panic");
    assert!(matches!(&event, Some(HalfEvent::Signal(signal)) if signal.number == 15), "{event:?}");
}

fn labelled(label: Option<&str>) -> FollowFile {
    FollowFile { path: "stdout".into(), label: label.map(ToString::to_string), ..FollowFile::default() }
}

#[tokio::test]
async fn labelled_lines_are_whole_also_the_last_one() {
    let paper = Paper::default();
    let screen = paper.screen(false);
    let mut sink = Sink::open(labelled(Some("3: ")), &screen).expect("opens");
    sink.take(0, b"one\ntw").await.expect("taken");
    screen.end().await;
    assert_eq!(paper.text("out"), "3: one\n", "the second line may go on");
    sink.take(6, b"o\n\nthree").await.expect("taken");
    sink.end().await.expect("ended");
    screen.end().await;
    assert_eq!(paper.text("out"), "3: one\n3: two\n3: \n3: three\n");
}

#[tokio::test]
async fn lines_of_several_files_do_not_mix_and_a_prompt_is_shown_in_the_end() {
    let paper = Paper::default();
    let screen = paper.screen(false);
    let [mut one, mut two] = [(); 2].map(|()| Sink::open(labelled(None), &screen).expect("opens"));
    one.take(0, b"half of ").await.expect("taken");
    two.take(0, b"two\n").await.expect("taken");
    one.take(8, b"one\npassword: ").await.expect("taken");
    screen.end().await;
    assert_eq!(paper.text("out"), "two\nhalf of one\n");
    assert!(one.prompt_at.is_some() && two.prompt_at.is_none());
    one.show_rest().await.expect("shown");
    screen.end().await;
    assert_eq!(paper.text("out"), "two\nhalf of one\npassword: ");
    assert!(one.prompt_at.is_none());
}

#[tokio::test]
async fn a_gap_is_told() {
    let paper = Paper::default();
    let screen = paper.screen(false);
    let mut sink = Sink::open(labelled(None), &screen).expect("opens");
    sink.take(0, b"half a li").await.expect("taken");
    sink.take(109, b"ne\n").await.expect("taken");
    screen.end().await;
    assert!(paper.text("err").contains("100 bytes of stdout were dropped"), "{}", paper.text("err"));
}

#[tokio::test]
async fn files_are_appended_to_and_a_bad_one_is_named() {
    use std::os::unix::ffi::OsStrExt;
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("out.0");
    std::fs::write(&path, "before\n").expect("written");
    let screen = Paper::default().screen(false);
    let to =
        |path: &std::path::Path| FollowFile { to_file: Some(path.as_os_str().as_bytes().to_vec()), ..labelled(None) };
    let mut sink = Sink::open(to(&path), &screen).expect("opens");
    sink.take(0, b"after\n").await.expect("taken");
    sink.end().await.expect("ended");
    assert_eq!(std::fs::read_to_string(&path).expect("readable"), "before\nafter\n");
    let problem = Sink::open(to(&dir.path().join("no/such")), &screen).err().expect("refused").to_string();
    assert!(problem.contains("no/such can't be written"), "{problem}");
}
