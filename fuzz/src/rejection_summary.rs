//! What the product logs as an error while it deals with an input. A peer alone can bring none about: a request that
//! panicked, a route that failed.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Runs something, and panics if it has logged an error.
pub(super) fn none_from<T>(work: impl FnOnce() -> T) -> T {
    let heard = Arc::new(Mutex::new(String::new()));
    let done = tracing::subscriber::with_default(Listener(Arc::clone(&heard)), work);
    let heard = heard.lock().expect("nobody has panicked with it");
    assert!(heard.is_empty(), "logged as an error:{heard}");
    done
}

struct Listener(Arc<Mutex<String>>);

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("ops_agent")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Words(&mut self.0.lock().expect("nobody has panicked with it")));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}
