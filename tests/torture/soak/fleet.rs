//! The fleet: the daemon, its agents, their configurations, files and processes.

use std::collections::HashMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ops_runtime::observe::Stat;

use super::network::{DAEMON_ADDRESS, Network};
use super::query;
use crate::support::daemon::DaemonDir;
use crate::support::http::free_port;
use crate::support::pki::{Ca, VALID};
use crate::support::programs;
use crate::support::tls::{Client, ask_on};

/// The longest backoff of the daemon before it restarts an agent.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The initial heartbeat interval. Reloads change it.
pub(super) const INTERVAL: Duration = Duration::from_millis(150);

/// How an agent reaches its daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    /// HTTP over TLS, because an agent sends its start secret to other addresses than loopback only in a TLS connection.
    Http,
    Socket,
    /// The socket, without acknowledgements.
    Lines,
    /// HTTP, and the socket if HTTP fails.
    Both,
}

impl Transport {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Socket => "JSON-RPC",
            Self::Lines => "bare lines",
            Self::Both => "HTTP or JSON-RPC",
        }
    }
}

/// How the soak treats an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It is not disturbed, so it must never be restarted.
    Stable,
    Disturbed,
    /// Reloads of the daemon add and remove it.
    Temporary,
}

/// One agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct FleetAgent {
    pub(super) id: &'static str,
    pub(super) transport: Transport,
    pub(super) role: Role,
    /// It runs in the other namespace, if there is one.
    pub(super) remote: bool,
}

const fn agent(id: &'static str, transport: Transport, role: Role, remote: bool) -> FleetAgent {
    FleetAgent { id, transport, role, remote }
}

pub(super) const AGENTS: [FleetAgent; 9] = [
    agent("stable-socket", Transport::Socket, Role::Stable, false),
    agent("stable-http", Transport::Http, Role::Stable, false),
    agent("stable-far", Transport::Http, Role::Stable, true),
    agent("disturbed-socket", Transport::Socket, Role::Disturbed, false),
    agent("disturbed-http", Transport::Http, Role::Disturbed, false),
    agent("disturbed-lines", Transport::Lines, Role::Disturbed, false),
    agent("disturbed-both", Transport::Both, Role::Disturbed, false),
    agent("disturbed-far", Transport::Http, Role::Disturbed, true),
    agent("temporary", Transport::Socket, Role::Temporary, false),
];

/// The working directory, addresses and configurations.
pub(super) struct Fleet<'a> {
    pub(super) dir: DaemonDir,
    pub(super) network: Option<&'a Network>,
    pub(super) address: SocketAddr,
    /// The port of the one agent whose HTTP endpoint the daemon checks.
    checked_port: u16,
    client: Client,
}

impl<'a> Fleet<'a> {
    /// Creates all files for the first start.
    pub(super) fn new(network: Option<&'a Network>) -> Self {
        let host = if network.is_some() { DAEMON_ADDRESS } else { "127.0.0.1" };
        let address = SocketAddr::new(host.parse().expect("an address"), free_port());
        let dir = DaemonDir::new(&[]);
        Ca::new(dir.path(), "ca").sign("daemon", &["localhost", host], VALID);
        let client = Client::new(dir.path(), "ca", None);
        let fleet = Self { dir, network, address, checked_port: free_port(), client };
        fs::write(fleet.dir.path().join("token"), "not-used-by-this-test\n").expect("a token");
        fleet.configure_daemon(true);
        for index in 0..AGENTS.len() {
            fleet.configure_agent(index, INTERVAL);
        }
        fleet
    }

    /// Indices of the agents that may be disturbed.
    pub(super) fn disturbed() -> Vec<usize> {
        (0..AGENTS.len()).filter(|&index| AGENTS[index].role == Role::Disturbed).collect()
    }

    /// Writes the daemon's configuration, with or without the temporary agent.
    pub(super) fn configure_daemon(&self, with_temporary: bool) {
        let mut yaml = format!(
            "daemon: {{ work_dir: state, log: {{ level: debug }}, http: {{ host: {}, port: {}, token_file: token, \
             tls: {{ cert: daemon.pem, key: daemon.key }} }} }}\n\
             agent_defaults:\n  health_check: {{ interval: 500ms, cpu_threshold: 0, memory_threshold: 0, start_grace: 10s }}\n  \
             restart: {{ max_retries: 1000000, backoff_base: 300ms, backoff_max: {}s }}\nagents:\n",
            self.address.ip(),
            self.address.port(),
            BACKOFF_MAX.as_secs()
        );
        for agent in AGENTS.iter().filter(|agent| with_temporary || agent.role != Role::Temporary) {
            yaml.push_str(&self.entry(agent));
        }
        self.replace_file("daemon.yaml", &yaml);
    }

