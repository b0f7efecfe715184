//! TLS: interrupted, unfinished and invalid handshakes, and certificates that change under load.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Effort;
use crate::report::Findings;
use crate::resources::{MORE_RESIDENT, mib, settled_memory, usage, use_release_build};
use crate::soak::query::ProcessUsage;
use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::http::Wire;
use crate::support::pki::{Ca, VALID};
use crate::support::tls::{Client, Wire as TlsWire};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// The errors that the log must contain where the handshake timeout is long.
const EXPECTED_ERRORS: [&str; 4] = [
    "the client uses plain HTTP",
    "the client does not use TLS",
    "the client closed the connection during the TLS handshake",
    "the client does not trust the CA of this side's certificate",
];

/// The error that the log must contain where the handshake timeout is short.
const TIMEOUT_ERROR: &str = "the client did not finish the TLS handshake in time";

/// An agent with HTTPS, and a client.
struct Fixture {
    dir: AgentDir,
    ca: Ca,
    agent: Agent,
    address: SocketAddr,
    client: Client,
    /// The resource usage of the agent after one operation of each kind.
    before: ProcessUsage,
}

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let Some(_release_build) = use_release_build(findings) else { return };
    let clients = effort.pick(300, 1_000);
    // Longer than a valid handshake takes on any machine.
    let mut fixture = Fixture::new("1m", findings);
    fixture.unfinished_handshakes(clients, findings);
    fixture.interrupted_handshakes(findings);
    fixture.garbage(effort.pick(1_000, 8_000), findings);
    fixture.unfinished_handshakes(clients, findings);
    fixture.renew(effort.pick(Duration::from_secs(2), Duration::from_secs(15)), findings);
    fixture.check_memory("unfinished and interrupted handshakes, garbage and renewals", findings);
    fixture.check_log(&EXPECTED_ERRORS, findings);
    let mut fixture = Fixture::new("2s", findings);
    fixture.timed_out_handshakes(clients, findings);
    fixture.check_memory("handshakes that timed out", findings);
    fixture.check_log(&[TIMEOUT_ERROR], findings);
}

