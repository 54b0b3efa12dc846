//! The shell around a half: where a plugin's sockets and threads live.
//!
//! ```text
//!             ┌──────────── shell, in the cdylib ────────────┐
//! foreign ──▶ │ threads ──Injector──▶ Injected ──▶ ┌───────┐ │ ◀─events── host
//! program ◀── │ threads ◀──closure── ToShell ◀──── │ half  │ │ ──calls──▶
//!             └───────────────────────────────────-└───────┘─┘
//! ```

use crate::v1::{executor, framework};
use crate::{Calls, Executor, ExecutorCalls, Framework, Time};

/// A half with its shell: what the half calls out with `to_shell` is given to a closure, in order, which must not block.
pub struct WithShell<H, S> {
    half: H,
    to_shell: S,
}

impl<H, S: FnMut(Vec<u8>)> WithShell<H, S> {
    /// Puts the shell around the half.
    pub fn new(half: H, to_shell: S) -> Self {
        Self { half, to_shell }
    }
}

impl<H: Framework, S: FnMut(Vec<u8>) + Send> Framework for WithShell<H, S> {
    fn on_event(&mut self, now: Time, event: framework::event::Event, calls: &mut Calls) {
        let mut made = Calls::default();
        self.half.on_event(now, event, &mut made);
        for call in made.take() {
            match call {
                framework::call::Call::ToShell(bytes) => (self.to_shell)(bytes.data),
                call => calls.push(call),
            }
        }
    }
}

impl<H: Executor, S: FnMut(Vec<u8>) + Send> Executor for WithShell<H, S> {
    fn on_event(&mut self, now: Time, event: executor::event::Event, calls: &mut ExecutorCalls) {
        let mut made = ExecutorCalls::default();
        self.half.on_event(now, event, &mut made);
        for call in made.take() {
            match call {
                executor::call::Call::ToShell(bytes) => (self.to_shell)(bytes.data),
                call => calls.push(call),
            }
        }
    }
}
