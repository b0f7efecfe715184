//! Who takes part: the daemon and its agents, their configurations, and what can be seen of them from outside.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ops_runtime::observe::Stat;

use super::network::{DAEMON, Network};
use crate::support::daemon::DaemonDir;
use crate::support::http::free_port;
use crate::support::programs;

/// The longest that the daemon waits before it starts an agent again.
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// From one heartbeat to the next, until a reload makes it another.
pub(super) const INTERVAL: Duration = Duration::from_millis(150);

/// How an agent reaches its daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Http,
    Socket,
    /// The socket, without answers.
    Lines,
    /// HTTP, and the socket where that fails.
    Both,
}

impl Way {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Socket => "JSON-RPC",
            Self::Lines => "bare lines",
            Self::Both => "HTTP or JSON-RPC",
        }
    }
}

/// What an agent has to bear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lot {
    /// Nobody touches it: whatever befalls the daemon, the network and the others, it is never restarted.
    Calm,
    Wild,
    /// The configuration names it now and then.
    Guest,
}

/// One agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct AgentEntry {
    pub(super) id: &'static str,
    pub(super) way: Way,
    pub(super) lot: Lot,
    /// In the other name space, if there is one.
    pub(super) far: bool,
}

const fn member(id: &'static str, way: Way, lot: Lot, far: bool) -> AgentEntry {
    AgentEntry { id, way, lot, far }
}

pub(super) const MEMBERS: [AgentEntry; 9] = [
    member("calm-socket", Way::Socket, Lot::Calm, false),
    member("calm-http", Way::Http, Lot::Calm, false),
    member("calm-far", Way::Http, Lot::Calm, true),
    member("wild-socket", Way::Socket, Lot::Wild, false),
    member("wild-http", Way::Http, Lot::Wild, false),
    member("wild-lines", Way::Lines, Lot::Wild, false),
    member("wild-both", Way::Both, Lot::Wild, false),
    member("wild-far", Way::Http, Lot::Wild, true),
    member("guest", Way::Socket, Lot::Guest, false),
];

/// The directory, the addresses, and who is configured how.
pub(super) struct Fleet<'a> {
    pub(super) site: DaemonDir,
    pub(super) network: Option<&'a Network>,
    pub(super) address: SocketAddr,
    /// Of the one agent whose HTTP endpoint the daemon checks.
    checked: u16,
}

impl<'a> Fleet<'a> {
    /// Everything that is needed for the first start.
    pub(super) fn new(network: Option<&'a Network>) -> Self {
        let host = if network.is_some() { DAEMON } else { "127.0.0.1" };
        let address = SocketAddr::new(host.parse().expect("an address"), free_port());
        let fleet = Self { site: DaemonDir::new(&[]), network, address, checked: free_port() };
        fs::write(fleet.site.path().join("token"), "nobody-asks-for-it\n").expect("a token");
        fleet.configure_daemon(true);
        for who in 0..MEMBERS.len() {
            fleet.configure_agent(who, INTERVAL);
        }
        fleet
    }

    /// Those that may be disturbed, by their place in [`MEMBERS`].
    pub(super) fn wild() -> Vec<usize> {
        (0..MEMBERS.len()).filter(|&who| MEMBERS[who].lot == Lot::Wild).collect()
    }

    /// Writes the daemon's configuration, with or without the guest.
    pub(super) fn configure_daemon(&self, with_guest: bool) {
        let mut yaml = format!(
            "daemon: {{ work_dir: state, http: {{ host: {}, port: {}, token_file: token }}, log: {{ level: debug }} }}\n\
             agent_defaults:\n  health_check: {{ interval: 500ms, cpu_threshold: 0, memory_threshold: 0, start_grace: 10s }}\n  \
             restart: {{ max_retries: 1000000, backoff_base: 300ms, backoff_max: {}s }}\nagents:\n",
            self.address.ip(),
            self.address.port(),
            BACKOFF_MAX.as_secs()
        );
        for member in MEMBERS.iter().filter(|member| with_guest || member.lot != Lot::Guest) {
            yaml.push_str(&self.entry(member));
        }
        self.replace("daemon.yaml", &yaml);
    }

