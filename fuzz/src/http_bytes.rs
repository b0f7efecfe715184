//! Bytes as requests to the real HTTP server, from its accept loop to the routes of the agent or the daemon.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::time::{Duration, SystemTime};

use http::request::Parts;
use http::{Request, Response};
use hyper::body::Bytes;
use ops_agent::testing::agent::api::{Api, routes};
use ops_agent::testing::agent::reload::{ReloadError, ReloadRequest, ReloadResult};
use ops_agent::testing::agent::snapshot::{Published, Snapshot};
use ops_agent::testing::daemon::api::DaemonMetrics;
use ops_agent::testing::daemon::api::http::{ControlAuth, Http};
use ops_http::Token;
use ops_http::server::{Handler, Listener, ResponseBody, ServerLimits, serve};
use smol::LocalExecutor;
use smol::channel::{Receiver, bounded};

use super::answers::{self, Answer};
use super::control::FakeControl;
use super::error_log;
use super::peer::{Behavior, Stream, peer};
use super::snapshot::{running, snapshot};

/// The server is the daemon's, not the agent's.
const TO_THE_DAEMON: u8 = 8;
/// The server requires the token `s3cret`.
const TOKEN: u8 = 16;

pub(super) fn run(input: &[u8]) {
    let Some((behavior, sent)) = Behavior::split(input) else { return };
    let (requests, answers) = error_log::expect_none(|| session(behavior, sent));
    // An error that the server itself answers ends the connection, so there is at most one such answer.
    assert!(answers.len() <= requests + 1, "{requests} requests were handled: {answers:?}");
    if behavior.reads_all() {
        assert!(answers.len() >= requests, "{requests} requests were handled: {answers:?}");
        let (requests_at_once, at_once) = error_log::expect_none(|| session(behavior.in_one_piece(), sent));
        assert_eq!(requests, requests_at_once, "the same bytes, in pieces and at once");
        assert_same(&answers, &at_once);
    }
}

/// The pieces may decide two things. A head that breaks off is either invalid, which is answered and ends the connection, or
/// incomplete, which is not answered. A head that is both invalid and too long gets the answer for one of the two.
fn assert_same(some: &[Answer], others: &[Answer]) {
    let statuses = |answers: &[Answer]| answers.iter().map(|answer| answer.status).collect::<Vec<_>>();
    let (some, others) = (statuses(some), statuses(others));
    let but_one =
        |longer: &[u16], shorter: &[u16]| longer.split_last().is_some_and(|(l, rest)| *l == 400 && rest == shorter);
    let refused = |status: &u16| matches!(status, 400 | 431);
    let but_for_last = some.len() == others.len()
        && matches!((some.split_last(), others.split_last()), (Some((a, x)), Some((b, y))) if x == y && refused(a) && refused(b));
    let same = some == others || but_for_last || but_one(&some, &others) || but_one(&others, &some);
    assert!(same, "the same bytes, in pieces and at once: {some:?}, {others:?}");
}

/// Runs one connection from accept to close. Returns the number of handled requests, and the answers.
fn session(behavior: Behavior, sent: &[u8]) -> (usize, Vec<Answer>) {
    let executor = Rc::new(LocalExecutor::new());
    let token = || behavior.has(TOKEN).then(|| Token::from_file("s3cret")).flatten();
    let requests = Rc::new(Cell::new(0));
    let (stream, received) = peer(behavior, sent);
    // No connection may need a deadline to end.
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
    let server = if behavior.has(TO_THE_DAEMON) {
        let (commands, _) = mpsc::channel();
        let control = Rc::new(FakeControl::new(2, commands));
        let auth = ControlAuth::of(([127, 0, 0, 1], 8080).into(), token(), false);
        let handler = Http::new(control, auth, DaemonMetrics::new().expect("metrics"), None);
        serve(&executor, listener, limits, Checked { handler, body_bytes, requests: Rc::clone(&requests) }, |_| {})
    } else {
        let (reload, reloads) = bounded(1);
        let render = Arc::new(|snapshot: &Snapshot| format!("agent_info{{id=\"{}\"}} 1\n", snapshot.agent_id));
        let api = Api {
            published: Published::new(snapshot(running())),
            reload,
            token: token(),
            verifies_clients: false,
            render,
        };
        executor.spawn(answer_reloads(reloads)).detach();
        serve(
            &executor,
            listener,
            limits,
            Checked { handler: routes(api), body_bytes, requests: Rc::clone(&requests) },
            |_| {},
        )
    };
    let received = smol::block_on(executor.run(async {
        let received = received.all().await;
        assert_eq!(server.drain(Duration::ZERO).await, 0, "a request is still in flight");
        received
    }));
    (requests.get(), answers::read(&received, behavior.reads_all()))
}

/// Answers reloads with each possible result in rotation.
async fn answer_reloads(reloads: Receiver<ReloadRequest>) {
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

/// Accepts one connection only.
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

/// Checks what the server guarantees to its handlers.
struct Checked<H> {
    handler: H,
    body_bytes: usize,
    requests: Rc<Cell<usize>>,
}

impl<H: Handler> Handler for Checked<H> {
    async fn handle(&self, request: Request<Bytes>) -> Response<ResponseBody> {
        self.requests.set(self.requests.get() + 1);
        assert!(request.uri().path().starts_with('/'), "{request:?}");
        assert!(request.headers().values().all(|value| value.to_str().is_ok()), "{request:?}");
        assert!(request.headers().get_all("host").iter().count() <= 1, "{request:?}");
        assert!(request.body().len() <= self.body_bytes, "{} bytes of body", request.body().len());
        self.handler.handle(request).await
    }

    fn takes_body(&self, head: &Parts) -> bool {
        self.handler.takes_body(head)
    }
}
