//! What the command of a task in a simulated world does: it is written in its argv, `work MS EXIT TERM`.

use std::time::Duration;

use mesos_plugin_api::v1::{CommandInfo, ExitStatus};

/// A program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// How long it runs by itself; without end if missing.
    pub runs: Option<Duration>,
    /// What it exits with then.
    pub code: i32,
    /// How soon it ends after TERM; never if missing.
    pub heeds_term: Option<Duration>,
}

impl Program {
    /// Reads it; other commands end at once and well.
    pub fn of(command: &CommandInfo) -> Self {
        let words: Vec<&str> = command.argv.iter().filter_map(|word| std::str::from_utf8(word).ok()).collect();
        let ms = |word: Option<&&str>| word.and_then(|word| word.parse().ok()).map(Duration::from_millis);
        let code = words.get(2).and_then(|word| word.parse().ok()).unwrap_or(0);
        Self { runs: ms(words.get(1)), code, heeds_term: ms(words.get(3)) }
    }

    /// Writes it.
    pub fn command(&self) -> CommandInfo {
        let ms = |time: Option<Duration>| time.map_or("-".to_string(), |time| time.as_millis().to_string());
        let words = ["work".to_string(), ms(self.runs), self.code.to_string(), ms(self.heeds_term)];
        CommandInfo::argv(words.map(String::into_bytes))
    }

    /// When it ends by itself, and how.
    pub fn ends(&self) -> Option<(Duration, ExitStatus)> {
        self.runs.map(|runs| (runs, ExitStatus::code(self.code)))
    }
}
