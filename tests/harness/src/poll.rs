//! Waiting for real processes: always for something that can be seen, always with a deadline.

use std::time::{Duration, Instant};

/// Looks again and again until `probe` gives something, or the limit is over.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(2);
    loop {
        if let Some(found) = probe() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        // The only sleep of all tests. It grows, so that a short wait is short and a long one leaves the machine to others.
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

/// The same for what must come.
///
/// # Panics
/// When it has not come in time, naming what was waited for.
pub fn until<T>(limit: Duration, what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(limit, probe).unwrap_or_else(|| panic!("waited {limit:?} in vain for {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_asked_until_it_answers() {
        let mut asked = 0;
        let found = within(Duration::from_secs(5), || {
            asked += 1;
            (asked == 3).then_some(asked)
        });
        assert_eq!(found, Some(3));
    }

    #[test]
    fn a_probe_that_never_answers_ends_with_its_limit() {
        assert_eq!(within(Duration::from_millis(5), || None::<()>), None);
    }
}
