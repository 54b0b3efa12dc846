//! Before a master leads, and how it stops.
//!
//! ```text
//! campaign ──▶ a thread waits for its turn ──▶ Led ──▶ serve: the core, until it ends or somebody else leads
//!    └──▶ Role: what the server answers meanwhile
//! ```

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use super::recorder::{Recorder, SharedLog};
use super::{Keeps, run};
use crate::election::{Coordinator, Detector, LocalFile, Memory, Resigner};
use crate::hex::fresh_random;
use crate::master::{Master, MasterConfig};
use crate::protocol::FoundCluster;
use crate::protocol::client::{Connect, Credentials, RemoteMaster};
use crate::protocol::remote::not_the_leader;
use crate::registry::Registry;
use crate::registry::log::{Log, LogError};
use crate::time::Clock;

/// Whether this master leads, and who does otherwise. Everyone who asks it hears of that.
#[derive(Debug, Clone)]
pub(crate) struct Role {
    stage: watch::Receiver<Stage>,
    /// Of all masters of the cluster; none if this is the only one.
    detector: Option<Detector>,
    own_address: String,
}

#[derive(Debug, Clone)]
enum Stage {
    StandsBy,
    Leads,
    /// It never will, because of that.
    Failed(String),
}

impl Role {
    /// Who leads, if this one doesn't; `Some(None)` if nobody is known to.
    pub(crate) fn stands_by(&self) -> Option<Option<String>> {
        if matches!(*self.stage.borrow(), Stage::Leads) {
            return None;
        }
        let leader = self.detector.as_ref().and_then(Detector::leader);
        // When it is our turn we aren't ready yet.
        Some(leader.map(|leader| leader.address).filter(|address| *address != self.own_address))
    }

    /// The way to whichever leads; none if there can't be another one.
    pub(super) fn leader_elsewhere(&self, credentials: Credentials) -> Option<RemoteMaster> {
        self.detector.clone().map(|detector| RemoteMaster::new(detector, credentials))
    }

    /// # Errors
    /// Another one leads, or nobody.
    pub(super) fn check(&self) -> Result<(), Status> {
        match self.stands_by() {
            None => Ok(()),
            Some(leader) => Err(not_the_leader(leader.as_deref())),
        }
    }

    /// Waits until this one leads.
    pub(super) async fn leads(&mut self) -> Result<(), String> {
        let stage = self.stage.wait_for(|stage| !matches!(stage, Stage::StandsBy)).await;
        match stage.map(|stage| stage.clone()) {
            Ok(Stage::Leads) => Ok(()),
            Ok(Stage::Failed(line)) => Err(line),
            Ok(Stage::StandsBy) | Err(_) => Err("the master has ended".to_string()),
        }
    }
}

/// This master, as the others of its cluster see it.
#[derive(Clone)]
pub(super) struct Candidate {
    log: SharedLog,
    resigner: Resigner,
    lost: watch::Receiver<Option<String>>,
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Candidate").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Candidate {
    /// Returns when nothing is being written any more; the next one may lead.
    pub(super) fn resign(&self) {
        // First, or a write that waits for its place to come back would hold this up.
        (self.resigner)();
        self.log.close();
    }

    async fn lost(&mut self) -> String {
        let line = self.lost.wait_for(Option::is_some).await.ok().and_then(|line| line.clone());
        match line {
            Some(line) => line,
            None => std::future::pending().await,
        }
    }
}

/// What the thread that waits for its turn brings back.
pub(super) struct Led {
    outcome: oneshot::Receiver<Result<Log, LogError>>,
    stage: watch::Sender<Stage>,
}

/// Waits for its turn in a thread of its own: the runtime could not end while one of its own waits.
pub(super) fn campaign(
    config: &MasterConfig,
    work_dir: &Path,
    keeps: Keeps,
    listens: Option<SocketAddr>,
) -> (Candidate, Role, Led) {
    let (mut detector, mut own_address) = (None, address_text(listens, None));
    let coordinator: Box<dyn Coordinator> = match keeps {
        Keeps::WorkDir => Box::new(LocalFile::in_folder(work_dir)),
        Keeps::Memory => Box::new(Memory),
        Keeps::Together { coordinator, detector: all, advertise } => {
            detector = Some(all);
            own_address = address_text(listens, advertise);
            coordinator
        }
    };
    let (stage, stage_seen) = watch::channel(Stage::StandsBy);
    let candidate = Candidate { log: SharedLog::default(), resigner: coordinator.resigner(), lost: coordinator.lost() };
    let role = Role { stage: stage_seen, detector, own_address: own_address.clone() };
    let found = FoundCluster { cluster_id: config.master_id.clone(), key: fresh_random::<32>().to_vec() };
    let (done, outcome) = oneshot::channel();
    std::thread::spawn(move || {
        // Whoever waited is gone, otherwise; the log closes with it.
        let _ = done.send(Log::lead(coordinator, &own_address, found));
    });
    (candidate, role, Led { outcome, stage })
}

fn address_text(listens: Option<SocketAddr>, advertise: Option<IpAddr>) -> String {
    let at = listens.map(|listens| SocketAddr::new(advertise.unwrap_or(listens.ip()), listens.port()));
    at.map_or_else(String::new, |address| address.to_string())
}

/// Leads when its turn has come. Returns why it can't go on.
pub(super) async fn serve(
    led: Led,
    mut candidate: Candidate,
    config: MasterConfig,
    connects: mpsc::Receiver<Connect>,
) -> String {
    let line = match led.outcome.await {
        Ok(Ok(log)) => {
            let registry: Registry = log.registry().clone();
            if candidate.log.open(log) {
                let config = MasterConfig { epoch: registry.epoch, ..config };
                let master = Master::resume(Clock::default().now(), config, registry);
                led.stage.send_replace(Stage::Leads);
                let recorder = Recorder::new(candidate.log.clone());
                tokio::select! {
                    line = run(master, connects, recorder) => return line,
                    line = candidate.lost() => return line,
                }
            }
            "this master has resigned".to_string()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the thread that waits for this master's turn has failed".to_string(),
    };
    led.stage.send_replace(Stage::Failed(line.clone()));
    line
}
