//! What goes wrong, and when: the same for the same seed.

use std::time::Duration;

/// What happens to a process or a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The master of that index is killed, and started again after a while.
    KillMaster(usize),
    /// It stands still for a while, and mostly loses its session by that.
    PauseMaster(usize),
    /// The ZooKeeper server of that index is killed, and started again after a while.
    KillZooKeeper(usize),
    /// The same of whichever leads the ensemble then.
    KillZooKeeperLeader,
    /// It stands still for a while.
    PauseZooKeeper(usize),
    /// The agent of that index is killed, and started again after a while; its tasks should run on.
    KillAgent(usize),
    /// The agent's process stands still for a while.
    PauseAgent(usize),
    /// The launcher of the agent of that index is killed: how what it launched ends, nobody can know.
    KillLauncher(usize),
    /// The machine of that index, of an agent or of a master, reaches nobody for a while.
    Partition(usize),
}

/// A fault, how long after the end of the one before it, and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    pub after: Duration,
    pub fault: Fault,
    pub lasts: Duration,
}

impl Fault {
    /// Without saying which one of its kind.
    pub fn kind(self) -> &'static str {
        match self {
            Fault::KillMaster(_) => "master killed",
            Fault::PauseMaster(_) => "master paused",
            Fault::KillZooKeeper(_) => "ZooKeeper server killed",
            Fault::KillZooKeeperLeader => "ZooKeeper's leader killed",
            Fault::PauseZooKeeper(_) => "ZooKeeper server paused",
            Fault::KillAgent(_) => "agent killed",
            Fault::PauseAgent(_) => "agent paused",
            Fault::KillLauncher(_) => "launcher killed",
            Fault::Partition(_) => "machine cut off",
        }
    }
}

/// Faults for so long. None lasts until an agent is given up: all of them have to be survived.
pub fn plan(seed: u64, agents: usize, masters: usize, whole: Duration) -> Vec<Step> {
    let mut chance = Chance(seed);
    let mut steps = Vec::new();
    let mut left = whole;
    loop {
        let after = Duration::from_millis(chance.between(1_000, 5_000));
        let lasts = Duration::from_millis(chance.between(500, 8_000));
        let mut one_of = |count: usize| chance.between(0, count as u64) as usize;
        let fault = match one_of(10) {
            0 | 1 => Fault::KillMaster(one_of(masters)),
            2 => Fault::PauseMaster(one_of(masters)),
            3 => Fault::KillZooKeeper(one_of(masters)),
            4 => Fault::KillZooKeeperLeader,
            5 => Fault::PauseZooKeeper(one_of(masters)),
            6 => Fault::KillAgent(one_of(agents)),
            7 => Fault::PauseAgent(one_of(agents)),
            8 => Fault::KillLauncher(one_of(agents)),
            _ => Fault::Partition(one_of(agents + masters)),
        };
        match left.checked_sub(after + lasts) {
            Some(rest) => left = rest,
            None => return steps,
        }
        steps.push(Step { after, fault, lasts });
    }
}

/// SplitMix64, which needs no library and is the same everywhere.
struct Chance(u64);

impl Chance {
    fn between(&mut self, low: u64, high: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (bits ^ (bits >> 31)) % (high - low)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_seed_gives_one_plan_and_another_seed_another() {
        let of = |seed| plan(seed, 4, 3, Duration::from_secs(600));
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        let kinds: BTreeSet<_> = of(7).iter().map(|step| step.fault.kind()).collect();
        assert_eq!(kinds.len(), 9);
        let whole: Duration = of(7).iter().map(|step| step.after + step.lasts).sum();
        assert!(whole <= Duration::from_secs(600));
    }
}
