//! Sets of small numbers as two levels of bits: a cycle asks "the next free agent that this framework hasn't refused" some
//! fifty thousand times, for up to a thousand frameworks.

/// A set of indices. The summary has one bit for each word that isn't zero, so that sparse sets are walked in no time.
#[derive(Debug, Clone, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
    summary: Vec<u64>,
}

/// The empty set, for a place in a query that has nothing to say.
pub(super) static NONE: Bits = Bits { words: Vec::new(), summary: Vec::new() };

impl Bits {
    pub(super) fn insert(&mut self, index: u32) {
        let word = index as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
            self.summary.resize(word / 64 + 1, 0);
        }
        self.words[word] |= 1 << (index % 64);
        self.summary[word / 64] |= 1 << (word % 64);
    }

    pub(super) fn remove(&mut self, index: u32) {
        let word = index as usize / 64;
        let Some(bits) = self.words.get_mut(word) else { return };
        *bits &= !(1 << (index % 64));
        if *bits == 0 {
            self.summary[word / 64] &= !(1 << (word % 64));
        }
    }

    pub(super) fn contains(&self, index: u32) -> bool {
        self.word(index as usize / 64) >> (index % 64) & 1 == 1
    }

    pub(super) fn is_empty(&self) -> bool {
        self.summary.iter().all(|bits| *bits == 0)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let mut from = Some(0);
        std::iter::from_fn(move || {
            let index = first(from?, u32::MAX, [self, self], [&NONE, &NONE])?;
            from = index.checked_add(1);
            Some(index)
        })
    }

    fn word(&self, word: usize) -> u64 {
        self.words.get(word).copied().unwrap_or(0)
    }
}

/// The first index in `from..to` that both of `with` hold and none of `without`.
pub(super) fn first(from: u32, to: u32, with: [&Bits; 2], without: [&Bits; 2]) -> Option<u32> {
    let mut word = from as usize / 64;
    let end = (to as usize).div_ceil(64).min(with[0].words.len()).min(with[1].words.len());
    let mut mask = u64::MAX << (from % 64);
    while word < end {
        let group = word / 64;
        let live = with[0].summary[group] & with[1].summary[group] & (u64::MAX << (word % 64));
        if live == 0 {
            (word, mask) = ((group + 1) * 64, u64::MAX);
            continue;
        }
        let next = group * 64 + live.trailing_zeros() as usize;
        if next != word {
            (word, mask) = (next, u64::MAX);
            continue;
        }
        let bits = with[0].words[word] & with[1].words[word] & !without[0].word(word) & !without[1].word(word) & mask;
        if bits != 0 {
            let index = word as u32 * 64 + bits.trailing_zeros();
            return (index < to).then_some(index);
        }
        (word, mask) = (word + 1, u64::MAX);
    }
    None
}

/// How many indices both of `with` hold, and how many of those `split` holds too.
pub(super) fn count(with: [&Bits; 2], split: &Bits) -> (u64, u64) {
    let (mut all, mut inside) = (0, 0);
    let groups = with[0].summary.len().min(with[1].summary.len());
    for group in 0..groups {
        let mut live = with[0].summary[group] & with[1].summary[group];
        while live != 0 {
            let word = group * 64 + live.trailing_zeros() as usize;
            live &= live - 1;
            let bits = with[0].words[word] & with[1].words[word];
            all += u64::from(bits.count_ones());
            inside += u64::from((bits & split.word(word)).count_ones());
        }
    }
    (all, inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(indices: &[u32]) -> Bits {
        let mut bits = Bits::default();
        indices.iter().for_each(|index| bits.insert(*index));
        bits
    }

    #[test]
    fn finds_what_both_hold_and_none_excludes() {
        let (a, b) = (set(&[1, 70, 5000, 50_000]), set(&[1, 70, 4096, 50_000]));
        assert_eq!(first(0, 60_000, [&a, &b], [&NONE, &NONE]), Some(1));
        assert_eq!(first(2, 60_000, [&a, &b], [&set(&[70]), &NONE]), Some(50_000));
        assert_eq!(first(2, 50_000, [&a, &b], [&NONE, &set(&[70])]), None);
        assert_eq!(first(70, 71, [&a, &b], [&NONE, &NONE]), Some(70));
        assert_eq!(count([&a, &b], &set(&[70, 5000])), (3, 1));
    }

    #[test]
    fn forgets_what_is_removed() {
        let mut bits = set(&[3, 9000]);
        bits.remove(9000);
        bits.remove(1_000_000);
        assert_eq!(bits.iter().collect::<Vec<_>>(), [3]);
        bits.remove(3);
        assert!(bits.is_empty() && !bits.contains(3));
    }
}
