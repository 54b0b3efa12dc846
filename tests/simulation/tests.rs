//! The simulation as tests.

use simulation::life::live;

#[test]
fn the_same_seed_gives_the_same_trace() {
    assert_eq!(live(1, false).hash, live(1, false).hash);
    assert_ne!(live(1, false).hash, live(2, false).hash);
}
