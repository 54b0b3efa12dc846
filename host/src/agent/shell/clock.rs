//! The shell's clock: nanoseconds since the Unix epoch that never go back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mesos_plugin_api::Time;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    epoch_ns: u64,
    start: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { epoch_ns: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), start: Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time(self.epoch_ns) + self.start.elapsed()
    }

    pub(crate) fn instant(&self, at: Time) -> tokio::time::Instant {
        (self.start + at.since(Time(self.epoch_ns))).into()
    }
}
