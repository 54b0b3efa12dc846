//! Things with an id, kept at small numbers: bits and lists speak of the number, the outside of the id.

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

/// A table whose rows are reached by id or, without a search, by number. Numbers are used again.
#[derive(Debug)]
pub(super) struct Slots<Id, T> {
    numbers: BTreeMap<Id, u32>,
    rows: Vec<Option<T>>,
    vacant: Vec<u32>,
}

impl<Id: Ord, T> Default for Slots<Id, T> {
    fn default() -> Self {
        Self { numbers: BTreeMap::new(), rows: Vec::new(), vacant: Vec::new() }
    }
}

impl<Id: Ord, T> Slots<Id, T> {
    pub(super) fn add(&mut self, id: Id, row: T) -> u32 {
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.rows.push(None);
            u32::try_from(self.rows.len() - 1).expect("four thousand million rows don't fit in memory")
        });
        self.rows[number as usize] = Some(row);
        let before = self.numbers.insert(id, number);
        assert!(before.is_none(), "an id is added once");
        number
    }

    pub(super) fn remove(&mut self, id: &Id) -> Option<T> {
        let number = self.numbers.remove(id)?;
        self.vacant.push(number);
        self.rows[number as usize].take()
    }

    pub(super) fn number(&self, id: &Id) -> Option<u32> {
        self.numbers.get(id).copied()
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.rows.get(number as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.rows.get_mut(number as usize)?.as_mut()
    }

    /// One more than the highest number ever used.
    pub(super) fn bound(&self) -> u32 {
        self.rows.len() as u32
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.rows.iter().enumerate().filter_map(|(number, row)| Some((number as u32, row.as_ref()?)))
    }
}

impl<Id, T> Index<u32> for Slots<Id, T> {
    type Output = T;

    fn index(&self, number: u32) -> &T {
        self.rows[number as usize].as_ref().expect("numbers in use name a row")
    }
}

impl<Id, T> IndexMut<u32> for Slots<Id, T> {
    fn index_mut(&mut self, number: u32) -> &mut T {
        self.rows[number as usize].as_mut().expect("numbers in use name a row")
    }
}
