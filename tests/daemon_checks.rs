//! The daemon's checks detect faults of an agent, and never blame the agent for a fault of the daemon.
//!
//! The daemon that runs out of descriptors here is this test binary, started again with [`URL`] set.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use ops_agent::testing::daemon::checks::{
    Counters, HttpCheck, HttpCheckResult, OpenFiles, ResourceCheck, StatusFacts, StatusFileCheck, StatusFileResult,
};
use ops_agent::testing::daemon::processes::{Trees, identity_of, start};
use ops_protocol::status_file::{FileFormat, StatusFile};
use ops_runtime::clock;
use ops_runtime::observe::boot_id;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use smol::block_on;

use crate::daemon_processes::launch;
use crate::status_file_text::sample;
use crate::support::agent::{AgentDir, wait_until};
use crate::support::peer::{Behaviour, Peer};

const URL: &str = "CHECKS_URL";

/// The time limit of a check of a service.
const TIMEOUT: Duration = Duration::from_secs(5);

fn ask(url: &str) -> HttpCheckResult {
    block_on(HttpCheck::new(url, TIMEOUT, None).unwrap().check())
}

fn failed(why: &str) -> HttpCheckResult {
    HttpCheckResult::Failed(why.to_owned())
}

#[test]
fn only_a_2xx_answer_passes_the_http_check() {
    let peer = Peer::http();
    let check = HttpCheck::new(&peer.url(), TIMEOUT, None).unwrap();
    let ask = || block_on(check.check());
    for (code, expected) in [
        (200, HttpCheckResult::Answered),
        (204, HttpCheckResult::Answered),
        (299, HttpCheckResult::Answered),
        (302, failed("answers 302")),
        (404, failed("answers 404")),
        (503, failed("answers 503")),
        (799, failed("answers 799")),
    ] {
        let headers = if code == 302 { "location: /elsewhere\r\n" } else { "" };
        peer.behave(Behaviour::status(code, headers, ""));
        assert_eq!(ask(), expected);
    }
    let received = peer.received();
    assert!(received[0].head.starts_with("GET /heartbeat HTTP/1.1\r\n"), "{}", received[0].head);
    assert_eq!(peer.connections(), received.len(), "each on a connection of its own");
    peer.behave(Behaviour::CloseOnRequest);
    assert_eq!(ask(), failed("closes the connection instead of answering"));
    peer.behave(Behaviour::Answer(b"who is there?\r\n\r\n".to_vec()));
    assert_eq!(ask(), failed("answers something that is not HTTP"));
    peer.vanish();
    assert_eq!(ask(), failed("refuses connections"));
    peer.appear();
    peer.behave(Behaviour::Flood(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n".to_vec()));
    assert_eq!(ask(), HttpCheckResult::Answered, "the head has decided");
}

#[test]
fn a_503_that_reports_degraded_is_told_from_another_one() {
    let peer = Peer::http();
    let check = HttpCheck::new(&peer.url(), TIMEOUT, None).unwrap();
    for (body, expected) in [
        (r#"{"status":"unhealthy","state":"degraded","detail":"x"}"#, HttpCheckResult::Degraded),
        (r#"{"status":"unhealthy","state":"starting"}"#, failed("answers 503")),
        ("degraded", failed("answers 503")),
    ] {
        peer.behave(Behaviour::status(503, "", body));
        assert_eq!(block_on(check.check()), expected, "{body}");
    }
    peer.behave(Behaviour::status(500, "", r#"{"state":"degraded"}"#));
    assert_eq!(block_on(check.check()), failed("answers 500"));
}

#[test]
fn an_odd_answer_that_other_clients_accept_passes_the_http_check() {
    let peer = Peer::http();
    let cookies: String = (0..150).map(|number| format!("set-cookie: c{number}=1\r\n")).collect();
    for headers in [cookies.as_str(), "server : odd\r\n", "x-folded: one\r\n two\r\n", "bad name: x\r\n"] {
        peer.behave(Behaviour::Answer(format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n").into_bytes()));
        assert_eq!(ask(&peer.url()), HttpCheckResult::Answered, "{headers}");
    }
}

#[test]
fn the_http_check_fails_after_its_time_limit() {
    let peer = Peer::http();
    peer.behave(Behaviour::Hang);
    for (timeout, why) in [(500, "does not answer within 0.5 s"), (1000, "does not answer within 1 s")] {
        let timeout = Duration::from_millis(timeout);
        let check = HttpCheck::new(&peer.url(), timeout, None).unwrap();
        let begun = clock::monotonic();
        assert_eq!(block_on(check.check()), failed(why));
        assert!(clock::monotonic() - begun >= timeout);
    }
}

#[test]
fn a_check_that_the_daemon_could_not_try_is_no_failure_of_the_agent() {
    // The result is the same whether the name server answers or is absent.
    let probe = ask("http://absent.invalid:9/health");
    assert!(matches!(&probe, HttpCheckResult::NotTried(why) if why.starts_with("its name")), "{probe:?}");
    for bad in ["https://127.0.0.1/health", "127.0.0.1:8080", "/health", "file:///health"] {
        let error = HttpCheck::new(bad, TIMEOUT, None).unwrap_err().to_string();
        assert!(error.ends_with("write it as http://127.0.0.1:9100/livez"), "{error}");
    }
}

/// Runs each check, and starts a process, with descriptors and then without.
fn check_without_descriptors(url: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ron");
    fs::write(&path, sample().encode(FileFormat::Ron).unwrap()).unwrap();
    let own = identity_of(std::process::id()).unwrap().unwrap();
    let (http, trees) = (HttpCheck::new(url, TIMEOUT, None).unwrap(), Trees::default());
    let status = StatusFileCheck::new(path);
    let launch = || launch(&directory.path().join("work"), "/bin/true", &[]);
    assert_eq!(block_on(http.check()), HttpCheckResult::Answered);
    assert!(matches!(block_on(status.check()), StatusFileResult::Read(_)));
    assert!(trees.adopt(own, None, None).unwrap());
    drop(block_on(start(launch(), |_, _| ())).unwrap());

    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
    let probe = block_on(http.check());
    let look = block_on(status.check());
    let scan = block_on(trees.scan());
    let started = block_on(start(launch(), |_, _| ()));
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(matches!(&probe, HttpCheckResult::NotTried(why) if why.contains("the daemon cannot connect")), "{probe:?}");
    assert!(matches!(&look, StatusFileResult::NotRead(why) if why.contains("the daemon cannot read it")), "{look:?}");
    assert!(scan.is_err(), "what a tree uses is unknown, and not nothing");
    assert!(started.unwrap_err().is_own_fault());
    assert_eq!(block_on(http.check()), HttpCheckResult::Answered, "and all is well again");
}

#[test]
fn a_daemon_without_descriptors_blames_no_agent() {
    if let Ok(url) = env::var(URL) {
        return check_without_descriptors(&url);
    }
    let peer = Peer::http();
    let starved = Command::new(env::current_exe().unwrap())
        .args(["daemon_checks::a_daemon_without_descriptors_blames_no_agent", "--exact", "--nocapture"])
        .env(URL, peer.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(starved.status.success(), "{}", String::from_utf8_lossy(&starved.stderr));
}

fn look(path: &Path) -> StatusFileResult {
    block_on(StatusFileCheck::new(path.to_owned()).check())
}

fn facts(path: &Path) -> StatusFacts {
    let look = look(path);
    let StatusFileResult::Read(facts) = look else { panic!("{look:?}") };
    facts
}

#[test]
fn the_status_file_check_reads_age_writer_and_faults() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.ron");
    assert_eq!(look(&path), StatusFileResult::Missing);
    let write = |file: StatusFile| fs::write(&path, file.encode(FileFormat::Ron).unwrap()).unwrap();

    let written = clock::boottime() - Duration::from_secs(1);
    let boottime_ns = u64::try_from(written.as_nanos()).unwrap();
    let here = ops_runtime::observe::pid_namespace();
    write(StatusFile {
        boot_id: boot_id().unwrap(),
        pid_namespace: here,
        updated_boottime_ns: boottime_ns,
        ..sample()
    });
    let now = facts(&path);
    assert!(now.age.unwrap() >= Duration::from_secs(1));
    assert!(now.age.unwrap() <= clock::boottime() - written);
    assert_eq!((now.mark, now.pid, now.valid_for), (120, Some(4242), Some(Duration::from_secs(30))));
    assert_eq!(now.degraded.unwrap(), "heartbeat: connection refused");

    write(sample());
    let future = boottime_ns + 3_600_000_000_000;
    write(StatusFile { boot_id: boot_id().unwrap(), updated_boottime_ns: future, ..sample() });
    let future = facts(&path);
    assert_eq!(future.age, None);
    assert!(future.ahead.unwrap() > Duration::from_secs(3_500), "{future:?}");
    write(StatusFile { pid_namespace: 1, ..sample() });
    assert_eq!(facts(&path).pid, None, "a pid of another PID namespace is not compared");

    write(sample());
    let earlier = facts(&path).age.unwrap();
    assert!(earlier > written, "a file of another boot is as old as this boot, at least: {earlier:?}");
    write(StatusFile { boot_id: String::new(), ..sample() });
    assert_eq!(facts(&path).age, None);

    fs::write(&path, sample().encode(FileFormat::Ron).unwrap().replace("4242", "4243")).unwrap();
    assert!(matches!(look(&path), StatusFileResult::Damaged(_)));
    assert!(matches!(look(directory.path()), StatusFileResult::Damaged(_)));
}

#[test]
fn a_file_of_another_format_counts_by_its_modification_time() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("alive");
    assert_eq!(look(&path), StatusFileResult::Missing);
    let touch = |second| {
        let file = fs::File::create(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    };
    touch(1);
    let first = facts(&path);
    assert_eq!(
        first,
        StatusFacts { mark: 1_000_000_000, age: None, ahead: None, valid_for: None, pid: None, degraded: None }
    );
    touch(2);
    assert_ne!(facts(&path).mark, first.mark);
    fs::write(&path, "{\"cursor\": 1}").unwrap();
    assert_eq!(facts(&path).pid, None, "whatever is in it");
    fs::write(&path, [0; 100]).unwrap();
    assert!(matches!(look(&path), StatusFileResult::Damaged(_)), "but for what only a crash leaves");
}

#[test]
fn the_file_of_a_stopped_agent_ages() {
    let agent_dir = AgentDir::new("state: { refresh: 1s }\n");
    let agent = agent_dir.start();
    let path = agent_dir.status_file();
    let first = facts(&path);
    assert_eq!(first.pid, Some(agent.pid()));
    wait_until("it is refreshed", || facts(&path).mark > first.mark);
    agent.signal(Signal::STOP);
    wait_until("it ages", || facts(&path).age.unwrap() > Duration::from_secs(3));
    agent.signal(Signal::CONT);
    wait_until("it is refreshed", || facts(&path).age.unwrap() < Duration::from_secs(3));
}

#[test]
fn cpu_is_the_share_of_the_machine_since_the_last_sample() {
    let own = identity_of(std::process::id()).unwrap().unwrap();
    let mut check = ResourceCheck::new(own);
    let mut now = Duration::ZERO;
    let mut sample = |cpu_ticks| {
        now += Duration::from_secs(1);
        check.sample(Counters { cpu_ticks, memory_bytes: 4096, open_files: OpenFiles::NotCounted, at: now })
    };
    let first = sample(1_000_000);
    assert_eq!((first.cpu_percent, first.memory_bytes), (0.0, 4096), "there is nothing to compare with");
    // More than any machine can do in a second.
    assert_eq!(sample(1_000_000_000).cpu_percent, 100.0);
    assert_eq!(sample(7).cpu_percent, 0.0, "a member that left the tree took its time with it");
}
