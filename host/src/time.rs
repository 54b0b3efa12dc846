//! The clock of the shells.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mesos_plugin_api::Time;

/// Nanoseconds since the Unix epoch that never go back within a process, whatever happens to the machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Time,
    instant: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        Self { start: Time(u64::try_from(start).unwrap_or(0)), instant: Instant::now() }
    }
}

impl Clock {
    /// The present moment.
    pub fn now(&self) -> Time {
        self.start + self.instant.elapsed()
    }

    /// For tokio's timers: when `time` comes.
    fn instant_of(&self, time: Time) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.instant + time.since(self.start))
    }

    /// Returns when the deadline has come; without one never.
    pub async fn sleep_until(&self, deadline: Option<Time>) {
        match deadline {
            Some(deadline) => tokio::time::sleep_until(self.instant_of(deadline)).await,
            None => std::future::pending().await,
        }
    }
}