    fn entry(&self, agent: &FleetAgent) -> String {
        let id = agent.id;
        let file = format!("state_file: {}", DaemonDir::status_file(id));
        let checks = match agent.role {
            Role::Stable if id == "stable-http" => {
                let livez = format!("http_endpoint: \"http://127.0.0.1:{}/livez\"", self.checked_port);
                format!("heartbeat_timeout: 20s, {file}, state_max_age: 20s, {livez}")
            }
            Role::Stable => format!("heartbeat_timeout: 20s, {file}, state_max_age: 20s"),
            Role::Disturbed if id == "disturbed-socket" => format!("heartbeat_timeout: 20s, {file}, state_max_age: 4s"),
            Role::Disturbed | Role::Temporary => "heartbeat_timeout: 4s".to_owned(),
        };
        let config = self.dir.path().join(format!("{id}.yaml"));
        let binary = programs::agent();
        let start = match self.network.filter(|_| agent.remote) {
            // nsenter executes the agent in the same process.
            Some(network) => format!(
                "binary_path: /usr/bin/nsenter, args: [\"--net={}\", \"{binary}\", -config, \"{}\"]",
                network.remote_path().display(),
                config.display()
            ),
            None => format!("binary_path: \"{binary}\", config_file: \"{}\"", config.display()),
        };
        format!("  - {{ id: {id}, {start}, health_check: {{ {checks} }} }}\n")
    }

    /// Writes an agent's configuration.
    pub(super) fn configure_agent(&self, index: usize, interval: Duration) {
        let agent = &AGENTS[index];
        let (url, socket) = (format!("https://{}/heartbeat", self.address), self.dir.socket());
        let transport = match agent.transport {
            Transport::Http => format!("url: \"{url}\""),
            Transport::Socket => format!("url: \"unix://{}\"", socket.display()),
            Transport::Lines => format!("socket_path: \"{}\"", socket.display()),
            Transport::Both => format!("url: \"{url}\", socket_path: \"{}\", framing: jsonrpc", socket.display()),
        };
        let ca = self.dir.path().join("ca.pem");
        let tls =
            if transport.contains(&url) { format!(", tls: {{ ca: \"{}\" }}", ca.display()) } else { String::new() };
        let port = if agent.id == "stable-http" { self.checked_port } else { 0 };
        let refresh = if agent.role == Role::Stable { "5s" } else { "1s" };
        let yaml = format!(
            "agent_id: {}\nhttp: {{ port: {port} }}\nlog: {{ level: debug, file: \"{}\" }}\n\
             heartbeat: {{ {transport}, interval: {}ms, timeout: 3s{tls} }}\nstate: {{ refresh: {refresh} }}\n",
            agent.id,
            self.log(index).display(),
            interval.as_millis()
        );
        self.replace_file(&format!("{}.yaml", agent.id), &yaml);
    }

    /// Replaces a file atomically, so that readers see the old or the new content.
    pub(super) fn replace_file(&self, name: &str, text: &str) {
        let path = self.dir.path().join(name);
        let draft = path.with_extension("draft");
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).expect("to write a configuration");
    }

    /// The daemon's metrics.
    pub(super) fn daemon_metrics(&self) -> Option<String> {
        let stream = TcpStream::connect_timeout(&self.address, query::DEADLINE).ok()?;
        stream.set_read_timeout(Some(query::DEADLINE)).ok()?;
        let (_, text) = ask_on(&mut self.client.over(stream, "localhost"), "GET", "/metrics").ok()?;
        Some(text)
    }

    pub(super) fn log(&self, index: usize) -> PathBuf {
        self.dir.path().join(format!("{}.log", AGENTS[index].id))
    }

    pub(super) fn status_file(&self, index: usize) -> PathBuf {
        self.dir.path().join(DaemonDir::status_file(AGENTS[index].id))
    }

    /// Runs `work` in the network namespace of an agent.
    pub(super) fn in_namespace_of<T: Send>(&self, index: usize, work: impl FnOnce() -> T + Send) -> T {
        match self.network.filter(|_| AGENTS[index].remote) {
            Some(network) => network.in_remote_namespace(work),
            None => work(),
        }
    }

    /// The processes of each agent: they have its supervision tag and lead a process group.
    pub(super) fn processes(&self) -> HashMap<String, Vec<Process>> {
        let state = fs::canonicalize(self.dir.path().join("state")).unwrap_or_default();
        let mut found: HashMap<String, Vec<Process>> = HashMap::new();
        let entries = fs::read_dir("/proc").expect("/proc");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids {
            let Some(stat) = Stat::of(pid).ok().filter(|stat| !stat.zombie && stat.group == pid) else { continue };
            if let Some(id) = supervision_tag(pid, &state) {
                found.entry(id).or_default().push(Process { pid, start: stat.start });
            }
        }
        found
    }

    /// The process of one agent.
    pub(super) fn process(&self, index: usize) -> Option<Process> {
        self.processes().get(AGENTS[index].id).and_then(|all| all.first().copied())
    }
}

/// A process. The start time tells it from other processes with the same ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) start: u64,
}

impl Process {
    pub(super) fn is_alive(self) -> bool {
        Self::exists(self.pid, self.start)
    }

    /// Whether the process with this ID and start time is alive.
    pub(super) fn exists(pid: u32, start: u64) -> bool {
        Stat::of(pid).is_ok_and(|stat| !stat.zombie && stat.start == start)
    }
}

/// The agent ID in the supervision tag of a process, if a daemon with the work directory `state` started it.
fn supervision_tag(pid: u32, state: &Path) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|line| {
        let line = std::str::from_utf8(line.strip_prefix(b"OPS_AGENT_SUPERVISED_AS=")?).ok()?;
        let (id, directory) = line.split_once('@')?;
        (Path::new(directory) == state).then(|| id.to_owned())
    })
}
