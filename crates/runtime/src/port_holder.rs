//! Which process listens on a TCP port, for a message.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::clock;
use ops_protocol::printable::on_one_line;

/// The time limit of the search: a host may have very many processes.
const SEARCH: Duration = Duration::from_secs(1);

/// The state of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";

/// The process that listens on this port, such as `pid 4711 (nginx)`. `None`: `/proc` does not show it to this user.
#[must_use]
pub fn port_holder(port: u16) -> Option<String> {
    let sockets: Vec<u64> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listeners(&table, port))
        .collect();
    let until = clock::monotonic() + SEARCH;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        let mut inodes = files.filter_map(|entry| Some(fs::metadata(entry.path()).ok()?.ino()));
        inodes.any(|inode| sockets.contains(&inode)).then_some(pid)
    };
    let pid = pids.take_while(|_| clock::monotonic() < until).find_map(holds)?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(format!("pid {pid} ({})", on_one_line(name.trim_end())))
}

/// The inodes of the sockets in a table of the kernel that listen on this port, see proc_pid_net(5).
fn listeners(table: &str, port: u16) -> Vec<u64> {
    let ending = format!(":{port:04X}");
    let inode = |line: &str| {
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = fields.get(1)?.ends_with(&ending) && *fields.get(3)? == LISTEN;
        listens.then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().filter_map(inode).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_that_listens_on_a_port_is_named() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = port_holder(port).expect("it is this process");
        assert!(holder.starts_with(&format!("pid {} (", std::process::id())), "{holder}");
        drop(listener);
        assert_eq!(port_holder(port), None);
    }
}
