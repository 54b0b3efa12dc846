//! Bytes as choices. When they have run out every choice is the first, and every text is empty.

use std::time::Duration;

use arbitrary::Unstructured;
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::Resources;
use prost::Message;

/// Steps of one run, at most: a longer input shows nothing that a shorter one doesn't.
const STEPS_MAX: usize = 400;

/// What is left of the bytes.
pub(crate) struct Input<'a> {
    rest: Unstructured<'a>,
    steps: usize,
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: Unstructured::new(bytes), steps: 0 }
    }

    /// The number of the next step, below `count`; `None` at the end.
    pub(crate) fn step(&mut self, count: u8) -> Option<u8> {
        self.steps += 1;
        (!self.rest.is_empty() && self.steps <= STEPS_MAX).then(|| self.byte() % count)
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.rest.arbitrary().unwrap_or_default()
    }

    pub(crate) fn number(&mut self) -> u64 {
        match self.byte() {
            small @ 0..=200 => u64::from(small),
            201..=254 => self.rest.arbitrary().unwrap_or_default(),
            255 => u64::MAX,
        }
    }

    /// One in four is true.
    pub(crate) fn seldom(&mut self) -> bool {
        self.byte() % 4 == 3
    }

    /// A time that is not before `now`: mostly the deadline, if that is less than some weeks away.
    pub(crate) fn later(&mut self, now: Time, deadline: Option<Time>) -> Time {
        let far = Duration::from_secs(30 * 24 * 3600);
        let chosen = deadline.filter(|at| at.since(now) < far && !self.seldom());
        chosen.unwrap_or_else(|| now + Duration::from_nanos(self.number()).min(far)).max(now)
    }

    pub(crate) fn pick<'t, T>(&mut self, all: &'t [T]) -> Option<&'t T> {
        let at = usize::from(self.byte());
        (!all.is_empty()).then(|| &all[at % all.len()])
    }

    pub(crate) fn bytes(&mut self) -> &'a [u8] {
        let wanted = usize::from(self.byte());
        self.rest.bytes(wanted.min(self.rest.len())).expect("so many are left")
    }

    pub(crate) fn text(&mut self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }

    /// A message as a peer sent it, if it is one.
    pub(crate) fn message<M: Message + Default>(&mut self) -> Option<M> {
        M::decode(self.bytes()).ok()
    }

    pub(crate) fn resources(&mut self) -> Resources {
        let usual = [
            "cpus:4;mem:1024",
            "cpus:2;mem:512;ports:[31000-31010]",
            "cpus:1;mem:64",
            "cpus:1;mem:64;gpus:2;fpgas:{a,b}",
            "cpus:0.5",
            "ports:[31000]",
            "",
        ];
        match usize::from(self.byte() % 9) {
            7 => self.text().parse().unwrap_or_default(),
            8 => self.message().unwrap_or_default(),
            at => usual[at].parse().expect("resources"),
        }
    }
}

/// Asserts that a message that is sent can be read.
pub(crate) fn goes_round<M: Message + Default + PartialEq + std::fmt::Debug>(message: &M) {
    assert_eq!(M::decode(message.encode_to_vec().as_slice()).as_ref(), Ok(message), "what is sent can be read");
}
