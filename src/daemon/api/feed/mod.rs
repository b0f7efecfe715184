//! The changes of agents, as the streams of `GET /events` send them.
//!
//! While a stream is open, all agents are looked at in turn, a slice in each turn of the loop. What has changed becomes an
//! event, made once for all streams. The latest events are kept up to [`KEPT_BYTES`], and each stream has its place among
//! them. So a stream needs no queue of its own. One whose place is no longer kept ends, and its peer has to begin anew.

mod row;
mod stream;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use serde::Serialize;
use serde_json::json;

use self::row::{Known, Row};
pub(super) use self::stream::{COMMENT, COMMENT_AFTER, EventStream};
use crate::daemon::control::ControlApi;
use crate::daemon::registry::AgentId;
use ops_protocol::Timestamp;
use ops_protocol::views::DaemonHealth;
use ops_runtime::clock;

/// The limit of open streams.
pub(super) const STREAMS: usize = 64;

/// The number of agents that are looked at in one turn of the loop.
const SLICE: usize = 32;

/// How long it takes to look at all agents once, unless [`PAUSE`] makes it longer.
const PASS: Duration = Duration::from_secs(1);

/// The least time from one slice to the next, so that many agents cost a small part of the time only.
const PAUSE: Duration = Duration::from_millis(10);

/// The size at which a part of a stream is complete, in bytes.
const PART_BYTES: usize = 32 * 1024;

/// The size limit of the events that are kept for streams, in bytes.
const KEPT_BYTES: usize = 4 << 20;

/// The events and the streams that are open.
#[derive(Debug)]
pub(super) struct Feed<D> {
    control: Rc<D>,
    /// The absolute path of the configuration.
    config: Option<String>,
    open: Cell<usize>,
    state: RefCell<State>,
}

/// What is kept while a stream is open.
#[derive(Debug, Default)]
struct State {
    known: HashMap<AgentId, Known>,
    /// The agents that the present pass has not looked at, in reverse order.
    pass: Vec<AgentId>,
    /// When the next slice is due, on the monotonic clock.
    due: Duration,
    /// From one slice of this pass to the next.
    step: Duration,
    /// The health of the daemon in the last event about it.
    health: Option<DaemonHealth>,
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    /// The number of events before those that are kept.
    dropped: u64,
}

impl State {
    fn push(&mut self, event: Bytes) {
        self.kept_bytes += event.len();
        self.kept.push_back(event);
        while self.kept_bytes > KEPT_BYTES
            && let Some(oldest) = self.kept.pop_front()
        {
            self.kept_bytes -= oldest.len();
            self.dropped += 1;
        }
    }

    /// The number of events so far.
    fn end(&self) -> u64 {
        self.dropped + u64::try_from(self.kept.len()).unwrap_or(u64::MAX)
    }

    /// The events after the first `seen` ones, and how many were seen with them. `None`: some of them are no longer kept.
    fn after(&self, mut seen: u64) -> Option<(Vec<u8>, u64)> {
        let begin = usize::try_from(seen.checked_sub(self.dropped)?).unwrap_or(usize::MAX);
        let mut part = Vec::new();
        for event in self.kept.iter().skip(begin) {
            part.extend_from_slice(event);
            seen += 1;
            if part.len() >= PART_BYTES {
                break;
            }
        }
        Some((part, seen))
    }
}

impl<D: ControlApi> Feed<D> {
    pub(super) fn new(control: Rc<D>, config: Option<String>) -> Self {
        Self { control, config, open: Cell::new(0), state: RefCell::default() }
    }

    /// Opens a stream. `None`: there are [`STREAMS`] already.
    pub(super) fn open(self: &Rc<Self>) -> Option<EventStream<D>> {
        if self.open.get() >= STREAMS {
            return None;
        }
        let ids = self.control.agent_ids();
        let mut state = self.state.borrow_mut();
        if self.open.get() == 0 {
            let known = ids.iter().map(|id| (AgentId::clone(id), Known::default())).collect();
            let health = Some(without_age(&self.control.health()));
            *state = State { known, health, due: clock::monotonic(), ..State::default() };
        }
        self.open.set(self.open.get() + 1);
        Some(EventStream::new(Rc::clone(self), ids, state.end()))
    }

