//! Keeps a plugin's panics inside the plugin: one that reached the boundary would end the host's process.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    sync::Once,
};

/// Who is speaking in an error: the plugin's name and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The plugin's name, for example `mpi`.
    pub name: &'static str,
    /// The plugin's own version.
    pub version: &'static str,
}

thread_local! {
    /// How many guards this thread is inside of; outside of all of them a panic is one of the plugin's own threads.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// What the hook saw last on this thread: `MESSAGE at FILE:LINE`. The payload alone doesn't know the place.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; a panic in it becomes `plugin mpi 0.1.0 panicked in handle: MESSAGE at FILE:LINE`.
pub(super) fn guard<T>(who: Identity, doing: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    install_hook();
    // One that the plugin itself has caught.
    PANIC.take();
    DEPTH.set(DEPTH.get() + 1);
    // What `work` touched is not used again: the host refuses further calls to a half that panicked.
    let outcome = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    outcome.unwrap_or_else(|payload| {
        let seen = PANIC.take().unwrap_or_else(|| message(payload.as_ref()).to_owned());
        // A payload may panic when it is dropped, and that would be outside of any guard.
        std::mem::forget(payload);
        Err(format!("plugin {} {} panicked in {doing}: {seen}", who.name, who.version))
    })
}

/// Every cdylib has its own copy of std, so this hook is the plugin's and the host's stays as it is.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| on_panic(info, &default)));
    });
}

fn on_panic(info: &PanicHookInfo<'_>, default: &dyn Fn(&PanicHookInfo<'_>)) {
    let place =
        info.location().map_or_else(|| "an unknown place".to_owned(), |at| format!("{}:{}", at.file(), at.line()));
    let seen = format!("{} at {place}", message(info.payload()));
    if DEPTH.get() > 0 {
        PANIC.set(Some(seen));
    } else if tracing::dispatcher::has_been_set() {
        let thread = std::thread::current();
        tracing::error!("thread {} panicked: {seen}", thread.name().unwrap_or("without a name"));
    } else {
        default(info);
    }
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Identity = Identity { name: "mpi", version: "0.1.0" };

    #[test]
    fn a_panic_becomes_an_error_with_message_and_place() {
        let error = guard::<()>(WHO, "handle", || panic!("no rank {}", 7)).unwrap_err();
        let line = line!() - 1;
        assert_eq!(error, format!("plugin mpi 0.1.0 panicked in handle: no rank 7 at {}:{line}", file!()));
    }

    #[test]
    fn a_panic_without_a_hook_or_a_text_is_still_named() {
        let error = guard::<()>(WHO, "handle", || std::panic::resume_unwind(Box::new(7_u8))).unwrap_err();
        assert_eq!(error, "plugin mpi 0.1.0 panicked in handle: a panic without a message");
    }

    #[test]
    fn the_message_of_an_earlier_panic_is_not_reported_again() {
        let _ = guard::<()>(WHO, "handle", || panic!("first"));
        assert_eq!(guard(WHO, "handle", || Ok(1)), Ok(1));
        let error = guard::<()>(WHO, "handle", || std::panic::resume_unwind(Box::new("second"))).unwrap_err();
        assert!(error.ends_with("second"), "{error}");
    }

    #[test]
    fn a_panic_that_the_plugin_caught_is_not_reported_for_another() {
        let caught = guard(WHO, "handle", || Ok(catch_unwind(|| panic!("caught")).is_err()));
        assert_eq!(caught, Ok(true));
        let error = guard::<()>(WHO, "handle", || std::panic::resume_unwind(Box::new("second"))).unwrap_err();
        assert!(error.ends_with("second"), "{error}");
    }

    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[test]
    fn a_payload_that_panics_when_dropped_does_no_harm() {
        let error = guard::<()>(WHO, "handle", || std::panic::panic_any(PanicsWhenDropped)).unwrap_err();
        assert!(error.contains("a panic without a message"), "{error}");
    }
}
