//! TLS: handshakes that are cut, never end or are none, and certificates that change under load.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Effort;
use crate::report::Findings;
use crate::resources::{MORE_RESIDENT, mib, settled, shipped, vitals};
use crate::soak::query::ConnState;
use crate::support::agent::{Agent, AgentDir, wait_until};
use crate::support::http::Wire;
use crate::support::pki::{Ca, VALID};
use crate::support::tls::{Client, Wire as TlsWire};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// What the log has to tell of clients in a life in which handshakes may take their time.
const TOLD: [&str; 4] = [
    "the client uses plain HTTP",
    "the client does not use TLS",
    "the client closed the connection during the TLS handshake",
    "the client does not trust the CA of this side's certificate",
];

/// And of those who do not go on.
const UNFINISHED: &str = "the client did not finish the TLS handshake in time";

/// An agent that speaks HTTPS, and who asks it.
struct Stage {
    home: AgentDir,
    ca: Ca,
    agent: Agent,
    address: SocketAddr,
    client: Client,
    /// What it needed when it had done a bit of everything.
    before: ConnState,
}

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let Some(_shipped) = shipped(findings) else { return };
    let crowd = effort.pick(300, 1_000);
    // Longer than any machine needs for a handshake of good will.
    let mut stage = Stage::new("1m", findings);
    stage.beside(crowd, findings);
    stage.cut(findings);
    stage.garbage(effort.pick(1_000, 8_000), findings);
    stage.beside(crowd, findings);
    stage.renew(effort.pick(Duration::from_secs(2), Duration::from_secs(15)), findings);
    stage.weigh("crowds, cut handshakes, garbage and renewals", findings);
    stage.told(&TOLD, findings);
    let mut stage = Stage::new("2s", findings);
    stage.never_finish(crowd, findings);
    stage.weigh("handshakes that never ended", findings);
    stage.told(&[UNFINISHED], findings);
}

