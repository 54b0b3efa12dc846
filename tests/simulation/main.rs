//! Lives of worlds from a row of seeds.

fn main() {
    for seed in 1..=10 {
        let outcome = simulation::life::live(seed, false);
        println!("{seed} {:x} {} {:?}", outcome.hash, outcome.events, outcome.broken);
    }
}
