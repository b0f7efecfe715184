//! Queries to programs that may be dead, stopped or unreachable: `None` means no answer.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

pub(super) const DEADLINE: Duration = Duration::from_secs(2);

/// Status and body of an answer.
pub(crate) fn ask(address: SocketAddr, method: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\naccept: text/plain, */*;q=0.5\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let length: usize =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    (body.len() == length).then(|| (status, body.to_owned()))
}

/// The result of a request over the daemon's socket.
pub(crate) fn call(socket: &Path, method: &str, params: &Value) -> Option<Value> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.set_read_timeout(Some(DEADLINE)).ok()?;
    writeln!(stream, "{}", json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params })).ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str::<Value>(&line).ok()?.get("result").cloned()
}

/// The sum over all lines of a metric that have each of these labels.
pub(crate) fn metric(exposition: &str, name: &str, labels: &[&str]) -> u64 {
    let lines = exposition.lines().filter_map(|line| line.strip_prefix(name));
    let fits = lines.filter(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)));
    fits.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
}

/// The current length of a log.
pub(crate) fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Resident memory in bytes, and open descriptors.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ProcessUsage {
    pub(crate) resident: u64,
    pub(crate) descriptors: u64,
}

impl ProcessUsage {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64;
        Some(Self { resident: kibibytes * 1024, descriptors })
    }

    /// The maximum of each value.
    pub(super) fn max(self, other: Self) -> Self {
        Self { resident: self.resident.max(other.resident), descriptors: self.descriptors.max(other.descriptors) }
    }
}
