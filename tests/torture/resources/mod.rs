//! Resource exhaustion: descriptors, disk, memory and connections are used up and then released.

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
use crate::release_build::ReleaseBuild;
use crate::report::Findings;
use crate::soak::query::{ProcessUsage, ask};
use crate::support::agent::DEADLINE;
use crate::support::http::request;

/// How much the resident memory may grow, in bytes.
pub(crate) const MORE_RESIDENT: u64 = 2 << 20;

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let Some(_release_build) = use_release_build(findings) else { return };
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        findings.skip(format!("the limit of open files cannot be raised to the hard limit: {error}"));
    }
    descriptors::run(effort, findings);
    disk::run(effort, findings);
    memory::run(effort, findings);
    connections::run(effort, findings);
    flood::run(effort, findings);
}

/// Makes the tests start release builds while the value lives. Memory is measured, and unoptimised tasks are several
/// times as large.
pub(crate) fn use_release_build(findings: &mut Findings) -> Option<ReleaseBuild> {
    ReleaseBuild::build().inspect_err(|why| findings.fail(format!("the release build failed: {why}"))).ok()
}

/// Polls until there is a value. `None`: there is none before the deadline.
fn eventually<T>(poll: impl FnMut() -> Option<T>) -> Option<T> {
    within(DEADLINE, poll)
}

fn within<T>(time: Duration, mut poll: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + time;
    loop {
        if let Some(found) = poll() {
            return Some(found);
        }
        if Instant::now() >= until {
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until `condition` holds. `false`: it does not hold before the deadline.
fn becomes_true(condition: impl Fn() -> bool) -> bool {
    eventually(|| condition().then_some(())).is_some()
}

pub(crate) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Connects from one of many loopback addresses, with 250 connections for each.
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

/// Whether an agent reports this fault.
fn has_fault(port: u16, name: &str) -> bool {
    let faults = health(port).and_then(|(_, health)| health["faults"].as_array().cloned());
    faults.is_some_and(|faults| faults.iter().any(|fault| fault["name"] == name))
}

fn is_healthy(port: u16) -> bool {
    health(port).is_some_and(|(status, _)| status == 200)
}

/// `/metrics` of a program that must answer: no answer is a panic, so it cannot pass for a value of 0.
fn metrics(port: u16) -> String {
    request(local(port), "GET", "/metrics", "accept: text/plain\r\n").body
}

/// Fails if the memory of a process, once it has settled_memory, is more than [`MORE_RESIDENT`] above its level from
/// before.
fn check_memory(pid: u32, before: u64, process: &str, findings: &mut Findings) {
    let after = settled_memory(pid, before);
    let text = format!("{process}: memory {} before, {} afterwards", mib(before), mib(after));
    if after > before + MORE_RESIDENT { findings.fail(text) } else { findings.note(text) }
}

/// Memory and descriptors of a process, 0 if it has ended.
pub(crate) fn usage(pid: u32) -> ProcessUsage {
    ProcessUsage::of(pid).unwrap_or(ProcessUsage { resident: 0, descriptors: 0 })
}

/// The resident memory as soon as it is near its level from before, or else after 15 s.
pub(crate) fn settled_memory(pid: u32, before: u64) -> u64 {
    let near = || Some(usage(pid).resident).filter(|resident| *resident <= before + MORE_RESIDENT);
    within(Duration::from_secs(15), near).unwrap_or_else(|| usage(pid).resident)
}

pub(crate) fn mib(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