impl Stage {
    /// An agent that gives a peer so long for handshake and head together.
    fn new(head_timeout: &str, findings: &mut Findings) -> Self {
        let tls = format!("tls: {{ cert: server.pem, key: server.key }}, limits: {{ head_timeout: {head_timeout} }}");
        let home = AgentDir::new(&format!("http: {{ port: 0, {tls} }}\nstate: {{ refresh: 1s }}\n"));
        let ca = Ca::new(home.path(), "ca");
        ca.sign("server", &NAMES, VALID);
        Ca::new(home.path(), "other");
        let client = Client::new(home.path(), "ca", None);
        let mut agent = home.start();
        let address = ([127, 0, 0, 1], agent.port()).into();
        let mut stage = Self { home, ca, agent, address, client, before: ConnState::default() };
        // One of each, so that what is needed once is there.
        stage.still_answers("at the start", findings);
        stage.reload();
        let _ = Client::new(stage.home.path(), "other", None).ask(address, "GET", "/livez");
        for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x80, 0x2e, 1, 0, 2], &[0x16, 3, 1, 0, 2, 0, 0], &[0x16, 3]] {
            stage.say(bytes);
        }
        stage.before = vitals(stage.agent.pid());
        stage
    }

    /// Every length of a real handshake, then nothing more: of its first message, and of what follows the server's answer.
    fn cut(&mut self, findings: &mut Findings) {
        let hello = self.client.hello("localhost");
        for length in 0..=hello.len() {
            self.say(&hello[..length]);
        }
        findings.tried(hello.len() as u64 + 1, "a handshake that ends after so many bytes of its first message");
        let last = self.last_words(None);
        for length in 0..last {
            self.last_words(Some(length));
        }
        findings.tried(last as u64, "a handshake that ends after so many bytes of its last message");
        self.still_answers("after handshakes that were cut", findings);
    }

    /// Bytes that are none: random ones, random records, and real first messages with some bytes changed.
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
            self.say(&bytes);
        }
        findings.tried(times, "garbage: random bytes, random records, first messages with up to seven bytes changed");
        self.still_answers("after garbage", findings);
    }

    /// As many as `crowd`, each with another part of a first message.
    fn begin(&self, crowd: usize) -> Vec<Wire> {
        let hello = self.client.hello("localhost");
        let begun = |at: usize| {
            let mut wire = Wire::to(self.address);
            wire.send(&hello[..1 + at % (hello.len() - 1)]);
            wire
        };
        (0..crowd).map(begun).collect()
    }

    /// A crowd that begins a handshake and goes no further, in the full form twice the size of what there is room for.
    fn beside(&mut self, crowd: usize, findings: &mut Findings) {
        let waiting = self.begin(crowd);
        for _ in 0..10 {
            self.still_answers("beside a crowd that never finishes", findings);
        }
        drop(waiting);
        findings.tried(crowd as u64, "a handshake that is begun, and given up for others or by its client");
    }

    /// The same, but their time is up before they are.
    fn never_finish(&mut self, crowd: usize, findings: &mut Findings) {
        let mut waiting = self.begin(crowd);
        let begun = Instant::now();
        for wire in &mut waiting {
            wire.end();
        }
        let took = begun.elapsed().as_secs_f64();
        findings.tried(crowd as u64, "a handshake that is begun and never ended");
        findings.saw(format!(
            "the last of {crowd} unfinished handshakes was ended {took:.1} s after the crowd had come (2 s each)"
        ));
        self.still_answers("after a crowd that never finished", findings);
    }

    /// New certificates again and again, while others ask on new connections and on kept ones.
    fn renew(&mut self, span: Duration, findings: &mut Findings) {
        let (over, asked, failed) = (Arc::new(AtomicBool::new(false)), counter(), counter());
        let askers: Vec<_> = (0..4)
            .map(|at| {
                let (client, address) = (self.client.clone(), self.address);
                let (over, asked, failed) = (Arc::clone(&over), Arc::clone(&asked), Arc::clone(&failed));
                std::thread::spawn(move || {
                    let mut kept = None;
                    while !over.load(Ordering::Relaxed) {
                        let answer = if at % 2 == 0 {
                            client.ask(address, "GET", "/livez")
                        } else {
                            let kept = kept.get_or_insert_with(|| client.connect(address, "localhost"));
                            crate::support::tls::ask_on(kept, "GET", "/livez")
                        };
                        let well = answer.is_ok_and(|(status, _)| status == 200);
                        if well { &asked } else { &failed }.fetch_add(1, Ordering::Relaxed);
                        if !well {
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
        over.store(true, Ordering::Relaxed);
        for asker in askers {
            if asker.join().is_err() {
                findings.lost("one of those who asked during renewals panicked");
            }
        }
        let (asked, failed) = (asked.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
        findings.tried(renewals, "a new certificate, taken over by SIGHUP under load");
        findings.tried(asked + failed, "a request during renewals, on a new connection or a kept one");
        if failed > 0 {
            findings.lost(format!("{failed} of {} requests failed while certificates were renewed", asked + failed));
        }
    }

    /// Another certificate, and a reload that takes it over.
    fn reload(&mut self) {
        self.ca.sign("server", &NAMES, VALID);
        self.agent.signal(Signal::HUP);
        self.agent.wait_for_message("configuration reloaded");
    }

    /// Says something and nothing more, and waits until the server has closed.
    fn say(&self, bytes: &[u8]) {
        let mut wire = Wire::to(self.address);
        if wire.send(bytes) {
            wire.finish();
        }
        wire.end();
    }

    /// Makes a handshake up to its last message, of which only so many bytes are sent. How many there are.
    fn last_words(&self, send: Option<usize>) -> usize {
        let TlsWire { mut conn, mut sock } = self.client.connect(self.address, "localhost");
        conn.write_tls(&mut sock).unwrap();
        while conn.is_handshaking() {
            assert_ne!(conn.read_tls(&mut sock).unwrap(), 0, "the server has ended a handshake of good will");
            conn.process_new_packets().unwrap();
        }
        let mut last = Vec::new();
        conn.write_tls(&mut last).unwrap();
        // The server may have closed meanwhile.
        let _ = sock.write_all(&last[..send.unwrap_or(last.len())]);
        let _ = sock.shutdown(std::net::Shutdown::Write);
        let _ = sock.read_to_end(&mut Vec::new());
        last.len()
    }

    fn still_answers(&mut self, when: &str, findings: &mut Findings) {
        match self.client.ask(self.address, "GET", "/health") {
            Ok((200, _)) => {}
            other => findings.lost(format!("{when}: /health says {other:?}")),
        }
    }

    /// What it holds when all are gone is what it held before them.
    fn weigh(&mut self, after_what: &str, findings: &mut Findings) {
        let pid = self.agent.pid();
        // A write of the status file may have its own under way.
        wait_until("every connection is closed", || vitals(pid).descriptors <= self.before.descriptors + 3);
        let (before, after) = (self.before.resident, settled(pid, self.before.resident));
        let text = format!("resident memory: {} before, {} after {after_what}", mib(before), mib(after));
        if after > before + MORE_RESIDENT { findings.lost(text) } else { findings.saw(text) }
    }

    /// A clear line for each kind of trouble now and then, however many peers make it.
    fn told(&mut self, kinds: &[&str], findings: &mut Findings) {
        if self.agent.stop() != Some(0) {
            findings.lost("the agent did not stop in order");
        }
        let log = self.agent.rest_of_the_log();
        let complaints = log.iter().filter(|line| line["message"] == "TLS handshake with a client failed");
        let said: Vec<&str> = complaints.filter_map(|line| line["error"].as_str()).collect();
        for kind in kinds.iter().filter(|kind| !said.iter().any(|said| said.contains(**kind))) {
            findings.lost(format!("the log does not tell once that {kind}"));
        }
        match log.iter().find(|line| line["level"] == "error" || line["message"] == "a request panicked") {
            Some(line) => findings.lost(format!("the log has an error: {line}")),
            None => findings.saw(format!("{} lines in the log tell of all that came to nothing", said.len())),
        }
    }
}

fn counter() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}
