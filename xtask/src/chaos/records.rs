//! What ran, as the tasks themselves wrote it, against what the commands that ran them were told.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Writes a record: `SCRIPT FOLDER COMMAND SECONDS`. Each line is one write at the end of the file.
pub const SCRIPT: &str = r#"record="$1/$2.$MESOS_TASK_ID"
echo "start $$ $(hostname)" >> "$record"
sleep "$3"
echo end >> "$record""#;

/// How a command that ran tasks has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code; none if a signal ended it.
    Code(Option<i32>),
    /// Not at all, long after everything was well again.
    Never,
}

/// A command and what it was told.
#[derive(Debug, Clone)]
pub struct Told {
    pub command: usize,
    pub tasks: usize,
    pub ended: Ended,
    /// A launcher was killed while it ran: then nobody can tell how tasks ended, and it may say that some are lost.
    pub excused: bool,
}

/// A task's own record.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Record {
    pub starts: usize,
    pub ends: usize,
}

/// What doesn't fit, by kind; each names the task or the command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub started_twice: Vec<String>,
    pub without_end: Vec<String>,
    pub without_record: Vec<String>,
    pub never_seen: Vec<String>,
    /// The command was told that a task was lost or failed, and nothing had happened that may lose one.
    pub failed: Vec<String>,
    /// The same where a launcher was killed meanwhile, which excuses that.
    pub excused: Vec<String>,
}

impl Findings {
    /// The counts in the order of their importance.
    pub fn counts(&self) -> [(&'static str, &[String]); 5] {
        [
            ("task ids that started two processes", &self.started_twice),
            ("tasks without a terminal update", &self.without_end),
            ("tasks reported finished without their record", &self.without_record),
            ("tasks that ended, and whose framework never heard of it", &self.never_seen),
            ("commands that failed although no machine was lost", &self.failed),
        ]
    }
}

/// Reads all records of a folder, by their names.
pub fn read(folder: &Path) -> Result<BTreeMap<String, Record>> {
    let mut records = BTreeMap::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())?;
        let lines = |word| text.lines().filter(|line| line.split(' ').next() == Some(word)).count();
        let record = Record { starts: lines("start"), ends: lines("end") };
        records.insert(entry.file_name().to_string_lossy().into_owned(), record);
    }
    Ok(records)
}

/// Compares.
pub fn compare(told: &[Told], records: &BTreeMap<String, Record>) -> Findings {
    let mut findings = Findings::default();
    let twice = records.iter().filter(|(_, record)| record.starts > 1);
    findings.started_twice = twice.map(|(name, record)| format!("{name} ({} starts)", record.starts)).collect();
    for told in told {
        let prefix = format!("{}.", told.command);
        let of_command = || records.iter().filter(|(name, _)| name.starts_with(&prefix));
        let done = of_command().filter(|(_, record)| record.ends > 0).count();
        let name = format!("command {}: {done} of {} tasks have ended", told.command, told.tasks);
        match told.ended {
            Ended::Code(Some(0)) if done < told.tasks => findings.without_record.push(name),
            Ended::Code(Some(0)) => {}
            Ended::Code(_) if told.excused => findings.excused.push(name),
            Ended::Code(_) => findings.failed.push(format!("{name}, {:?}", told.ended)),
            Ended::Never if done < told.tasks => findings.without_end.push(name),
            Ended::Never => findings.never_seen.push(name),
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_difference_is_found() {
        let record = |starts, ends| Record { starts, ends };
        let names = ["1.a", "2.a", "3.a", "4.a", "5.a", "11.a", "12.a"].map(str::to_string);
        let all = [record(1, 1), record(2, 1), record(1, 0), record(1, 1), record(1, 0), record(1, 1), record(1, 0)];
        let records = names.into_iter().zip(all).collect();
        let code = |code| Ended::Code(Some(code));
        let ended = [
            (1, code(0)),
            (2, code(0)),
            (3, code(0)),
            (4, Ended::Never),
            (5, Ended::Never),
            (11, code(1)),
            (12, code(1)),
        ];
        let told = ended.map(|(command, ended)| Told { command, tasks: 1, ended, excused: command == 12 });
        let findings = compare(&told, &records);
        assert_eq!(findings.started_twice, ["2.a (2 starts)"]);
        assert!(findings.without_record[0].starts_with("command 3:") && findings.without_record.len() == 1);
        assert!(findings.never_seen[0].starts_with("command 4:") && findings.never_seen.len() == 1);
        assert!(findings.without_end[0].starts_with("command 5:") && findings.without_end.len() == 1);
        assert!(findings.failed[0].starts_with("command 11:") && findings.failed.len() == 1);
        assert!(findings.excused[0].starts_with("command 12:") && findings.excused.len() == 1);
    }
}
