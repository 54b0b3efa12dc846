//! Two things measured in turns, and what can be said about their ratio without assuming anything about how it is spread.

use anyhow::Result;

/// What one measurement has taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    /// By the clock.
    pub seconds: f64,
    /// Of all cores together, where something counts it.
    pub cpu_seconds: Option<f64>,
}

impl Cost {
    /// Of something that tells its own seconds; `cpu` tells what has been used so far.
    ///
    /// # Errors
    /// That of the measurement.
    pub fn of(cpu: impl Fn() -> Option<f64>, measure: impl FnOnce() -> Result<f64>) -> Result<Cost> {
        let before = cpu();
        let seconds = measure()?;
        Ok(Cost { seconds, cpu_seconds: before.zip(cpu()).map(|(before, after)| after - before) })
    }
}

/// Measures both `count` times, in alternating order, after one round that only warms the caches.
///
/// # Errors
/// The first that a measurement gives.
pub fn measure<T>(
    count: usize,
    mut base: impl FnMut() -> Result<T>,
    mut ours: impl FnMut() -> Result<T>,
) -> Result<Vec<(T, T)>> {
    let mut pairs = Vec::with_capacity(count + 1);
    for round in 0..=count {
        let pair = if round % 2 == 0 {
            let base = base()?;
            (base, ours()?)
        } else {
            let ours = ours()?;
            (base()?, ours)
        };
        pairs.push(pair);
    }
    Ok(pairs.split_off(1))
}

/// The middle value, or the mean of the two middle ones.
pub fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// Where the median lies with at least 95 % certainty: between two of the values themselves, as many from each end as a binomial
/// distribution allows. With fewer than six values that is all of them.
pub fn interval(values: &[f64]) -> (f64, f64) {
    let sorted = sorted(values);
    let last = sorted.len() - 1;
    let cut = values_outside(sorted.len());
    (sorted[cut], sorted[last - cut])
}

/// How many values to leave out at each end. The median lies below the `k`-th smallest of `n` values as seldom as `n` fair coins show
/// fewer than `k` heads; that may happen in 2.5 % of all cases.
fn values_outside(n: usize) -> usize {
    let mut chance = 0.5f64.powi(i32::try_from(n).expect("a number of measurements"));
    let mut sum = 0.0;
    let mut outside = 0;
    for k in 0..n {
        sum += chance;
        if sum > 0.025 {
            break;
        }
        outside = k;
        chance *= (n - k) as f64 / (k + 1) as f64;
    }
    outside
}

fn sorted(values: &[f64]) -> Vec<f64> {
    assert!(!values.is_empty(), "at least one pair was measured");
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn both_are_measured_in_turns_and_the_first_round_is_dropped() {
        let order = RefCell::new(String::new());
        let note = |letter| {
            order.borrow_mut().push(letter);
            Ok(order.borrow().len() as f64)
        };
        let pairs = measure(2, || note('b'), || note('o')).unwrap();
        assert_eq!(*order.borrow(), "boobbo");
        assert_eq!(pairs, [(4.0, 3.0), (5.0, 6.0)]);
    }

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn the_interval_of_twenty_leaves_five_out_at_each_end() {
        // The published table for the sign test: n = 20 at 95 % is the 6th to the 15th value.
        let values: Vec<f64> = (1..=20).map(f64::from).collect();
        assert_eq!(interval(&values), (6.0, 15.0));
        assert_eq!(interval(&[1.0, 2.0, 3.0]), (1.0, 3.0));
    }
}
