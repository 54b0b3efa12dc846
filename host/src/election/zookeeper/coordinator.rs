//! The coordinator: a thread that holds the session, and calls that wait for it.

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use zookeeper_client::Client;

use super::candidates::{self, Candidacy};
use super::follow::report;
use super::session::{Failure, News, Place};
use super::store::{self, Term};
use super::{ZooKeeperAddress, ZooKeeperAuth};
use crate::election::{Coordinator, CoordinatorError, Kept, Resigner};

/// Whoever resigns waits that long for ZooKeeper; otherwise the session ends it.
const RESIGN_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two sessions.
const SESSION_PAUSE: Duration = Duration::from_millis(200);

/// A place among the masters that meet in ZooKeeper.
#[derive(Debug)]
pub struct ZooKeeper {
    place: Place,
    shared: Arc<Shared>,
    term: Option<Term>,
    /// Ends the thread when it is dropped.
    _thread: oneshot::Sender<()>,
}

/// What its other threads know.
#[derive(Debug)]
struct Shared {
    runtime: Handle,
    /// The session in which it stands in line, or leads.
    stands: Mutex<Option<(Client, Candidacy)>>,
    resigned: watch::Sender<bool>,
    lost: watch::Sender<Option<String>>,
}

impl ZooKeeper {
    /// One that isn't in line yet; nothing is asked of ZooKeeper before [`lead`](Coordinator::lead). Who leads and is silent for
    /// `session_timeout` has lost its place.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn new(address: &ZooKeeperAddress, auth: Option<ZooKeeperAuth>, session_timeout: Duration) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (thread, ended) = oneshot::channel::<()>();
        // It ends when the sender is gone, and takes the session with it.
        std::thread::Builder::new().name("zookeeper".into()).spawn(move || runtime.block_on(ended))?;
        let shared = Shared {
            runtime: handle,
            stands: Mutex::new(None),
            resigned: watch::channel(false).0,
            lost: watch::channel(None).0,
        };
        let place = Place::new(address, auth, session_timeout);
        Ok(Self { place, shared: Arc::new(shared), term: None, _thread: thread })
    }

    fn term(&self) -> &Term {
        self.term.as_ref().expect("only a master that leads writes")
    }

    fn error(&self, failure: Failure) -> CoordinatorError {
        match failure {
            Failure::Session => CoordinatorError::SessionLost { place: self.place() },
            Failure::Final(error) => error,
        }
    }
}

impl Coordinator for ZooKeeper {
    fn lead(&mut self, address: &str) -> Result<Kept, CoordinatorError> {
        let (place, shared, address) = (self.place.clone(), self.shared.clone(), address.to_string());
        let (term, kept) = self.shared.wait(async move { campaign(&place, &shared, &address).await })?;
        self.term = Some(term);
        Ok(kept)
    }

    fn append(&mut self, index: u64, record: &[u8]) -> Result<(), CoordinatorError> {
        let (term, record) = (self.term().clone(), record.to_vec());
        let written = self.shared.wait(async move { Ok(term.append(index, &record).await) })?;
        written.map_err(|failure| self.error(failure))
    }

    fn compact(&mut self, index: u64, records: &[Vec<u8>]) -> Result<(), CoordinatorError> {
        let (term, records) = (self.term().clone(), records.to_vec());
        let written = self.shared.wait(async move { Ok(term.compact(index, &records).await) })?;
        let snapshot = written.map_err(|failure| self.error(failure))?;
        let term = self.term().clone();
        self.shared.runtime.spawn(async move {
            if let Err(failure) = term.sweep(&snapshot).await {
                tracing::debug!("{}: what the snapshot replaces stays: {failure:?}", term.place);
            }
        });
        Ok(())
    }

    fn place(&self) -> String {
        self.place.to_string()
    }

    fn resigner(&self) -> Resigner {
        let shared = self.shared.clone();
        Arc::new(move || shared.resign())
    }

    fn lost(&self) -> watch::Receiver<Option<String>> {
        self.shared.lost.subscribe()
    }
}

impl Drop for ZooKeeper {
    fn drop(&mut self) {
        self.shared.resign();
    }
}

impl Shared {
    /// Has this done by the thread, whatever thread asks; not any more after this master has resigned.
    fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, CoordinatorError>> + Send + 'static,
    ) -> Result<T, CoordinatorError> {
        let mut resigned = self.resigned.subscribe();
        let (done, result) = mpsc::channel();
        self.runtime.spawn(async move {
            let outcome = tokio::select! {
                outcome = work => outcome,
                _ = resigned.wait_for(|resigned| *resigned) => Err(CoordinatorError::Resigned),
            };
            // Somebody waits for it.
            let _ = done.send(outcome);
        });
        result.recv().unwrap_or(Err(CoordinatorError::Resigned))
    }

    fn resign(&self) {
        if self.resigned.send_replace(true) {
            return;
        }
        let stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((client, own)) = stands {
            let (done, left) = mpsc::channel();
            self.runtime.spawn(async move {
                candidates::leave(&client, &own).await;
                let _ = done.send(());
            });
            // The runtime may be gone, and the session with it.
            let _ = left.recv_timeout(RESIGN_TIMEOUT);
        }
    }

    /// In line from now on, unless it has resigned.
    fn stand(&self, client: &Client, own: &Candidacy) -> Result<(), CoordinatorError> {
        let mut stands = self.stands.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.resigned.borrow() {
            return Err(CoordinatorError::Resigned);
        }
        *stands = Some((client.clone(), own.clone()));
        Ok(())
    }
}

/// Until this master leads, in as many sessions as that takes.
async fn campaign(place: &Place, shared: &Arc<Shared>, address: &str) -> Result<(Term, Kept), CoordinatorError> {
    let mut news = News::default();
    loop {
        let client = place.connect(&mut news).await;
        let one = async {
            store::prepare(place, &client).await?;
            let own = candidates::enter(place, &client, address).await?;
            shared.stand(&client, &own)?;
            candidates::wait_for_turn(place, &client, &own).await?;
            let term = Term { place: place.clone(), client: client.clone(), own };
            let kept = term.read().await?;
            Ok((term, kept))
        };
        let outcome = tokio::select! {
            outcome = one => outcome,
            () = report(place, client.clone(), &mut news) => Err(Failure::Session),
        };
        match outcome {
            Ok((term, kept)) => {
                tokio::spawn(watch_over(term.clone(), shared.clone(), news));
                return Ok((term, kept));
            }
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Session) => tracing::debug!("{place}: the session has ended before this master led"),
        }
        tokio::time::sleep(SESSION_PAUSE).await;
    }
}

/// Says when the leadership is lost.
async fn watch_over(term: Term, shared: Arc<Shared>, mut news: News) {
    let gone = async {
        loop {
            let node = &term.own.node;
            match term.place.ask(&term.client, || term.client.check_and_watch_stat(node)).await {
                Ok((Some(_), watcher)) => drop(watcher.changed().await),
                Ok((None, _)) | Err(_) => return,
            }
        }
    };
    tokio::select! {
        () = report(&term.place, term.client.clone(), &mut news) => {}
        () = gone => {}
    }
    if !*shared.resigned.borrow() {
        let line = CoordinatorError::SessionLost { place: term.place.to_string() }.to_string();
        shared.lost.send_replace(Some(line));
    }
}
