//! Lives of worlds from a row of seeds.

fn main() {
    let args: Vec<u64> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let mut total = simulation::counts::Counts::default();
    for seed in args[0]..args[1] {
        let outcome = simulation::life::live(seed, args.get(2).is_some());
        println!("{seed} {:x} {} {:?}", outcome.hash, outcome.events, outcome.broken);
        total.merge(&outcome.counts);
    }
    println!("{total}");
}
