//! Makes durable what the core asks for: one batch at a time, and what comes meanwhile goes into the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::{JoinError, JoinHandle};

use crate::election::CoordinatorError;
use crate::registry::Operation;
use crate::registry::log::{Log, LogError};

/// Operations that may wait before those who cause them have to.
const WAITING_MAX: usize = 4096;

/// A log that can be taken away: afterwards nothing more is written.
#[derive(Debug, Clone, Default)]
pub(super) struct SharedLog(Arc<Mutex<Place>>);

#[derive(Debug, Default)]
enum Place {
    /// This master doesn't lead yet.
    #[default]
    Empty,
    Open(Log),
    Closed,
}

impl SharedLog {
    /// Whether it is there to be written: it may have been taken away before it came.
    pub(super) fn open(&self, log: Log) -> bool {
        let mut place = self.place();
        let wanted = matches!(*place, Place::Empty);
        if wanted {
            *place = Place::Open(log);
        }
        wanted
    }

    /// Returns when what is being written has been.
    pub(super) fn close(&self) {
        *self.place() = Place::Closed;
    }

    fn append(&self, operations: Vec<Operation>) -> Result<(), LogError> {
        match &mut *self.place() {
            Place::Open(log) => log.append(operations),
            // It isn't kept, so nobody may be told that it is.
            Place::Empty | Place::Closed => Err(CoordinatorError::Resigned.into()),
        }
    }

    fn place(&self) -> MutexGuard<'_, Place> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What waits to be written, and what is being written.
pub(super) struct Recorder {
    log: SharedLog,
    waiting: Vec<(u64, Operation)>,
    writing: Option<JoinHandle<Result<Vec<u64>, LogError>>>,
}

impl Recorder {
    pub(super) fn new(log: SharedLog) -> Self {
        Self { log, waiting: Vec::new(), writing: None }
    }

    pub(super) fn record(&mut self, id: u64, operation: Operation) {
        self.waiting.push((id, operation));
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// The numbers of what is durable now; never, while there is nothing to write.
    pub(super) async fn written(&mut self) -> Result<Vec<u64>, LogError> {
        if self.writing.is_none() && !self.waiting.is_empty() {
            let (ids, operations): (Vec<u64>, Vec<Operation>) = std::mem::take(&mut self.waiting).into_iter().unzip();
            let log = self.log.clone();
            self.writing = Some(tokio::task::spawn_blocking(move || log.append(operations).map(|()| ids)));
        }
        let Some(writing) = &mut self.writing else { return std::future::pending().await };
        let written = writing.await;
        self.writing = None;
        match written.map_err(JoinError::try_into_panic) {
            Ok(written) => written,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime ends, and this with it.
            Err(Err(_cancelled)) => std::future::pending().await,
        }
    }
}
