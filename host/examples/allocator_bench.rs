//! How long the allocator takes on a large cluster: `cargo run --release --example allocator_bench`.
//!
//! Prints milliseconds, median, best and worst of several runs, for a full cycle (every agent is free and goes to somebody), for a
//! cycle when nothing has changed, for one task's end, and with half of the frameworks refusing every agent. With `measure RUNS` it
//! prints three lines of bare milliseconds instead: `full`, `idle` and `filtered`.

use std::time::{Duration, Instant};

use mesos_host::allocator::{Allocator, Config, Effect, Event};
use mesos_plugin_api::Time;
use mesos_plugin_api::v1::{AgentId, FrameworkId, GangRequest, Resources};

const AGENTS: u32 = 50_000;
const RUNS: usize = 9;
const HOUR: Duration = Duration::from_secs(3600);

fn main() {
    if std::env::args().nth(1).as_deref() == Some("full") {
        let mut cluster = Cluster::new(200);
        (0..20).for_each(|_| report("full", &cluster.full_cycles(), ""));
        return;
    }
    if let [Some("measure"), Some(runs)] = [1, 2].map(|n| std::env::args().nth(n)).each_ref().map(Option::as_deref) {
        return measure(runs.parse().expect("a number of runs"));
    }
    let full = Cluster::new(200).full_cycles();
    report("50,000 agents x 200 frameworks, full cycle", &full, "<= 15");
    let mut cluster = Cluster::new(200);
    report("  idle cycle", &cluster.idle_cycles(), "<= 2");
    report("  one task's end: event and cycle", &cluster.single_ends(), "");
    report("  one task's end while 49,000 agents lie filtered", &filtered_ends(), "");
    report("  a gang of 1,000 slots: request to offer", &gangs(), "");

    let started = Instant::now();
    let mut cluster = Cluster::new(500);
    cluster.refuse_everything();
    cluster.add_frameworks(500);
    println!("(500 frameworks x 50,000 filters set up in {:.1} s, {})", started.elapsed().as_secs_f64(), memory());
    report("50,000 agents x 1,000 frameworks, half filter everything, full cycle", &cluster.full_cycles(), "<= 100");
    report("  idle cycle", &cluster.idle_cycles(), "<= 2");
    report("  one task's end: event and cycle", &cluster.single_ends(), "");
}

/// What the goals are about. Reasons for `mesos why` are counted meanwhile, as always.
fn measure(runs: usize) {
    let print = |name: &str, times: Vec<f64>| {
        println!("{name} {}", times.iter().map(|millis| format!("{millis:.4}")).collect::<Vec<_>>().join(" "));
    };
    let mut cluster = Cluster::new(200);
    cluster.full_cycle();
    print("full", (0..runs).map(|_| cluster.full_cycle()).collect());
    let (_, offers) = cluster.cycle();
    print("idle", (0..runs).map(|_| cluster.cycle().0).collect());
    drop((cluster, offers));
    let mut cluster = Cluster::new(500);
    cluster.refuse_everything();
    cluster.add_frameworks(500);
    cluster.full_cycle();
    print("filtered", (0..runs).map(|_| cluster.full_cycle()).collect());
}

struct Cluster {
    allocator: Allocator,
    now: Time,
    frameworks: u32,
    effects: Vec<Effect>,
}

impl Cluster {
    fn new(frameworks: u32) -> Self {
        let mut cluster =
            Self { allocator: Allocator::new(Config::default()), now: Time(1), frameworks: 0, effects: Vec::new() };
        for number in 0..AGENTS {
            cluster.tell(Event::AddAgent {
                id: agent(number),
                hostname: format!("host-{number}"),
                total: total(),
                used: Vec::new(),
            });
        }
        cluster.add_frameworks(frameworks);
        cluster
    }

    fn add_frameworks(&mut self, count: u32) {
        for number in self.frameworks..self.frameworks + count {
            let role = format!("role-{}", number % 20);
            self.tell(Event::AddFramework { id: FrameworkId::new(format!("framework-{number:04}")), role });
        }
        self.frameworks += count;
    }

    fn tell(&mut self, event: Event) {
        self.allocator.handle(self.now, event, &mut self.effects);
    }

    /// Milliseconds that a cycle takes, and its offers.
    fn cycle(&mut self) -> (f64, Vec<Effect>) {
        // A millisecond passes between cycles; filters of an hour don't end meanwhile.
        self.now = self.now + Duration::from_millis(1);
        let started = Instant::now();
        self.allocator.allocate(self.now, &mut self.effects);
        (started.elapsed().as_secs_f64() * 1000.0, std::mem::take(&mut self.effects))
    }

