//! What a host has only so much of: descriptors, disk, memory, and room for peers. Used up, and given back.

mod address_space;
mod connections;
mod descriptors;
mod disk;
mod flood;
mod memory;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::Value;

use crate::Effort;
use crate::release_build::Shipped;
use crate::report::Findings;
use crate::soak::query::{ConnState, ask};
use crate::support::agent::DEADLINE;
use crate::support::http::request;

/// How much more memory a process may have afterwards.
pub(crate) const MORE_RESIDENT: u64 = 2 << 20;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let Some(_shipped) = shipped(findings) else { return };
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        findings.could_not(format!("raise the limit of open files to the hard one: {error}"));
    }
    descriptors::run(effort, findings);
    disk::run(effort, findings);
    memory::run(effort, findings);
    connections::run(effort, findings);
    flood::run(effort, findings);
}

/// From now on the programs are those that ship, since what they weigh is to be judged: unoptimised, tasks are several times the
/// size, and the allocator's pages with them.
pub(crate) fn shipped(findings: &mut Findings) -> Option<Shipped> {
    Shipped::build().inspect_err(|why| findings.lost(format!("there is nothing to weigh: {why}"))).ok()
}

/// Looks again and again until there is something. `None`: it did not come in time.
fn eventually<T>(look: impl FnMut() -> Option<T>) -> Option<T> {
    within(DEADLINE, look)
}

fn within<T>(time: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + time;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `so` and says whether it came to that.
fn comes(so: impl Fn() -> bool) -> bool {
    eventually(|| so().then_some(())).is_some()
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// A connection from one of many loopback addresses, 250 connections to each.
fn connection(port: u16, number: usize) -> Result<TcpStream, rustix::io::Errno> {
    let from = [127, 1, 1, u8::try_from(number / 250 % 250).unwrap_or_default() + 1];
    let stream = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&stream, &SocketAddr::from((from, 0)))?;
    connect(&stream, &local(port))?;
    Ok(stream.into())
}

/// `/health`, as JSON.
fn health(port: u16) -> Option<(u16, Value)> {
    let (status, body) = ask(local(port), "GET", "/health")?;
    Some((status, serde_json::from_str(&body).ok()?))
}

/// Whether an agent names this fault.
fn has_fault(port: u16, name: &str) -> bool {
    let faults = health(port).and_then(|(_, health)| health["faults"].as_array().cloned());
    faults.is_some_and(|faults| faults.iter().any(|fault| fault["name"] == name))
}

fn is_well(port: u16) -> bool {
    health(port).is_some_and(|(status, _)| status == 200)
}

/// `/metrics`, from whoever is at work: one that does not come in time is a failure, and never a zero.
fn metrics(port: u16) -> String {
    request(local(port), "GET", "/metrics", "accept: text/plain\r\n").body
}

/// Whether a process holds what it held before, but for [`MORE_RESIDENT`], once it has had time to give the rest back. Says so.
fn is_as_before(pid: u32, before: u64, who: &str, findings: &mut Findings) {
    let after = settled(pid, before);
    let text = format!("{who}: memory {} before, {} afterwards", mib(before), mib(after));
    if after > before + MORE_RESIDENT { findings.lost(text) } else { findings.saw(text) }
}

/// What a process needs once it has nothing to do.
pub(crate) fn vitals(pid: u32) -> ConnState {
    ConnState::of(pid).unwrap_or(ConnState { resident: 0, descriptors: 0 })
}

/// The resident memory once it is near what it was, or as it is after some seconds.
pub(crate) fn settled(pid: u32, before: u64) -> u64 {
    let near = || Some(vitals(pid).resident).filter(|resident| *resident <= before + MORE_RESIDENT);
    within(Duration::from_secs(15), near).unwrap_or_else(|| vitals(pid).resident)
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
