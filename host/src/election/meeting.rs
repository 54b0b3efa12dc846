//! Where the masters of a test meet: several in one process, over one log.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::watch;

use super::{Coordinator, CoordinatorError, Detector, Kept, Leader, Resigner};

/// The log, and who waits for its turn. The first of them leads.
#[derive(Clone)]
pub(crate) struct Meeting {
    shared: Arc<(Mutex<State>, Condvar)>,
    detector: Detector,
}

struct State {
    records: Vec<Vec<u8>>,
    next: u64,
    candidates: VecDeque<(u64, String)>,
    candidates_made: u64,
    leader: watch::Sender<Option<Leader>>,
    lost: BTreeMap<u64, watch::Sender<Option<String>>>,
}

impl Meeting {
    pub(crate) fn new() -> Self {
        let (leader, detector) = Detector::channel("the meeting");
        let state = State {
            records: Vec::new(),
            next: 0,
            candidates: VecDeque::new(),
            candidates_made: 0,
            leader,
            lost: BTreeMap::new(),
        };
        Self { shared: Arc::new((Mutex::new(state), Condvar::new())), detector }
    }

    pub(crate) fn detector(&self) -> Detector {
        self.detector.clone()
    }

    pub(crate) fn candidate(&self) -> Box<dyn Coordinator> {
        let mut state = self.state();
        state.candidates_made += 1;
        let (number, lost) = (state.candidates_made, watch::channel(None).0);
        state.lost.insert(number, lost);
        Box::new(Candidate { meeting: self.clone(), number })
    }

    /// How many lead or wait for their turn.
    pub(crate) fn candidates(&self) -> usize {
        self.state().candidates.len()
    }

    /// The leader's session ends, and the next leads. With `told`, it hears of that itself.
    pub(crate) fn expire_leader(&self, told: bool) {
        let mut state = self.state();
        let (number, _) = state.candidates.pop_front().expect("somebody leads");
        if told {
            state.lost[&number].send_replace(Some("its session has ended".to_string()));
        }
        self.changed(state);
    }

    fn leave(&self, number: u64) {
        let mut state = self.state();
        state.candidates.retain(|(candidate, _)| *candidate != number);
        // Who hasn't stood yet doesn't any more, either.
        state.lost.remove(&number);
        self.changed(state);
    }

    fn changed(&self, state: MutexGuard<'_, State>) {
        let first = state.candidates.front();
        let leader = first.map(|(number, address)| Leader { address: address.clone(), id: number.to_string() });
        state.leader.send_if_modified(|now| std::mem::replace(now, leader.clone()) != leader);
        drop(state);
        self.shared.1.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().expect("no candidate panics")
    }
}

struct Candidate {
    meeting: Meeting,
    number: u64,
}

impl Candidate {
    fn superseded(&self, index: u64) -> CoordinatorError {
        CoordinatorError::Superseded { index, place: self.place() }
    }
}

impl Coordinator for Candidate {
    fn lead(&mut self, address: &str) -> Result<Kept, CoordinatorError> {
        let mut state = self.meeting.state();
        if state.lost.contains_key(&self.number) {
            state.candidates.push_back((self.number, address.to_string()));
            self.meeting.changed(state);
            state = self.meeting.state();
        }
        while let Some(place) = state.candidates.iter().position(|(number, _)| *number == self.number) {
            if place == 0 {
                return Ok(Kept { records: state.records.clone(), next: state.next });
            }
            state = self.meeting.shared.1.wait(state).expect("no candidate panics");
        }
        Err(CoordinatorError::Resigned)
    }

    fn append(&mut self, index: u64, record: &[u8]) -> Result<(), CoordinatorError> {
        let mut state = self.meeting.state();
        if index != state.next {
            return Err(self.superseded(index));
        }
        state.records.push(record.to_vec());
        state.next += 1;
        Ok(())
    }

    fn compact(&mut self, index: u64, records: &[Vec<u8>]) -> Result<(), CoordinatorError> {
        let mut state = self.meeting.state();
        if index != state.next {
            return Err(self.superseded(index));
        }
        state.records = records.to_vec();
        Ok(())
    }

    fn place(&self) -> String {
        "the meeting".to_string()
    }

    fn resigner(&self) -> Resigner {
        let (meeting, number) = (self.meeting.clone(), self.number);
        Arc::new(move || meeting.leave(number))
    }

    fn lost(&self) -> watch::Receiver<Option<String>> {
        self.meeting.state().lost[&self.number].subscribe()
    }
}
