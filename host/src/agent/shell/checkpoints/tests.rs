use mesos_plugin_api::v1::{AgentId, FrameworkInfo, Resources, TaskId, TaskInfo, TaskState, TaskStatus};

use super::*;
use crate::agent::checkpoint::{Launch, TaskLaunch};

fn began() -> LogBegan {
    LogBegan { layout: LAYOUT, containers: "c".into(), hostname: "here".into(), ..LogBegan::default() }
}

fn launch(id: u64) -> Checkpoint {
    let task =
        TaskInfo::command(TaskId::new(format!("t{id}")), "a".into(), Resources::new(1.0, 1.0), Default::default());
    let framework = FrameworkInfo { id: Some("f".into()), ..FrameworkInfo::default() }.into();
    let agent_id = AgentId::from("a");
    let launch =
        TaskLaunch { framework, task: task.into(), gang_id: None, agent_id, sandbox: "/s".into(), over_by: None };
    Checkpoint::Launch { id: LocalId(id), launch: Launch::Task(launch) }
}

fn update(id: u64) -> Checkpoint {
    let status = TaskStatus::new(TaskId::new(format!("t{id}")), TaskState::TaskRunning);
    Checkpoint::Update { id: LocalId(id), status, taken: None }
}

/// A log with two tasks in a snapshot and what was said of them afterwards.
fn written(folder: &Path) -> Vec<Checkpoint> {
    let mut log = Checkpoints::new(folder, began(), true);
    let snapshot = || Snapshot { checkpoints: vec![launch(1), launch(2)], processes: Vec::new() };
    assert_eq!(log.commit(snapshot).expect("written"), None);
    log.add(1, &update(1));
    log.add(2, &update(2));
    log.add_process(LocalId(2), ProcessKept { pid: 7, start_time: 8 });
    assert_eq!(log.commit(|| unreachable!("it is short")).expect("written"), Some(2));
    vec![launch(1), launch(2), update(1), update(2)]
}

fn path(folder: &Path) -> PathBuf {
    folder.join(NAME)
}

/// The names of what was set aside.
fn aside(folder: &Path) -> usize {
    let names = fs::read_dir(folder).expect("ours").flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().contains(".damaged-")).count()
}

#[test]
fn what_was_written_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = written(folder.path());
    let kept = read(folder.path()).expect("readable");
    assert_eq!((kept.records, kept.began), (all, Some(began())));
    assert_eq!(kept.processes[&LocalId(2)], ProcessKept { pid: 7, start_time: 8 });
    assert!(read(&folder.path().join("none")).expect("nothing is there").began.is_none());
}

#[test]
fn a_write_that_was_cut_short_is_left_out_without_a_word() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = written(folder.path());
    let bytes = fs::read(path(folder.path())).expect("written");
    fs::write(path(folder.path()), &bytes[..bytes.len() - 30]).expect("ours");
    assert_eq!(read(folder.path()).expect("readable").records, all[..3 + 1]);
    assert_eq!(aside(folder.path()), 0);
}

#[test]
fn a_damaged_record_sets_its_task_aside_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let all = written(folder.path());
    let mut bytes = fs::read(path(folder.path())).expect("written");
    let at = bytes.windows(2).position(|name| name == b"t1").expect("its name is in its record");
    bytes[at] ^= 1;
    fs::write(path(folder.path()), &bytes).expect("ours");
    let kept = read(folder.path()).expect("readable");
    assert_eq!(kept.records, [all[1].clone(), all[3].clone()]);
    assert_eq!(aside(folder.path()), 1);
}

#[test]
fn a_newer_layout_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let newer = LogBegan { layout: LAYOUT + 1, version: Some("9.9".into()), ..began() };
    let empty = || Snapshot { checkpoints: Vec::new(), processes: Vec::new() };
    Checkpoints::new(folder.path(), newer, true).commit(empty).expect("written");
    let refused = read(folder.path()).expect_err("newer").to_string();
    assert!(refused.contains("9.9") && refused.contains("newer"), "{refused}");
}

#[test]
fn a_long_log_is_written_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    written(folder.path());
    let mut log = Checkpoints::new(folder.path(), began(), true);
    let snapshot = || Snapshot { checkpoints: vec![launch(1)], processes: Vec::new() };
    log.commit(snapshot).expect("written");
    log.length_max = log.length + 1000;
    for seq in 0..100 {
        log.add(seq, &update(1));
        log.commit(snapshot).expect("written");
    }
    let length = fs::metadata(path(folder.path())).expect("there").len();
    assert!(length < LOG_BYTES_MIN as u64 && read(folder.path()).expect("readable").records.contains(&launch(1)));
}

#[test]
fn an_agent_that_keeps_nothing_writes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut log = Checkpoints::new(folder.path(), began(), false);
    log.add(1, &update(1));
    assert_eq!(log.commit(|| unreachable!("nothing is kept")).expect("fine"), Some(1));
    assert!(!path(folder.path()).exists());
}
