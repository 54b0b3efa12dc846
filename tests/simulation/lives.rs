//! Many lives, on all cores, and what came of them.

use std::cell::RefCell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::counts::Counts;
use crate::faults;
use crate::life::{EVENTS_MIN, NO_STARVATION, Outcome, VIEWS_AGREE, live};
use crate::watch::Watch;

/// What came of a row of seeds.
#[derive(Debug, Default)]
pub struct Lives {
    /// How many.
    pub seeds: u64,
    /// What happened how often, in all of them.
    pub counts: Counts,
    /// Events that cores took.
    pub events: u64,
    /// Seeds and what did not hold, in the order of the seeds.
    pub failures: Vec<(u64, String)>,
}

impl Lives {
    /// Lives them, on so many threads; after so many failures no more are begun.
    pub fn live(from: u64, seeds: u64, threads: usize, failures_max: usize) -> Self {
        listen_to_panics();
        let (next, all) = (AtomicU64::new(from), Mutex::new(Self::default()));
        std::thread::scope(|scope| {
            for _ in 0..threads.max(1) {
                scope.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        let enough = lock(&all).failures.len() >= failures_max;
                        if enough || seed >= from + seeds {
                            return;
                        }
                        let outcome = live_once(seed, false);
                        lock(&all).take(outcome);
                    }
                });
            }
        });
        let mut all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.failures.sort();
        all
    }

    fn take(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.events += outcome.events;
        self.counts.merge(&outcome.counts);
        let too_few = (outcome.events < EVENTS_MIN).then(|| format!("only {} events", outcome.events));
        self.failures.extend(outcome.broken.or(too_few).map(|problem| (outcome.seed, problem)));
    }

    /// What a run must have come to, and has not: it proves nothing about that.
    pub fn never_happened(&self) -> Vec<&'static str> {
        let mut names: Vec<&'static str> = faults::ALL.iter().map(|(_, name, _)| *name).collect();
        names.extend(faults::CONSEQUENCES);
        names.extend(Watch::new(false).invariants());
        names.extend([NO_STARVATION, VIEWS_AGREE]);
        self.counts.missing(&names)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One life; an assertion of a core that fails is an invariant that doesn't hold.
pub fn live_once(seed: u64, print: bool) -> Outcome {
    listen_to_panics();
    panic::catch_unwind(AssertUnwindSafe(|| live(seed, print))).unwrap_or_else(|_| Outcome {
        seed,
        hash: 0,
        counts: Counts::default(),
        events: EVENTS_MIN,
        broken: Some(LAST_PANIC.take()),
    })
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Says in one line what failed where, instead of a page on standard error for each of many lives.
fn listen_to_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let in_core = ["host/src", "plugins/", "plugin-api/", "cli/src"].iter().any(|part| place.contains(part));
            let payload = info.payload();
            let text = payload.downcast_ref::<&str>().copied();
            let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = text.unwrap_or("something that is no text");
            LAST_PANIC.set(format!("assertion of a core: {message} ({place})"));
            if !in_core {
                before(info);
            }
        }));
    });
}