    fn entry(&self, member: &AgentEntry) -> String {
        let id = member.id;
        let file = format!("state_file: {}", DaemonDir::status_file(id));
        let checks = match member.lot {
            Lot::Calm if id == "calm-http" => {
                let livez = format!("http_endpoint: \"http://127.0.0.1:{}/livez\"", self.checked);
                format!("heartbeat_timeout: 20s, {file}, state_max_age: 20s, {livez}")
            }
            Lot::Calm => format!("heartbeat_timeout: 20s, {file}, state_max_age: 20s"),
            Lot::Wild if id == "wild-socket" => format!("heartbeat_timeout: 20s, {file}, state_max_age: 4s"),
            Lot::Wild | Lot::Guest => "heartbeat_timeout: 4s".to_owned(),
        };
        let config = self.site.path().join(format!("{id}.yaml"));
        let binary = programs::agent();
        let start = match self.network.filter(|_| member.far) {
            // It becomes the agent: the process stays the same.
            Some(network) => format!(
                "binary_path: /usr/bin/nsenter, args: [\"--net={}\", \"{binary}\", -config, \"{}\"]",
                network.far_path().display(),
                config.display()
            ),
            None => format!("binary_path: \"{binary}\", config_file: \"{}\"", config.display()),
        };
        format!("  - {{ id: {id}, {start}, health_check: {{ {checks} }} }}\n")
    }

    /// Writes an agent's configuration.
    pub(super) fn configure_agent(&self, who: usize, interval: Duration) {
        let member = &MEMBERS[who];
        let (url, socket) = (format!("http://{}/heartbeat", self.address), self.site.socket());
        let way = match member.way {
            Way::Http => format!("url: \"{url}\""),
            Way::Socket => format!("url: \"unix://{}\"", socket.display()),
            Way::Lines => format!("socket_path: \"{}\"", socket.display()),
            Way::Both => format!("url: \"{url}\", socket_path: \"{}\", framing: jsonrpc", socket.display()),
        };
        let port = if member.id == "calm-http" { self.checked } else { 0 };
        let refresh = if member.lot == Lot::Calm { "5s" } else { "1s" };
        let yaml = format!(
            "agent_id: {}\nhttp: {{ port: {port} }}\nlog: {{ level: debug, file: \"{}\" }}\n\
             heartbeat: {{ {way}, interval: {}ms, timeout: 3s }}\nstate: {{ refresh: {refresh} }}\n",
            member.id,
            self.log(who).display(),
            interval.as_millis()
        );
        self.replace(&format!("{}.yaml", member.id), &yaml);
    }

    /// Writes a file so that whoever reads it sees the old one or the new one.
    pub(super) fn replace(&self, name: &str, text: &str) {
        let path = self.site.path().join(name);
        let draft = path.with_extension("draft");
        fs::write(&draft, text).and_then(|()| fs::rename(&draft, &path)).expect("to write a configuration");
    }

    pub(super) fn log(&self, who: usize) -> PathBuf {
        self.site.path().join(format!("{}.log", MEMBERS[who].id))
    }

    pub(super) fn status_file(&self, who: usize) -> PathBuf {
        self.site.path().join(DaemonDir::status_file(MEMBERS[who].id))
    }

    /// Does something where an agent can be reached.
    pub(super) fn beside<T: Send>(&self, who: usize, work: impl FnOnce() -> T + Send) -> T {
        match self.network.filter(|_| MEMBERS[who].far) {
            Some(network) => network.far(work),
            None => work(),
        }
    }

    /// The processes that bear the mark of one of the agents and lead a group: the daemon's own, as it sees it.
    pub(super) fn processes(&self) -> HashMap<String, Vec<Process>> {
        let state = fs::canonicalize(self.site.path().join("state")).unwrap_or_default();
        let mut found: HashMap<String, Vec<Process>> = HashMap::new();
        let entries = fs::read_dir("/proc").expect("/proc");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids {
            let Some(stat) = Stat::of(pid).ok().filter(|stat| !stat.zombie && stat.group == pid) else { continue };
            if let Some(id) = marked(pid, &state) {
                found.entry(id).or_default().push(Process { pid, start: stat.start });
            }
        }
        found
    }

    /// The process of one agent.
    pub(super) fn process(&self, who: usize) -> Option<Process> {
        self.processes().get(MEMBERS[who].id).and_then(|all| all.first().copied())
    }
}

/// One process among all that ever have this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) start: u64,
}

impl Process {
    pub(super) fn lives(self) -> bool {
        Self::has(self.pid, self.start)
    }

    /// Whether the process with this number that was started then still lives.
    pub(super) fn has(pid: u32, start: u64) -> bool {
        Stat::of(pid).is_ok_and(|stat| !stat.zombie && stat.start == start)
    }
}

/// Whose mark it bears, if it is one of the daemon's that works in `state`.
fn marked(pid: u32, state: &Path) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    environment.split(|byte| *byte == 0).find_map(|line| {
        let line = std::str::from_utf8(line.strip_prefix(b"OPS_AGENT_SUPERVISED_AS=")?).ok()?;
        let (id, place) = line.split_once('@')?;
        (Path::new(place) == state).then(|| id.to_owned())
    })
}