    fn give_back(&mut self, offers: Vec<Effect>, refuse: Option<Duration>) {
        for offer in offers {
            let Effect::Offers { framework, parts, .. } = offer else { continue };
            for part in parts {
                self.tell(Event::Recover {
                    framework: framework.clone(),
                    agent: part.agent,
                    resources: part.resources,
                    back_by: None,
                    refuse,
                });
            }
        }
    }

    fn full_cycles(&mut self) -> Vec<f64> {
        (0..RUNS).map(|_| self.full_cycle()).collect()
    }

    fn full_cycle(&mut self) -> f64 {
        let (millis, offers) = self.cycle();
        assert_eq!(parts(&offers), AGENTS as usize, "every agent goes to somebody");
        self.give_back(offers, None);
        millis
    }

    fn idle_cycles(&mut self) -> Vec<f64> {
        let (_, offers) = self.cycle();
        let times = (0..RUNS).map(|_| self.cycle().0).collect();
        self.give_back(offers, None);
        times
    }

    /// All is allocated; one agent's share comes back and is offered.
    fn single_ends(&mut self) -> Vec<f64> {
        let (_, mut offers) = self.cycle();
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let one = split_off(&mut offers, 1);
            let started = Instant::now();
            self.give_back(one, None);
            let given = started.elapsed().as_secs_f64() * 1000.0;
            let (millis, again) = self.cycle();
            assert_eq!(parts(&again), 1);
            times.push(given + millis);
            offers.splice(0..0, again);
        }
        self.give_back(offers, None);
        times
    }

    /// All frameworks decline everything for an hour.
    fn refuse_everything(&mut self) {
        loop {
            let (_, offers) = self.cycle();
            if offers.is_empty() {
                return;
            }
            self.give_back(offers, Some(HOUR));
        }
    }
}

/// As [`Cluster::single_ends`], but nearly all agents are free and filtered by everybody.
fn filtered_ends() -> Vec<f64> {
    let mut cluster = Cluster::new(200);
    let (_, mut offers) = cluster.cycle();
    let mut kept = split_off(&mut offers, 1000);
    cluster.give_back(offers, Some(HOUR));
    cluster.refuse_everything();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let one = split_off(&mut kept, 1);
        let started = Instant::now();
        cluster.give_back(one, None);
        let given = started.elapsed().as_secs_f64() * 1000.0;
        let (millis, again) = cluster.cycle();
        assert_eq!(parts(&again), 1);
        times.push(given + millis);
    }
    times
}

fn parts(effects: &[Effect]) -> usize {
    let parts = |effect: &Effect| if let Effect::Offers { parts, .. } = effect { parts.len() } else { 0 };
    effects.iter().map(parts).sum()
}

/// Takes so many offers out.
fn split_off(effects: &mut Vec<Effect>, count: usize) -> Vec<Effect> {
    let mut taken = Vec::new();
    while parts(&taken) < count {
        match effects.last_mut().expect("there are more") {
            Effect::Offers { framework, parts: of_one, available_until } if !of_one.is_empty() => {
                let rest = of_one.len().saturating_sub(count - parts(&taken));
                let (framework, available_until) = (framework.clone(), *available_until);
                taken.push(Effect::Offers { framework, parts: of_one.split_off(rest), available_until });
            }
            _ => drop(effects.pop()),
        }
    }
    taken
}

fn gangs() -> Vec<f64> {
    let mut cluster = Cluster::new(1);
    cluster.tell(Event::Suppress { framework: FrameworkId::new("framework-0000") });
    let mut times = Vec::new();
    for number in 0..RUNS {
        let request = GangRequest {
            id: format!("gang-{number}"),
            slots: 1000,
            per_slot: Resources::new(1.0, 512.0),
            per_agent: None,
            agents: None,
            max_slots_per_agent: Some(8),
            include_hosts: Vec::new(),
            exclude_hosts: Vec::new(),
            within_ms: None,
            max_duration_ms: None,
            spread: None,
        };
        let started = Instant::now();
        cluster.tell(Event::RequestGang { framework: FrameworkId::new("framework-0000"), request });
        let asked = started.elapsed().as_secs_f64() * 1000.0;
        let (millis, offers) = cluster.cycle();
        assert_eq!(offers.len(), 1);
        times.push(asked + millis);
    }
    times
}

fn agent(number: u32) -> AgentId {
    AgentId::new(format!("8f3a2c-S{number:05}"))
}

fn total() -> Resources {
    "cpus:24;mem:65536;disk:500000;ports:[31000-32000]".parse().expect("well formed")
}

fn report(what: &str, times: &[f64], goal: &str) {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (best, median, worst) = (sorted[0], sorted[sorted.len() / 2], sorted[sorted.len() - 1]);
    println!("{what:72} {median:9.3} ms  best {best:9.3}  worst {worst:9.3}  {goal}");
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("VmRSS: unknown");
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
