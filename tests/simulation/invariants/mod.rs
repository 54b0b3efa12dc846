//! What must hold, one file each. An invariant sees everything that is said and done in a world and knows nothing of the cores'
//! state; `met` counts how often what it speaks of came up, so that one that is never put to the test is found out.

use mesos_plugin_api::Time;

use crate::sight::Sight;

mod resources;
mod rescinded;
mod updates_in_order;
mod kept_before_told;
mod terminal_is_final;
mod one_process;
mod gangs_whole;
mod backfill;
mod filters;
mod messages;
mod frameworks_view;
mod killed;
mod registered;
mod accounted;
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
    vec![
        Box::new(resources::ResourcesOnce::default()),
        Box::new(rescinded::Rescinded::default()),
        Box::new(updates_in_order::UpdatesInOrder::default()),
        Box::new(kept_before_told::KeptBeforeTold::default()),
        Box::new(terminal_is_final::TerminalIsFinal::default()),
        Box::new(one_process::OneProcess::default()),
        Box::new(gangs_whole::GangsWhole::default()),
        Box::new(backfill::Backfill::default()),
        Box::new(filters::Filters::default()),
        Box::new(messages::Messages::default()),
        Box::new(frameworks_view::FrameworksView::default()),
        Box::new(killed::Killed::default()),
        Box::new(registered::Registered::default()),
        Box::new(accounted::Accounted::default()),
    ]
}
