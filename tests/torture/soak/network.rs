//! Two network namespaces with a veth link: the daemon in one, the remote agents in the other.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::find_program;

/// The daemon listens on an address of the loopback device, which exists independently of the link.
pub(super) const DAEMON_ADDRESS: &str = "10.213.0.1";
const LINK_DAEMON_END: &str = "10.213.1.1";
const LINK_REMOTE_END: &str = "10.213.1.2";

/// The directory of named network namespaces.
const NAMESPACES: &str = "/run/netns";
const PREFIX: &str = "ops-agent-soak-";

/// Loses a third of the packets. If the kernel cannot do that: loses the packets that exceed 24 kbit/s.
const LOSS_SETTINGS: [&str; 2] = ["netem loss 33%", "tbf rate 24kbit burst 1600 limit 2000"];

/// Both namespaces. They and the link are removed when this is dropped.
pub(super) struct Network {
    daemon: String,
    remote: String,
    /// The setting that loses some packets, or why the kernel has none.
    pub(super) loss: Result<&'static str, String>,
}

/// A fault of the network between remote agents and daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum NetworkFault {
    /// The daemon's end of the link is down: packets are lost silently.
    DaemonLinkDown,
    /// The agents' end of the link is down: they have no route.
    RemoteLinkDown,
    /// Requests arrive, answers do not.
    AnswersLost,
    /// A router reports that the daemon is unreachable.
    Unreachable,
    /// Some of the packets are lost.
    Loss,
}

impl NetworkFault {
    pub(super) const ALWAYS: [Self; 4] =
        [Self::DaemonLinkDown, Self::RemoteLinkDown, Self::AnswersLost, Self::Unreachable];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::DaemonLinkDown => "network: link down at the daemon's end",
            Self::RemoteLinkDown => "network: link down at the agents' end",
            Self::AnswersLost => "network: answers lost, requests delivered",
            Self::Unreachable => "network: daemon unreachable",
            Self::Loss => "network: some packets lost",
        }
    }
}

impl Network {
    /// Creates namespaces and link. `Err`: what this machine does not allow.
    pub(super) fn new() -> Result<Self, String> {
        if find_program("ip").is_none() || find_program("nsenter").is_none() {
            return Err("`ip` or `nsenter` is not installed".to_owned());
        }
        remove_stale_namespaces();
        let name = |side: &str| format!("{PREFIX}{}-{side}", std::process::id());
        let mut network = Self { daemon: name("daemon"), remote: name("remote"), loss: Ok(LOSS_SETTINGS[0]) };
        network.set_up()?;
        for loss in LOSS_SETTINGS {
            network.loss = Ok(loss);
            let result = network.inject(NetworkFault::Loss);
            network.clear(NetworkFault::Loss);
            match result {
                Ok(()) => return Ok(network),
                Err(why) => network.loss = Err(why),
            }
        }
        Ok(network)
    }

    fn set_up(&self) -> Result<(), String> {
        let Self { daemon, remote, .. } = self;
        run(&format!("ip netns add {daemon}"))?;
        run(&format!("ip netns add {remote}"))?;
        run(&format!("ip -n {daemon} link add link0 type veth peer name link0 netns {remote}"))?;
        run(&format!("ip -n {daemon} address add {DAEMON_ADDRESS}/32 dev lo"))?;
        run(&format!("ip -n {daemon} address add {LINK_DAEMON_END}/24 dev link0"))?;
        run(&format!("ip -n {remote} address add {LINK_REMOTE_END}/24 dev link0"))?;
        for side in [daemon, remote] {
            run(&format!("ip -n {side} link set lo up"))?;
            run(&format!("ip -n {side} link set link0 up"))?;
        }
        run(&format!("ip -n {remote} route add {DAEMON_ADDRESS} via {LINK_DAEMON_END}"))
    }

    /// Runs `work` on a new thread in the daemon's namespace. Threads and processes that it starts are there, too.
    pub(super) fn in_daemon_namespace<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        run_inside(&path(&self.daemon), work)
    }

    /// Runs `work` on a new thread in the namespace of the remote agents.
    pub(super) fn in_remote_namespace<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        run_inside(&path(&self.remote), work)
    }

    /// The file of the namespace of the remote agents.
    pub(super) fn remote_path(&self) -> PathBuf {
        path(&self.remote)
    }

    pub(super) fn inject(&self, cut: NetworkFault) -> Result<(), String> {
        let Self { daemon, remote, .. } = self;
        run(&match cut {
            NetworkFault::DaemonLinkDown => format!("ip -n {daemon} link set link0 down"),
            NetworkFault::RemoteLinkDown => format!("ip -n {remote} link set link0 down"),
            NetworkFault::AnswersLost => format!("ip -n {daemon} route add blackhole {LINK_REMOTE_END}"),
            NetworkFault::Unreachable => format!("ip -n {remote} route replace unreachable {DAEMON_ADDRESS}"),
            NetworkFault::Loss => match &self.loss {
                Ok(loss) => format!("tc -n {remote} qdisc add dev link0 root {loss}"),
                Err(why) => return Err(why.clone()),
            },
        })
    }

    /// Ends a fault. Without the fault, this does nothing.
    pub(super) fn clear(&self, cut: NetworkFault) {
        let Self { daemon, remote, .. } = self;
        let _ = match cut {
            NetworkFault::DaemonLinkDown => run(&format!("ip -n {daemon} link set link0 up")),
            NetworkFault::RemoteLinkDown => {
                run(&format!("ip -n {remote} link set link0 up")).and_then(|()| self.restore_route())
            }
            NetworkFault::AnswersLost => run(&format!("ip -n {daemon} route del blackhole {LINK_REMOTE_END}")),
            NetworkFault::Unreachable => {
                let _ = run(&format!("ip -n {remote} route del unreachable {DAEMON_ADDRESS}"));
                self.restore_route()
            }
            NetworkFault::Loss => run(&format!("tc -n {remote} qdisc del dev link0 root")),
        };
    }

    /// Restores the route of the remote agents, which the kernel removes when their end of the link goes down.
    fn restore_route(&self) -> Result<(), String> {
        run(&format!("ip -n {} route replace {DAEMON_ADDRESS} via {LINK_DAEMON_END}", self.remote))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for side in [&self.daemon, &self.remote] {
            let _ = run(&format!("ip netns del {side}"));
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(NAMESPACES).join(name)
}

/// Removes namespaces of earlier runs that were killed.
fn remove_stale_namespaces() {
    let names = std::fs::read_dir(NAMESPACES)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = run(&format!("ip netns del {name}"));
        }
    }
}

fn run_inside<T: Send>(namespace: &Path, work: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let namespace = File::open(namespace).expect("a namespace");
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("to enter it");
        work()
    };
    std::thread::scope(|scope| match scope.spawn(enter).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn run(line: &str) -> Result<(), String> {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    let output = output.map_err(|error| format!("`{line}`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("`{line}`: {}", String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or("it failed")))
}
