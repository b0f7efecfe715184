//! What the product logs as an error while it handles an input. A peer alone must not cause an error: a panic in a request,
//! a route that fails.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber, span};

/// Runs `work`, and panics if the product has logged an error.
pub(super) fn expect_none<T>(work: impl FnOnce() -> T) -> T {
    let errors = Arc::new(Mutex::new(String::new()));
    let result = tracing::subscriber::with_default(Collector(Arc::clone(&errors)), work);
    let errors = errors.lock().expect("not poisoned");
    assert!(errors.is_empty(), "logged as an error:{errors}");
    result
}

struct Collector(Arc<Mutex<String>>);

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::ERROR && metadata.target().starts_with("ops_agent")
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&mut self.0.lock().expect("not poisoned")));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}
