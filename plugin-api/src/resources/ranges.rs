//! Sets of closed intervals in canonical form: ascending, disjoint, not adjacent.

use super::InvalidResources;
use crate::v1::Range;

/// Sorts and merges.
pub(super) fn canonical(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_by_key(|range| (range.begin, range.end));
    let mut merged: Vec<Range> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.begin <= last.end.saturating_add(1) => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// Refuses what is upside down or beyond `max`.
pub(super) fn check(name: &str, ranges: &[Range], max: u64) -> Result<(), InvalidResources> {
    match ranges.iter().find(|range| range.begin > range.end || range.end > max) {
        Some(range) => Err(InvalidResources::BadRange { name: name.to_string(), begin: range.begin, end: range.end }),
        None => Ok(()),
    }
}

/// Whether every point of `inner` is in `outer`; both canonical.
pub(super) fn contains(outer: &[Range], inner: &[Range]) -> bool {
    inner.iter().all(|wanted| outer.iter().any(|range| range.begin <= wanted.begin && wanted.end <= range.end))
}

/// `from` without the points of `taken`; both canonical.
pub(super) fn difference(from: &[Range], taken: &[Range]) -> Vec<Range> {
    let mut rest = Vec::with_capacity(from.len() + taken.len());
    for range in from {
        let mut begin = range.begin;
        let mut used_up = false;
        for hole in taken.iter().filter(|hole| hole.end >= range.begin && hole.begin <= range.end) {
            if hole.begin > begin {
                rest.push(Range { begin, end: hole.begin - 1 });
            }
            match hole.end.checked_add(1) {
                Some(next) if next <= range.end => begin = next,
                _ => used_up = true,
            }
        }
        if !used_up {
            rest.push(Range { begin, end: range.end });
        }
    }
    rest
}

/// The points that both have; both canonical.
pub(super) fn common(one: &[Range], other: &[Range]) -> Vec<Range> {
    difference(one, &difference(one, other))
}

/// `[31000-31004,31010]`
pub(super) fn text(ranges: &[Range]) -> String {
    let parts: Vec<String> =
        ranges
            .iter()
            .map(|range| {
                if range.begin == range.end {
                    range.begin.to_string()
                } else {
                    format!("{}-{}", range.begin, range.end)
                }
            })
            .collect();
    format!("[{}]", parts.join(","))
}
