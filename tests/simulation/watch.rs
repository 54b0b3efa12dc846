//! Who looks on: shows each sight to the invariants, counts, and writes the log whose hash says whether two runs were the same.

use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};

use mesos_plugin_api::Time;

use crate::counts::Counts;
use crate::invariants::{self, Invariant, Rest};
use crate::sight::Sight;

/// Of what is said only so much goes into a line.
const WORDS_MAX: usize = 100;
/// The same where somebody reads it.
const WORDS_SHOWN_MAX: usize = 600;

/// The eye on a world.
pub struct Watch {
    /// What has happened how often.
    pub counts: Counts,
    /// The first invariant that did not hold, and why.
    pub broken: Option<(&'static str, String)>,
    invariants: Vec<Box<dyn Invariant>>,
    hasher: DefaultHasher,
    print: bool,
    line: String,
}

impl Watch {
    /// Prints each line of the log if `print`.
    pub fn new(print: bool) -> Self {
        Self {
            counts: Counts::default(),
            broken: None,
            invariants: invariants::all(),
            hasher: DefaultHasher::new(),
            print,
            line: String::new(),
        }
    }

    /// Shows it to all invariants.
    pub fn see(&mut self, now: Time, sight: &Sight) {
        for invariant in &mut self.invariants {
            if let Err(problem) = invariant.see(now, sight) {
                self.broken.get_or_insert((invariant.name(), problem));
            }
        }
    }

    /// What the invariants say of a world at rest.
    ///
    /// # Errors
    /// One of them doesn't hold.
    pub fn at_rest(&mut self, rest: &Rest) -> Result<(), String> {
        self.invariants.iter_mut().try_for_each(|invariant| invariant.at_rest(rest))
    }

    /// An invariant that the world itself looks after.
    pub fn check(&mut self, name: &'static str, outcome: Result<(), String>) {
        if let Err(problem) = outcome {
            self.broken.get_or_insert((name, problem));
        }
    }

    /// A line of the log: who, and what as far as it fits.
    pub fn log(&mut self, now: Time, who: fmt::Arguments, what: &dyn fmt::Debug) {
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        let _ = write!(line, "{now:?} {who} ");
        let start = line.len();
        let _ = write!(Short { text: &mut line, max: start + WORDS_MAX }, "{what:?}");
        self.hasher.write(line.as_bytes());
        if self.print {
            line.truncate(start);
            let _ = write!(Short { text: &mut line, max: start + WORDS_SHOWN_MAX }, "{what:?}");
            println!("{line}");
        }
        self.line = line;
    }

    /// Equal for runs in which the same happened.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// The names of all that look on.
    pub fn invariants(&self) -> Vec<&'static str> {
        self.invariants.iter().map(|invariant| invariant.name()).collect()
    }

    /// Adds how often what each invariant speaks of came up.
    pub fn count_invariants(&mut self) {
        for invariant in &self.invariants {
            self.counts.add(invariant.name(), invariant.met());
        }
    }
}

/// Stops formatting when the text is long enough, which is most of its cost.
struct Short<'a> {
    text: &'a mut String,
    max: usize,
}

impl Write for Short<'_> {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.text.push_str(s);
        if self.text.len() > self.max { Err(fmt::Error) } else { Ok(()) }
    }
}
