//! Carries a plugin's `tracing` events to the host's log. A cdylib has statics of its own, so the host's subscriber
//! does not see them by itself. Spans are not carried: their fields would need a protocol, and no one reads them yet.

use std::fmt::{self, Write as _};

use abi_stable::std_types::RStr;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
};

use super::{Identity, module::WriteLog};

/// Plugin side: from now on what this plugin logs, up to `max_level`, goes to `write`. Only the first call counts.
pub(super) fn connect(who: Identity, max_level: u8, write: WriteLog) {
    // An error means that this plugin has set a subscriber of its own, which is its right.
    let _ = tracing::subscriber::set_global_default(Forwarder { who, max_level: filter(max_level), write });
}

/// Host side: what a plugin wrote, as an event of the host's own log.
pub(super) extern "C" fn write_to_host(level: u8, plugin: RStr<'_>, target: RStr<'_>, message: RStr<'_>) {
    // A subscriber of the host that panics would end the process at this boundary; losing one line is better.
    let _ = std::panic::catch_unwind(|| {
        let (plugin, from, message) = (plugin.as_str(), target.as_str(), message.as_str());
        match level {
            1 => tracing::error!(target: "plugin", plugin, from, "{message}"),
            2 => tracing::warn!(target: "plugin", plugin, from, "{message}"),
            3 => tracing::info!(target: "plugin", plugin, from, "{message}"),
            4 => tracing::debug!(target: "plugin", plugin, from, "{message}"),
            _ => tracing::trace!(target: "plugin", plugin, from, "{message}"),
        }
    });
}

/// The most detailed level that anyone on this side listens to, as a number.
pub(super) fn max_level_here() -> u8 {
    LevelFilter::current().into_level().map_or(0, number)
}

struct Forwarder {
    who: Identity,
    max_level: LevelFilter,
    write: WriteLog,
}

impl Subscriber for Forwarder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.max_level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.max_level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        let text = line.message + &line.fields;
        let metadata = event.metadata();
        (self.write.line)(
            number(*metadata.level()),
            self.who.name.into(),
            metadata.target().into(),
            text.as_str().into(),
        );
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// One event as text: the message, then its fields as ` name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a String takes whatever is written to it");
    }
}

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

fn filter(number: u8) -> LevelFilter {
    match number {
        0 => LevelFilter::OFF,
        1 => LevelFilter::ERROR,
        2 => LevelFilter::WARN,
        3 => LevelFilter::INFO,
        4 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    thread_local!(static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

    extern "C" fn keep(level: u8, plugin: RStr<'_>, target: RStr<'_>, message: RStr<'_>) {
        LINES.with_borrow_mut(|lines| lines.push(format!("{level} {plugin} {target}: {message}")));
    }

    #[test]
    fn events_up_to_the_level_are_forwarded_with_their_fields() {
        let who = Identity { name: "mpi", version: "0.1.0" };
        let forwarder = Forwarder { who, max_level: filter(3), write: WriteLog { line: keep } };
        tracing::subscriber::with_default(forwarder, || {
            let _span = tracing::info_span!("unused").entered();
            tracing::warn!(target: "pmi", rank = 3, host = "n1", "lost");
            tracing::debug!(target: "pmi", "not wanted");
        });
        assert_eq!(LINES.take(), [r#"2 mpi pmi: lost rank=3 host="n1""#]);
    }

    #[test]
    fn a_panic_of_a_thread_of_the_plugin_is_logged() {
        let who = Identity { name: "mpi", version: "0.1.0" };
        super::super::guard::guard(who, "handle", || Ok(())).expect("only installs the hook");
        let forwarder = Forwarder { who, max_level: filter(1), write: WriteLog { line: keep } };
        let worker = std::thread::Builder::new().name("worker".to_owned()).spawn(|| {
            let panics = || tracing::subscriber::with_default(forwarder, || panic!("lost a socket"));
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics)).expect_err("it panics");
            LINES.take()
        });
        let lines = worker.expect("a thread").join().expect("caught");
        let [line] = &lines[..] else { panic!("one line: {lines:?}") };
        assert!(line.starts_with("1 mpi ") && line.contains(": thread worker panicked: lost a socket at "), "{line}");
    }

    #[test]
    fn levels_survive_the_trip_as_numbers() {
        for level in [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE] {
            assert_eq!(filter(number(level)).into_level(), Some(level));
        }
        assert_eq!(filter(0), LevelFilter::OFF);
    }
}
