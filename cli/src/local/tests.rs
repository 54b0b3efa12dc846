use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::*;

struct TestEnv {
    _dir: tempfile::TempDir,
    folders: StateFolders,
    children: Vec<Child>,
}

impl TestEnv {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let folders = StateFolders::under(dir.path());
        folders.create().expect("folders");
        Self { _dir: dir, folders, children: Vec::new() }
    }

    /// Starts a script and waits until it says so.
    fn start(&mut self, script: &str) -> Process {
        let mut child = Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().expect("starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("says that it is ready");
        let process = Process::of_pid(child.id()).expect("lives");
        self.children.push(child);
        process
    }
}

impl Drop for TestEnv {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn a_record_counts_while_its_master_lives() {
    let mut env = TestEnv::new();
    assert_eq!(running(&env.folders).expect("readable"), None);
    let mut record = Record::new(env.start("echo ready; exec sleep 60"));
    record.master.address = "127.0.0.1:5050".to_string();
    record.write(&env.folders).expect("written");
    assert_eq!(running(&env.folders).expect("readable"), Some(record.clone()));

    let mut other = record.clone();
    other.master.process.started += 1;
    other.write(&env.folders).expect("written");
    assert_eq!(running(&env.folders).expect("readable"), None, "the pid was given to another process");

    let mut other = record.clone();
    other.master.process.boot = "another".to_string();
    other.write(&env.folders).expect("written");
    assert_eq!(running(&env.folders).expect("readable"), None, "the machine was booted since");

    record.write(&env.folders).expect("written");
    end_all(&[record.master.process], Duration::from_secs(5)).expect("ended");
    assert_eq!(running(&env.folders).expect("readable"), None);
    Record::remove(&env.folders).expect("removed");
    Record::remove(&env.folders).expect("nothing to remove is fine");
}

#[test]
fn a_process_that_ignores_term_is_killed_after_its_grace() {
    let mut env = TestEnv::new();
    let stubborn = env.start("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    end_all(std::slice::from_ref(&stubborn), Duration::from_millis(100)).expect("ended");
    assert!(!stubborn.lives());
}

#[test]
fn a_stranger_with_the_same_pid_is_left_alone() {
    let mut env = TestEnv::new();
    let process = env.start("echo ready; exec sleep 60");
    let before = Process { started: process.started - 1, ..process.clone() };
    end_all(&[before], Duration::from_millis(50)).expect("nothing to end");
    assert!(process.lives());
}

#[test]
fn one_up_or_down_at_a_time() {
    let env = TestEnv::new();
    let lock = env.folders.lock().expect("free");
    assert!(env.folders.lock().unwrap_err().to_string().contains("another 'mesos up' or 'mesos down'"));
    drop(lock);
    env.folders.lock().expect("free again");
}

#[test]
fn a_record_of_another_version_or_a_damaged_one_is_not_guessed_at() {
    let env = TestEnv::new();
    std::fs::write(env.folders.record(), r#"{"format": 99, "version": "9.1.0", "pods": []}"#).expect("written");
    let error = Record::read(&env.folders).unwrap_err().to_string();
    assert!(error.contains("mesos 9.1.0"), "{error}");
    std::fs::write(env.folders.record(), "{").expect("written");
    assert!(Record::read(&env.folders).unwrap_err().to_string().contains("is damaged"));
}