impl Fixture {
    /// Starts the agent. `head_timeout` covers handshake and request head together.
    fn new(head_timeout: &str, findings: &mut Findings) -> Self {
        let tls = format!("tls: {{ cert: server.pem, key: server.key }}, limits: {{ head_timeout: {head_timeout} }}");
        let dir = AgentDir::new(&format!("http: {{ port: 0, {tls} }}\nstate: {{ refresh: 1s }}\n"));
        let ca = Ca::new(dir.path(), "ca");
        ca.sign("server", &NAMES, VALID);
        Ca::new(dir.path(), "other");
        let client = Client::new(dir.path(), "ca", None);
        let mut agent = dir.start();
        let address = ([127, 0, 0, 1], agent.port()).into();
        let mut fixture = Self { dir, ca, agent, address, client, before: ProcessUsage::default() };
        // One operation of each kind, so that memory that is allocated once is allocated.
        fixture.still_answers("at the start", findings);
        fixture.reload();
        let _ = Client::new(fixture.dir.path(), "other", None).ask(address, "GET", "/livez");
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x80, 0x2e, 1, 0, 2], &[0x16, 3, 1, 0, 2, 0, 0], &[0x16, 3]] {
            fixture.send_and_finish(bytes);
        }
        fixture.before = usage(fixture.agent.pid());
        fixture
    }

    /// Sends every prefix of a valid handshake: of the first message, and of the last one.
    fn interrupted_handshakes(&mut self, findings: &mut Findings) {
        let hello = self.client.hello("localhost");
        for length in 0..=hello.len() {
            self.send_and_finish(&hello[..length]);
        }
        findings.tried(hello.len() as u64 + 1, "handshakes that end within the first message");
        let last = self.handshake_up_to(None);
        for length in 0..last {
            self.handshake_up_to(Some(length));
        }
        findings.tried(last as u64, "handshakes that end within the last message");
        self.still_answers("after interrupted handshakes", findings);
    }

    /// Sends invalid handshakes: random bytes, random records, and first messages with some bytes changed.
    fn garbage(&mut self, times: u64, findings: &mut Findings) {
        let hello = self.client.hello("localhost");
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..times {
            let mut bytes = hello.clone();
            match rng.u8(0..3) {
                0 => {
                    bytes = (0..rng.usize(1..2000)).map(|_| rng.u8(..)).collect();
                }
                1 => {
                    let body: Vec<u8> = (0..rng.u16(0..2000)).map(|_| rng.u8(..)).collect();
                    bytes = vec![rng.u8(20..25), 3, rng.u8(0..5)];
                    bytes.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
                    bytes.extend(body);
                }
                _ => (0..rng.usize(1..8)).for_each(|_| bytes[rng.usize(..hello.len())] = rng.u8(..)),
            }
            self.send_and_finish(&bytes);
        }
        findings.tried(times, "garbage: random bytes, random records, first messages with up to seven bytes changed");
        self.still_answers("after garbage", findings);
    }

    /// Opens connections and sends a prefix of the first message on each.
    fn begin_handshakes(&self, clients: usize) -> Vec<Wire> {
        let hello = self.client.hello("localhost");
        let begin = |at: usize| {
            let mut wire = Wire::to(self.address);
            wire.send(&hello[..1 + at % (hello.len() - 1)]);
            wire
        };
        (0..clients).map(begin).collect()
    }

    /// Clients that begin a handshake and send nothing more. In the full form they are twice as many as the connection
    /// limit.
    fn unfinished_handshakes(&mut self, clients: usize, findings: &mut Findings) {
        let waiting = self.begin_handshakes(clients);
        for _ in 0..10 {
            self.still_answers("with many unfinished handshakes", findings);
        }
        drop(waiting);
        findings.tried(clients as u64, "handshakes that begin, and that the server or the client gives up");
    }

    /// Clients that begin a handshake, and which the server closes after the timeout.
    fn timed_out_handshakes(&mut self, clients: usize, findings: &mut Findings) {
        let mut waiting = self.begin_handshakes(clients);
        let started = Instant::now();
        for wire in &mut waiting {
            wire.end();
        }
        let took = started.elapsed().as_secs_f64();
        findings.tried(clients as u64, "handshakes that begin and time out");
        findings
            .note(format!("the last of {clients} unfinished handshakes was closed after {took:.1} s (timeout: 2 s)"));
        self.still_answers("after handshakes that timed out", findings);
    }

    /// Renews the certificate again and again, while clients send requests on new and on kept connections.
    fn renew(&mut self, span: Duration, findings: &mut Findings) {
        let (done, succeeded, failed) = (Arc::new(AtomicBool::new(false)), counter(), counter());
        let clients: Vec<_> = (0..4)
            .map(|at| {
                let (client, address) = (self.client.clone(), self.address);
                let (done, succeeded, failed) = (Arc::clone(&done), Arc::clone(&succeeded), Arc::clone(&failed));
                std::thread::spawn(move || {
                    let mut kept = None;
                    while !done.load(Ordering::Relaxed) {
                        let answer = if at % 2 == 0 {
                            client.ask(address, "GET", "/livez")
                        } else {
                            let kept = kept.get_or_insert_with(|| client.connect(address, "localhost"));
                            crate::support::tls::ask_on(kept, "GET", "/livez")
                        };
                        let ok = answer.is_ok_and(|(status, _)| status == 200);
                        if ok { &succeeded } else { &failed }.fetch_add(1, Ordering::Relaxed);
                        if !ok {
                            kept = None;
                        }
                    }
                })
            })
            .collect();
        let until = Instant::now() + span;
        let mut renewals = 0;
        while Instant::now() < until {
            self.reload();
            renewals += 1;
        }
        done.store(true, Ordering::Relaxed);
        for client in clients {
            if client.join().is_err() {
                findings.fail("a client panicked during renewals");
            }
        }
        let (succeeded, failed) = (succeeded.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
        findings.tried(renewals, "certificate renewals by SIGHUP under load");
        findings.tried(succeeded + failed, "requests during renewals, on new and on kept connections");
        if failed > 0 {
            findings
                .fail(format!("{failed} of {} requests failed while certificates were renewed", succeeded + failed));
        }
    }

    /// Signs a new certificate and reloads it.
    fn reload(&mut self) {
        self.ca.sign("server", &NAMES, VALID);
        self.agent.signal(Signal::HUP);
        self.agent.wait_for_message("configuration reloaded");
    }

    /// Sends bytes, closes the sending side, and waits until the server closes the connection.
    fn send_and_finish(&self, bytes: &[u8]) {
        let mut wire = Wire::to(self.address);
        if wire.send(bytes) {
            wire.finish();
        }
        wire.end();
    }

    /// Makes a handshake, but sends only `send` bytes of the last message, or all. Returns the length of that message.
    fn handshake_up_to(&self, send: Option<usize>) -> usize {
        let TlsWire { mut conn, mut sock } = self.client.connect(self.address, "localhost");
        conn.write_tls(&mut sock).unwrap();
        while conn.is_handshaking() {
            assert_ne!(conn.read_tls(&mut sock).unwrap(), 0, "the server closed a valid handshake");
            conn.process_new_packets().unwrap();
        }
        let mut last = Vec::new();
        conn.write_tls(&mut last).unwrap();
        // The server may have closed the connection.
        let _ = sock.write_all(&last[..send.unwrap_or(last.len())]);
        let _ = sock.shutdown(std::net::Shutdown::Write);
        let _ = sock.read_to_end(&mut Vec::new());
        last.len()
    }

    fn still_answers(&mut self, when: &str, findings: &mut Findings) {
        match self.client.ask(self.address, "GET", "/health") {
            Ok((200, _)) => {}
            other => findings.fail(format!("{when}: /health answers {other:?}")),
        }
    }

    /// After all connections are closed, the memory must be back at its level from before.
    fn check_memory(&mut self, after_what: &str, findings: &mut Findings) {
        let pid = self.agent.pid();
        // A write of the status file may have descriptors open.
        wait_until("every connection is closed", || usage(pid).descriptors <= self.before.descriptors + 3);
        let (before, after) = (self.before.resident, settled_memory(pid, self.before.resident));
        let text = format!("resident memory: {} before, {} after {after_what}", mib(before), mib(after));
        if after > before + MORE_RESIDENT { findings.fail(text) } else { findings.note(text) }
    }

    /// The log must contain each expected error at least once, and no error of the agent itself.
    fn check_log(&mut self, expected: &[&str], findings: &mut Findings) {
        if self.agent.stop() != Some(0) {
            findings.fail("the agent did not exit cleanly");
        }
        let log = self.agent.rest_of_the_log();
        let failures = log.iter().filter(|line| line["message"] == "TLS handshake with a client failed");
        let errors: Vec<&str> = failures.filter_map(|line| line["error"].as_str()).collect();
        for text in expected.iter().filter(|text| !errors.iter().any(|error| error.contains(**text))) {
            findings.fail(format!("the log does not contain `{text}`"));
        }
        match log.iter().find(|line| line["level"] == "error" || line["message"] == "a request panicked") {
            Some(line) => findings.fail(format!("the log has an error: {line}")),
            None => findings.note(format!("{} log lines report failed handshakes", errors.len())),
        }
    }
}

fn counter() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}
