//! The hot paths one by one, as often as one likes, for whoever counts: instructions, system calls, allocations, CPU.
//!
//! `hotpaths OPERATION COUNT [WHERE]`: the operations are listed in `OPERATIONS`. Prints the CPU time of the process and the
//! time that passed, in nanoseconds, both without what comes before and after. Whoever counts from outside takes the
//! difference between two counts, so that everything that does not depend on the count cancels out.
//!
//! The other side of a connection is a process of its own, which valgrind does not see. `strace -f` follows whatever is
//! started: for it, `other_side_listens` is started beforehand, and its address given as WHERE.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "a measurement")]
#![allow(clippy::disallowed_methods, reason = "a measurement asks the real clock")]

mod other_side;
mod ours;
mod yardsticks;

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

/// More than a thread of the pool waits for work.
const PAUSE: Duration = Duration::from_millis(600);

/// A name, and what is done so often; the text says where, for those that need a place or a peer.
type Operation = (&'static str, fn(u32, &str));

const OPERATIONS: [Operation; 16] = [
    ("reference", yardsticks::reference),
    ("bare_write", yardsticks::bare_write),
    ("bare_write_apart", yardsticks::bare_write_apart),
    ("hyper_client", yardsticks::hyper_client),
    ("status_write", ours::status_write),
    ("status_write_apart", ours::status_write_apart),
    ("heartbeat_sent", ours::heartbeat_sent),
    ("health", ours::health),
    ("heartbeat_over_http", ours::heartbeat_over_http),
    ("heartbeat_over_http_of_10000", ours::heartbeat_over_http_of_many),
    ("heartbeat_over_socket", ours::heartbeat_over_socket),
    ("heartbeat_over_socket_of_10000", ours::heartbeat_over_socket_of_many),
    ("idle_turn", ours::idle_turn),
    ("other_side_asks", other_side::ask),
    ("other_side_tells", other_side::tell),
    ("other_side_stops", other_side::stop),
];

/// What the programs do: see above.
pub fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let (name, count, place) = match arguments.as_slice() {
        [] => return println!("usage: hotpaths OPERATION COUNT [WHERE]"),
        [name] if name == "other_side_listens" => return other_side::listen(),
        [name, count] => (name, count, ""),
        [name, count, place, ..] => (name, count, place.as_str()),
        [name] => (name, &"1".to_owned(), ""),
    };
    let (_, operation) = OPERATIONS.iter().find(|(known, _)| known == name).expect("one of the operations");
    operation(count.parse().expect("a number"), place);
}

/// Does something and prints what it took.
fn timed(work: impl FnOnce()) {
    let (began, cpu_before) = (Instant::now(), cpu());
    work();
    tell(cpu() - cpu_before, began.elapsed());
}

/// As [`timed`], with a pause before each that lets the thread of the pool go: the pause costs no CPU and counts as no time,
/// and every repetition has the start of one thread in it, and the end of the one before.
fn timed_apart(count: u32, mut work: impl FnMut()) {
    let (mut took, cpu_before) = (Duration::ZERO, cpu());
    for _ in 0..count {
        std::thread::sleep(PAUSE);
        let began = Instant::now();
        work();
        took += began.elapsed();
    }
    tell(cpu() - cpu_before, took);
}

fn tell(used: Duration, took: Duration) {
    println!("{{\"cpu_ns\":{},\"wall_ns\":{}}}", used.as_nanos(), took.as_nanos());
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).expect("a time")
}
