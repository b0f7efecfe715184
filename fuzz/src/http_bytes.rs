//! Bytes into the real HTTP server, from its accept loop to the routes of the agent or of the daemon.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use hyper::body::Bytes;
use ops_agent::testing::agent::api::{Api, routes};
use ops_agent::testing::agent::reload::{ReloadError, ReloadRequest, ReloadResult};
use ops_agent::testing::agent::snapshot::{Published, Snapshot};
use ops_agent::testing::daemon::api::DaemonMetrics;
use ops_agent::testing::daemon::api::http::{ControlAuth, Http};
use ops_http::Token;
use ops_http::server::{Handler, Listener, ServerLimits, serve};
use smol::LocalExecutor;
use smol::channel::{Receiver, bounded};

use super::answers::{self, Answer};
use super::control::FakeControl;
use super::peer::{Manner, Stream, peer};
use super::rejection_summary;
use super::snapshot::{running, snapshot};

/// It speaks to the daemon, not to the agent.
const TO_THE_DAEMON: u8 = 8;
/// Whom it speaks to asks for a token, `s3cret`.
const TOKEN: u8 = 16;

pub(super) fn run(input: &[u8]) {
    let Some((manner, said)) = Manner::of(input) else { return };
    let (asked, answers) = rejection_summary::none_from(|| converse(manner, said));
    // What the server refuses by itself ends the connection: it is one answer more, and the last.
    assert!(answers.len() <= asked + 1, "{asked} requests were handled: {answers:?}");
    if manner.stays() {
        assert!(answers.len() >= asked, "{asked} requests were handled: {answers:?}");
        let (asked_at_once, at_once) = rejection_summary::none_from(|| converse(manner.in_one_piece(), said));
        assert_eq!(asked, asked_at_once, "the same bytes, in pieces and at once");
        assert_same(&answers, &at_once);
    }
}

/// Where a head breaks off, it may be seen to be no head at all or not to have come to its end: only the first is answered,
/// and that is the last answer. Of one that is no head and too long, the pieces decide which of the two is seen first.
fn assert_same(some: &[Answer], others: &[Answer]) {
    let statuses = |answers: &[Answer]| answers.iter().map(|answer| answer.status).collect::<Vec<_>>();
    let (some, others) = (statuses(some), statuses(others));
    let but_one =
        |longer: &[u16], shorter: &[u16]| longer.split_last().is_some_and(|(l, rest)| *l == 400 && rest == shorter);
    let refused = |status: &u16| matches!(status, 400 | 431);
    let but_for_why = some.len() == others.len()
        && matches!((some.split_last(), others.split_last()), (Some((a, x)), Some((b, y))) if x == y && refused(a) && refused(b));
    let same = some == others || but_for_why || but_one(&some, &others) || but_one(&others, &some);
    assert!(same, "the same bytes, in pieces and at once: {some:?}, {others:?}");
}

/// One connection from accept to close: how many requests were handled, and what was answered.
fn converse(manner: Manner, said: &[u8]) -> (usize, Vec<Answer>) {
    let executor = Rc::new(LocalExecutor::new());
    let token = || manner.has(TOKEN).then(|| Token::from_file("s3cret")).flatten();
    let asked = Rc::new(Cell::new(0));
    let (stream, ear) = peer(manner, said);
    // No deadline helps a connection to its end.
    let hour = Duration::from_secs(3600);
    let limits = ServerLimits {
        head_timeout: hour,
        body_timeout: hour,
        write_timeout: hour,
        idle_timeout: hour,
        ..ServerLimits::default()
    };
    let body_bytes = limits.body_bytes;
    let listener = Once(RefCell::new(Some(stream)));
    let server = if manner.has(TO_THE_DAEMON) {
        let (wishes, _) = mpsc::channel();
        let control = Rc::new(FakeControl::new(2, wishes));
        let gate = ControlAuth::of(([127, 0, 0, 1], 8080).into(), token(), false);
        let handler = Http::new(control, gate, DaemonMetrics::new().expect("metrics"));
        serve(&executor, listener, limits, Watched { handler, body_bytes, asked: Rc::clone(&asked) }, |_| {})
    } else {
        let (reload, reloads) = bounded(1);
        let render = Arc::new(|snapshot: &Snapshot| format!("agent_info{{id=\"{}\"}} 1\n", snapshot.agent_id));
        let api = Api { published: Published::new(snapshot(running())), reload, token: token(), render };
        executor.spawn(reload_in_turn(reloads)).detach();
        serve(
            &executor,
            listener,
            limits,
            Watched { handler: routes(api), body_bytes, asked: Rc::clone(&asked) },
            |_| {},
        )
    };
    let heard = smol::block_on(executor.run(async {
        let heard = ear.all().await;
        assert_eq!(server.drain(Duration::ZERO).await, 0, "a request was left behind");
        heard
    }));
    (asked.get(), answers::read(&heard, manner.stays()))
}

/// Every result that a reload can have.
async fn reload_in_turn(reloads: Receiver<ReloadRequest>) {
    let results: [ReloadResult; 5] = [
        Ok(SystemTime::UNIX_EPOCH),
        Err(ReloadError::Invalid("`a` is \"b\"\n".to_owned())),
        Err(ReloadError::NeedsRestart("`http.port`".to_owned())),
        Err(ReloadError::Log("no".to_owned())),
        Err(ReloadError::NotNow),
    ];
    for result in results.iter().cycle() {
        match reloads.recv().await {
            Ok(request) => request.reply(result.clone()),
            Err(_) => return,
        }
    }
}

/// Has one connection, and never another.
struct Once(RefCell<Option<Stream>>);

impl Listener for Once {
    type Stream = Stream;

    fn accept_now(&self) -> io::Result<(Stream, IpAddr)> {
        let stream = self.0.take().ok_or(io::ErrorKind::WouldBlock)?;
        Ok((stream, IpAddr::V4(Ipv4Addr::LOCALHOST)))
    }

    async fn readable(&self) -> io::Result<()> {
        pending().await
    }
}

/// Holds the server to what it promises its handlers.
struct Watched<H> {
    handler: H,
    body_bytes: usize,
    asked: Rc<Cell<usize>>,
}

impl<H: Handler> Handler for Watched<H> {
    async fn handle(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.asked.set(self.asked.get() + 1);
        assert!(request.uri().path().starts_with('/'), "{request:?}");
        assert!(request.headers().values().all(|value| value.to_str().is_ok()), "{request:?}");
        assert!(request.headers().get_all("host").iter().count() <= 1, "{request:?}");
        assert!(request.body().len() <= self.body_bytes, "{} bytes of body", request.body().len());
        self.handler.handle(request).await
    }
}
