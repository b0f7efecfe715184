//! A real Prometheus, and its linter.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A Prometheus server with the given configuration, until dropped.
pub(crate) struct Prometheus {
    pub(crate) address: SocketAddr,
    process: Child,
    _directory: TempDir,
}

impl Prometheus {
    /// Prometheus does not report its port. It gets one that was free just before, and another if that is taken now.
    pub(crate) fn start(config: &str) -> Self {
        (0..5).find_map(|_| Self::try_start(config)).expect("a port for Prometheus")
    }

    fn try_start(config: &str) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("prometheus.yml");
        fs::write(&file, config).expect("a file");
        let address = TcpListener::bind("127.0.0.1:0").and_then(|port| port.local_addr()).expect("a free port");
        let process = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus starts");
        let mut started = Self { address, process, _directory: directory };
        while started.process.try_wait().expect("a child").is_none() {
            if TcpStream::connect(address).is_ok() {
                return Some(started);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        None
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Asserts that promtool finds no problem in the metrics.
pub(crate) fn lint(exposition: &str) {
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    promtool.stdin.take().expect("piped").write_all(exposition.as_bytes()).expect("promtool reads");
    let output = promtool.wait_with_output().expect("promtool ends");
    assert!(output.status.success(), "{}\n{exposition}", String::from_utf8_lossy(&output.stderr));
}
