//! What must hold, one file each. An invariant sees everything that is said and done in a world and knows nothing of the cores'
//! state; `met` counts how often what it speaks of came up, so that one that is never put to the test is found out.

use mesos_plugin_api::Time;

use crate::sight::Sight;

mod one_process;
mod rest;

pub use rest::Rest;

/// Something that must hold.
pub trait Invariant {
    /// Names it, in tables and failures.
    fn name(&self) -> &'static str;

    /// Looks at what has just happened.
    ///
    /// # Errors
    /// It doesn't hold, and why.
    fn see(&mut self, now: Time, sight: &Sight) -> Result<(), String>;

    /// Looks at a world in which nothing is on its way any more.
    ///
    /// # Errors
    /// It doesn't hold, and why.
    fn at_rest(&mut self, _rest: &Rest) -> Result<(), String> {
        Ok(())
    }

    /// How often what it speaks of came up.
    fn met(&self) -> u64;
}

/// All that look on from the first moment of a world.
pub fn all() -> Vec<Box<dyn Invariant>> {
    vec![Box::new(one_process::OneProcess::default())]
}
