//! TLS: handshakes that are cut, never end or are none, and certificates that change under load.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::Effort;
use crate::report::Findings;
use crate::support::agent::{Agent, Home, wait_until};
use crate::support::http::Wire;
use crate::support::pki::{Ca, VALID};
use crate::support::tls::{Client, Wire as TlsWire};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// How much more memory the agent may hold after everything than after the first crowd, in KiB.
const KEPT: u64 = 4096;

/// An agent that speaks HTTPS, and who asks it.
struct Stage {
    ca: Ca,
    agent: Agent,
    address: SocketAddr,
    client: Client,
}

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let limits = "limits: { head_timeout: 2s }";
    let home = Home::new(&format!("http: {{ port: 0, tls: {{ cert: server.pem, key: server.key }}, {limits} }}\n"));
    let ca = Ca::new(home.path(), "ca");
    ca.sign("server", &NAMES, VALID);
    let client = Client::new(home.path(), "ca", None);
    let mut agent = home.start();
    let address = ([127, 0, 0, 1], agent.port()).into();
    let mut stage = Stage { ca, agent, address, client };
    stage.still_answers("at the start", findings);
    let (fresh, sockets) = (stage.resident(), stage.sockets());
    // The allocator keeps what the first crowd has needed. From then on, nothing may come on top of it.
    let crowd = effort.pick(300, 1_000);
    stage.never_finish(crowd, findings);
    let before = stage.resident();
    findings.saw(format!("resident memory: {fresh} KiB fresh, {before} KiB after the first crowd"));
    stage.cut(findings);
    stage.garbage(effort.pick(1_000, 8_000), findings);
    stage.never_finish(crowd, findings);
    stage.renew(effort.pick(Duration::from_secs(2), Duration::from_secs(15)), findings);
    wait_until("every connection is closed", || stage.sockets() <= sockets);
    stage.weigh(before, findings);
    stage.count_lines(findings);
}

impl Stage {
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

    /// A crowd that begins a handshake and goes no further, twice the size of what there is room for.
    fn never_finish(&mut self, crowd: usize, findings: &mut Findings) {
        let hello = self.client.hello("localhost");
        let mut waiting: Vec<Wire> = (0..crowd)
            .map(|at| {
                let mut wire = Wire::to(self.address);
                wire.send(&hello[..at % hello.len()]);
                wire
            })
            .collect();
        for _ in 0..10 {
            self.still_answers("beside a crowd that never finishes", findings);
        }
        let begun = Instant::now();
        for wire in &mut waiting {
            wire.end();
        }
        let took = begun.elapsed().as_secs_f64();
        findings.tried(crowd as u64, "a handshake that is begun and never ended");
        findings.saw(format!(
            "the last of {crowd} unfinished handshakes was ended {took:.1} s after the crowd had come (2 s each)"
        ));
    }

    /// New certificates again and again, while others ask on new connections and on kept ones.
    fn renew(&mut self, span: Duration, findings: &mut Findings) {
        let (over, asked, failed) = (Arc::new(AtomicBool::new(false)), counter(), counter());
        let askers: Vec<_> = (0..4)
            .map(|at| {
                let (client, address) = (self.client.clone(), self.address);
                let (over, asked, failed) = (Arc::clone(&over), Arc::clone(&asked), Arc::clone(&failed));
                std::thread::spawn(move || {
                    let mut kept = client.connect(address, "localhost");
                    while !over.load(Ordering::Relaxed) {
                        let answer = if at % 2 == 0 {
                            client.ask(address, "GET", "/livez")
                        } else {
                            crate::support::tls::ask_on(&mut kept, "GET", "/livez")
                        };
                        let well = answer.is_ok_and(|(status, _)| status == 200);
                        if well { &asked } else { &failed }.fetch_add(1, Ordering::Relaxed);
                        if !well {
                            kept = client.connect(address, "localhost");
                        }
                    }
                })
            })
            .collect();
        let until = Instant::now() + span;
        let mut renewals = 0;
        while Instant::now() < until {
            self.ca.sign("server", &NAMES, VALID);
            self.agent.signal(Signal::HUP);
            self.agent.wait_for_message("configuration reloaded");
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
            conn.read_tls(&mut sock).unwrap();
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

    fn sockets(&self) -> usize {
        let descriptors = fs::read_dir(format!("/proc/{}/fd", self.agent.pid())).unwrap();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    fn weigh(&mut self, before: u64, findings: &mut Findings) {
        let after = self.resident();
        let text = format!("resident memory: {after} KiB after everything");
        if after > before + KEPT { findings.lost(text) } else { findings.saw(text) }
    }

    /// One clear line for each kind of trouble now and then, however many peers make it.
    fn count_lines(&mut self, findings: &mut Findings) {
        if self.agent.stop() != Some(0) {
            findings.lost("the agent did not stop in order");
        }
        let log = self.agent.rest_of_the_log();
        let said = log.iter().filter(|line| line["message"] == "no TLS connection with a client").count();
        let bad = log.iter().find(|line| line["level"] == "error" || line["message"] == "a request panicked");
        match bad {
            Some(line) => findings.lost(format!("the log has an error: {line}")),
            None => findings.saw(format!("{said} lines in the log about all the handshakes that came to nothing")),
        }
    }
}

fn counter() -> Arc<AtomicU64> {
    Arc::new(AtomicU64::new(0))
}