    /// A stream has ended.
    fn close(&self) {
        self.open.set(self.open.get() - 1);
        if self.open.get() == 0 {
            self.state.take();
        }
    }

    /// Looks at the next slice of agents, if it is due. Returns when the next one is.
    fn advance(&self, now: Duration) -> Duration {
        let state = &mut *self.state.borrow_mut();
        if now < state.due {
            return state.due;
        }
        if state.pass.is_empty() {
            self.begin_pass(state);
        }
        for _ in 0..SLICE {
            let Some(id) = state.pass.pop() else { break };
            self.look(state, &id, now);
        }
        state.due = now + state.step;
        state.due
    }

    /// Begins a pass with what concerns all agents.
    fn begin_pass(&self, state: &mut State) {
        let mut ids = self.control.agent_ids();
        let present: HashSet<&str> = ids.iter().map(|id| &**id).collect();
        let gone: Vec<AgentId> = state.known.keys().filter(|id| !present.contains(&***id)).cloned().collect();
        if !gone.is_empty() {
            gone.iter().for_each(|id| drop(state.known.remove(id)));
            let ids: Vec<&str> = gone.iter().map(|id| &**id).collect();
            state.push(event("gone", &json!({ "agent_ids": ids })));
        }
        let health = self.control.health();
        let compared = Some(without_age(&health));
        if state.health != compared {
            state.health = compared;
            state.push(event("daemon", &json!({ "now": Timestamp(clock::wall()), "health": health })));
        }
        let slices = u32::try_from(ids.len().div_ceil(SLICE)).unwrap_or(u32::MAX).max(1);
        state.step = (PASS / slices).max(PAUSE);
        ids.reverse();
        state.pass = ids;
    }

    /// Looks at one agent, and makes an event of what has changed. Returns all of it.
    fn look(&self, state: &mut State, id: &AgentId, now: Duration) -> Option<Row> {
        let row = Row::of(self.control.agent(id)?);
        let change = match state.known.get_mut(id) {
            Some(known) => known.change(&row, now),
            None => {
                state.known.insert(AgentId::clone(id), Known::of(&row, now));
                Some(row.whole())
            }
        };
        if let Some(change) = change {
            state.push(change);
        }
        Some(row)
    }

    /// The first event of a stream.
    fn hello(&self, agents: usize) -> Bytes {
        let uname = rustix::system::uname();
        let host = uname.nodename().to_string_lossy();
        let (now, health) = (Timestamp(clock::wall()), self.control.health());
        event("hello", &json!({ "now": now, "host": host, "config": self.config, "agents": agents, "health": health }))
    }
}

fn without_age(health: &DaemonHealth) -> DaemonHealth {
    DaemonHealth { uptime_s: 0, ..health.clone() }
}

/// One server-sent event. JSON has no line breaks, so the data is one line.
pub(super) fn event(name: &str, data: &impl Serialize) -> Bytes {
    let mut text = format!("event: {name}\ndata: ").into_bytes();
    match serde_json::to_writer(&mut text, data) {
        Ok(()) => text.extend_from_slice(b"\n\n"),
        Err(error) => {
            tracing::error!(%error, name, "an event cannot be written as JSON");
            text.clear();
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kept_events_are_bounded_and_a_stream_that_is_too_late_is_told_so() {
        let mut state = State::default();
        let event = Bytes::from(vec![b'a'; 1000]);
        for _ in 0..KEPT_BYTES / 1000 + 10 {
            state.push(event.clone());
            assert!(state.kept_bytes <= KEPT_BYTES);
        }
        assert_eq!(state.after(state.dropped - 1), None, "the first one that it has not seen is not kept");
        let (part, seen) = state.after(state.dropped).unwrap();
        assert_eq!((part.len(), seen), (33_000, state.dropped + 33), "a part of them at a time");
        assert_eq!(state.after(state.end()), Some((Vec::new(), state.end())));
    }
}
