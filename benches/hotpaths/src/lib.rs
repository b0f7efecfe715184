//! Runs one hot path a given number of times, so that a tool can count instructions, system calls, allocations or CPU time.
//!
//! `hotpaths OPERATION COUNT [TARGET]`: `OPERATIONS` lists the operations. Prints the CPU time of the process and the elapsed
//! time, in nanoseconds, both without setup and cleanup. A tool that counts for the whole process takes the difference
//! between two runs with different counts, so that everything that does not depend on the count cancels out.
//!
//! The peer of a connection is a separate process, which valgrind does not observe. `strace -f` follows every process that
//! is started. For strace, start `peer_listens` first, and pass its address as TARGET.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measurement")]
#![allow(clippy::disallowed_methods, reason = "a measurement asks the real clock")]

mod baselines;
mod peer;
mod product;

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

#[allow(dead_code, unused_imports, reason = "the tests use the rest")]
#[path = "../../../tests/support"]
mod support {
    pub(crate) mod api;
    pub(crate) mod control;
    pub(crate) mod daemon_api;
    pub(crate) mod http;
    pub(crate) mod snapshot;
}

/// Longer than an idle thread of the pool waits for work before it ends.
const PAUSE: Duration = Duration::from_millis(600);

/// A name, and a function of the count and of the target: a directory, a file or the address of a peer.
type Operation = (&'static str, fn(u32, &str));

const OPERATIONS: [Operation; 16] = [
    ("reference", baselines::reference),
    ("bare_write", baselines::bare_write),
    ("bare_write_after_pause", baselines::bare_write_after_pause),
    ("hyper_client", baselines::hyper_client),
    ("status_write", product::status_write),
    ("status_write_after_pause", product::status_write_after_pause),
    ("heartbeat_sent", product::heartbeat_sent),
    ("health", product::health),
    ("heartbeat_over_http", product::heartbeat_over_http),
    ("heartbeat_over_http_of_10000", product::heartbeat_over_http_of_many),
    ("heartbeat_over_socket", product::heartbeat_over_socket),
    ("heartbeat_over_socket_of_10000", product::heartbeat_over_socket_of_many),
    ("idle_refresh", product::idle_refresh),
    ("peer_requests_health", peer::request_health),
    ("peer_sends_heartbeats", peer::send_heartbeats),
    ("peer_stops_parent", peer::stop_parent),
];

/// The main function of both programs, see the head of this file.
pub fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (name, count, target) = match arguments.as_slice() {
        [] => return println!("usage: hotpaths OPERATION COUNT [TARGET]"),
        [name] if name == "peer_listens" => return peer::listen(),
        [name, count] => (name, count, ""),
        [name, count, target, ..] => (name, count, target.as_str()),
        [name] => (name, &"1".to_owned(), ""),
    };
    let (_, operation) = OPERATIONS.iter().find(|(known, _)| known == name).expect("one of the operations");
    operation(count.parse().expect("a number"), target);
}

/// Does the work, and prints its CPU time and its duration.
fn timed(work: impl FnOnce()) {
    let (started, cpu_before) = (Instant::now(), cpu());
    work();
    report(cpu() - cpu_before, started.elapsed());
}

/// As [`timed`], with a pause before each repetition in which the thread of the pool ends. The pause uses no CPU, and its
/// time does not count. Each repetition includes the start of one thread and the end of the one before.
fn timed_after_pauses(count: u32, mut work: impl FnMut()) {
    let (mut took, cpu_before) = (Duration::ZERO, cpu());
    for _ in 0..count {
        std::thread::sleep(PAUSE);
        let started = Instant::now();
        work();
        took += started.elapsed();
    }
    report(cpu() - cpu_before, took);
}

fn report(used: Duration, took: Duration) {
    println!("{{\"cpu_ns\":{},\"wall_ns\":{}}}", used.as_nanos(), took.as_nanos());
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("a time")
}
