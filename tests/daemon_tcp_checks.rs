//! The check of a TCP port detects a listener that refuses or no longer accepts, and blames no agent for a fault of the daemon.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use ops_agent::testing::daemon::checks::{TcpCheck, TcpCheckResult};
use ops_config::daemon::TcpAddress;
use ops_config::{Overrides, load_daemon};
use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::block_on;

/// Set in the process that runs out of descriptors.
const ADDRESS: &str = "TCP_CHECK_ADDRESS";

/// The address in a configuration.
fn address(text: &str) -> TcpAddress {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("daemon.yaml");
    let agent = format!("{{ id: a, binary_path: /bin/true, health_check: {{ tcp: '{text}' }} }}");
    std::fs::write(&file, format!("agents:\n  - {agent}\n")).unwrap();
    let config = load_daemon(Some(&file), &Overrides::none()).unwrap().config;
    config.agents[0].health_check.tcp.clone().unwrap()
}

fn check(text: &str, timeout: Duration) -> TcpCheckResult {
    block_on(TcpCheck::new(&address(text), timeout).check())
}

fn failed(why: &str) -> TcpCheckResult {
    TcpCheckResult::Failed(why.to_owned())
}

#[test]
fn a_port_passes_while_it_accepts() {
    let long = Duration::from_secs(60);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(check(&format!("127.0.0.1:{port}"), long), TcpCheckResult::Accepted);
    assert_eq!(
        check(&format!("localhost:{port}"), long),
        TcpCheckResult::Accepted,
        "another address of the name refuses"
    );
    drop(listener);
    assert_eq!(check(&format!("127.0.0.1:{port}"), long), failed("refuses connections"));
}

#[test]
fn a_listener_that_no_longer_accepts_fails_after_the_time_limit() {
    // The kernel completes one connection for it. That of the first check fills the queue.
    let full: OwnedFd = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&full, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    listen(&full, 0).unwrap();
    let full = TcpListener::from(full);
    let check = |timeout| check(&full.local_addr().unwrap().to_string(), timeout);
    assert_eq!(check(Duration::from_secs(60)), TcpCheckResult::Accepted);
    assert_eq!(check(Duration::from_millis(300)), failed("accepts no connection within 0.3 s"));
    drop(full.accept().unwrap());
    assert_eq!(check(Duration::from_secs(60)), TcpCheckResult::Accepted, "it accepts again");
}

#[test]
fn a_tcp_check_that_the_daemon_could_not_try_is_no_failure_of_the_agent() {
    // The result is the same whether the name server answers or is absent.
    let result = check("absent.invalid:9", Duration::from_secs(5));
    assert!(matches!(&result, TcpCheckResult::NotTried(why) if why.starts_with("its name")), "{result:?}");
    if let Ok(text) = env::var(ADDRESS) {
        let check = TcpCheck::new(&address(&text), Duration::from_secs(60));
        assert_eq!(block_on(check.check()), TcpCheckResult::Accepted);
        let before = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..before }).unwrap();
        let result = block_on(check.check());
        setrlimit(Resource::Nofile, before).unwrap();
        assert!(
            matches!(&result, TcpCheckResult::NotTried(why) if why.contains("the daemon cannot connect")),
            "{result:?}"
        );
        return;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut again = Command::new(env::current_exe().unwrap());
    again.args(["--exact", "daemon_tcp_checks::a_tcp_check_that_the_daemon_could_not_try_is_no_failure_of_the_agent"]);
    again.env(ADDRESS, listener.local_addr().unwrap().to_string()).stdin(Stdio::null());
    let output = again.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
