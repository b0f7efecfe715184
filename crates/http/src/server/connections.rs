//! The table of connections: its limits, and which connection makes room for a new one.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use smol::{LocalExecutor, Task};

use super::conn_state::{ConnState, Phase};
use super::limits::ServerLimits;
use super::timer_queue::TimerQueue;

/// The open connections.
///
/// At a limit, the connection on which the server has waited longest is closed. So any number of idle connections and
/// half-sent requests cannot lock out a probe. A connection is never closed while its request is handled.
pub(super) struct Connections {
    open: RefCell<OpenConnections>,
    total: usize,
    per_peer: usize,
    loopback: usize,
    pub(super) all_bodies: usize,
    pub(super) all_responses: usize,
    timer_queue: Rc<TimerQueue<ConnState>>,
    _timers: Task<()>,
}

/// What memory is used for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Memory {
    /// Request bodies.
    Bodies,
    /// Responses and parts of streams that their peers do not read.
    Responses,
}

#[derive(Default)]
struct OpenConnections {
    next: u64,
    by_id: BTreeMap<u64, (IpAddr, Rc<ConnState>)>,
    by_peer: HashMap<IpAddr, usize>,
    emptied: Option<Waker>,
}

impl Connections {
    pub(super) fn new(executor: &LocalExecutor<'static>, limits: &ServerLimits) -> Self {
        let timer_queue = Rc::<TimerQueue<ConnState>>::default();
        Self {
            open: RefCell::default(),
            total: limits.connections,
            per_peer: limits.connections_per_peer,
            loopback: limits.connections_loopback,
            all_bodies: limits.all_bodies_bytes,
            all_responses: limits.all_responses_bytes,
            _timers: executor.spawn(Rc::clone(&timer_queue).run()),
            timer_queue,
        }
    }

    /// Admits a connection. `None` if a limit is reached and no other connection can be closed.
    pub(super) fn admit(self: &Rc<Self>, peer: IpAddr) -> Option<Admission> {
        let mut open = self.open.borrow_mut();
        let of_peer = open.by_peer.get(&peer).copied().unwrap_or(0);
        if of_peer >= self.limit_of(peer) {
            open.make_room(|of| of == peer)?;
        } else if open.by_id.len() >= self.total {
            open.make_room(|_| true)?;
        }
        let id = open.next;
        open.next += 1;
        let conn_state = Rc::new(ConnState::new(Rc::clone(&self.timer_queue)));
        open.by_id.insert(id, (peer, Rc::clone(&conn_state)));
        *open.by_peer.entry(peer).or_default() += 1;
        Some(Admission { conn_state, peer, id, connections: Rc::clone(self) })
    }

    pub(super) fn count(&self) -> usize {
        self.open.borrow().by_id.len()
    }

    /// Whether the next connection may displace another.
    pub(super) fn is_full(&self) -> bool {
        let open = self.open.borrow();
        open.by_id.len() >= self.total || open.by_peer.iter().any(|(peer, count)| *count >= self.limit_of(*peer))
    }

    pub(super) fn begin_drain(&self) {
        self.each(|conn_state| if conn_state.has_pending_response() { conn_state.drain() } else { conn_state.close() });
    }

    /// Closes the remaining connections. Returns their number.
    pub(super) fn close_all(&self) -> usize {
        self.each(ConnState::close);
        self.count()
    }

    /// Waits until no connection is open.
    pub(super) async fn emptied(&self) {
        poll_fn(|cx| {
            let mut open = self.open.borrow_mut();
            if open.by_id.is_empty() {
                return Poll::Ready(());
            }
            open.emptied = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The other connections that hold memory, for a request body or for a response.
    pub(super) fn holders_beside(&self, own: &ConnState, memory: Memory) -> Vec<Rc<ConnState>> {
        let open = self.open.borrow();
        let has_such = |of: &ConnState| match memory {
            Memory::Bodies => of.phase() == Phase::Body,
            Memory::Responses => of.is_sending(),
        };
        let holds = |of: &&Rc<ConnState>| !std::ptr::eq(&***of, own) && has_such(of) && of.held().0 > 0;
        open.by_id.values().map(|(_, conn_state)| conn_state).filter(holds).map(Rc::clone).collect()
    }

    fn limit_of(&self, peer: IpAddr) -> usize {
        if peer.is_loopback() { self.loopback } else { self.per_peer }
    }

    fn each(&self, action: impl Fn(&ConnState)) {
        for (_, conn_state) in self.open.borrow().by_id.values() {
            action(conn_state);
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("open", &self.count()).finish_non_exhaustive()
    }
}

impl OpenConnections {
    fn make_room(&mut self, among: impl Fn(IpAddr) -> bool) -> Option<()> {
        let waiting = |(id, (peer, conn_state)): (&u64, &(IpAddr, Rc<ConnState>))| -> Option<(Duration, u64)> {
            among(*peer).then(|| conn_state.waiting_since()).flatten().map(|since| (since, *id))
        };
        let (_, longest) = self.by_id.iter().filter_map(waiting).min()?;
        if let Some(conn_state) = self.remove(longest) {
            conn_state.close();
        }
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Rc<ConnState>> {
        let (peer, conn_state) = self.by_id.remove(&id)?;
        if let Some(count) = self.by_peer.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&peer);
            }
        }
        Some(conn_state)
    }
}

/// The slot of a connection in the table. It is freed on drop.
pub(super) struct Admission {
    pub(super) conn_state: Rc<ConnState>,
    pub(super) peer: IpAddr,
    id: u64,
    pub(super) connections: Rc<Connections>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.conn_state.cancel_timer();
        let mut open = self.connections.open.borrow_mut();
        open.remove(self.id);
        if open.by_id.is_empty()
            && let Some(waker) = open.emptied.take()
        {
            waker.wake();
        }
    }
}
