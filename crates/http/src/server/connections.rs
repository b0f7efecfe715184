//! Who is connected: the caps, and who makes room when they are reached.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use smol::{LocalExecutor, Task};

use super::ServerLimits;
use super::conn_state::ConnState;
use super::timer_queue::TimerQueue;

/// At the cap, room is made by closing the connection that has kept the server waiting longest: a crowd of idle or
/// half-sent requests can then never lock out a probe. Nobody is closed while its request is being handled.
pub(super) struct Connections {
    open: RefCell<Open>,
    total: usize,
    per_peer: usize,
    loopback: usize,
    timer_queue: Rc<TimerQueue>,
    _firing: Task<()>,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_id: BTreeMap<u64, (IpAddr, Rc<ConnState>)>,
    by_peer: HashMap<IpAddr, usize>,
    emptied: Option<Waker>,
}

impl Connections {
    pub(super) fn new(executor: &LocalExecutor<'static>, limits: &ServerLimits) -> Self {
        let timer_queue = Rc::<TimerQueue>::default();
        Self {
            open: RefCell::default(),
            total: limits.connections,
            per_peer: limits.connections_per_peer,
            loopback: limits.connections_loopback,
            _firing: executor.spawn(Rc::clone(&timer_queue).fire()),
            timer_queue,
        }
    }

    /// Takes a connection in. `None` if there is no room and nobody to make any.
    pub(super) fn admit(self: &Rc<Self>, peer: IpAddr) -> Option<Admission> {
        let mut open = self.open.borrow_mut();
        let of_peer = open.by_peer.get(&peer).copied().unwrap_or(0);
        if of_peer >= self.cap_of(peer) {
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

    /// Whether the next one may have to displace another.
    pub(super) fn is_full(&self) -> bool {
        let open = self.open.borrow();
        open.by_id.len() >= self.total || open.by_peer.iter().any(|(peer, count)| *count >= self.cap_of(*peer))
    }

    pub(super) fn begin_drain(&self) {
        self.each(|conn_state| if conn_state.owes_an_answer() { conn_state.drain() } else { conn_state.cut() });
    }

    /// Cuts off whoever is left, and says how many that were.
    pub(super) fn cut_all(&self) -> usize {
        self.each(ConnState::cut);
        self.count()
    }

    /// Waits until nobody is connected.
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

    fn cap_of(&self, peer: IpAddr) -> usize {
        if peer.is_loopback() { self.loopback } else { self.per_peer }
    }

    fn each(&self, act: impl Fn(&ConnState)) {
        for (_, conn_state) in self.open.borrow().by_id.values() {
            act(conn_state);
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("open", &self.count()).finish_non_exhaustive()
    }
}

impl Open {
    fn make_room(&mut self, among: impl Fn(IpAddr) -> bool) -> Option<()> {
        let waiting = |(id, (peer, conn_state)): (&u64, &(IpAddr, Rc<ConnState>))| -> Option<(Duration, u64)> {
            among(*peer).then(|| conn_state.waiting_since()).flatten().map(|since| (since, *id))
        };
        let (_, longest) = self.by_id.iter().filter_map(waiting).min()?;
        if let Some(conn_state) = self.remove(longest) {
            conn_state.cut();
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

/// A connection's place among the others, given back when dropped.
pub(super) struct Admission {
    pub(super) conn_state: Rc<ConnState>,
    pub(super) peer: IpAddr,
    id: u64,
    connections: Rc<Connections>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.conn_state.forget_timer();
        let mut open = self.connections.open.borrow_mut();
        open.remove(self.id);
        if open.by_id.is_empty()
            && let Some(waker) = open.emptied.take()
        {
            waker.wake();
        }
    }
}
