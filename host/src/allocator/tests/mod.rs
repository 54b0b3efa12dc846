//! What the allocator promises, event by event and for random events.

mod env;
mod gangs;
mod offers;
mod random;
mod reservations;
