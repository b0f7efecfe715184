//! Two network name spaces with a cable between them: the daemon in one, some of its agents in the other.

use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::support::find_program;

/// Where the daemon listens: an address of its own, there whatever becomes of the cable.
pub(super) const DAEMON: &str = "10.213.0.1";
const NEAR: &str = "10.213.1.1";
const FAR: &str = "10.213.1.2";

/// Where the kernel's name spaces have their names.
const NAMES: &str = "/run/netns";
const PREFIX: &str = "ops-agent-soak-";

/// A third of the packets; or, where the kernel cannot do that, what a line of 24 kbit/s has no room for.
const LOSSES: [&str; 2] = ["netem loss 33%", "tbf rate 24kbit burst 1600 limit 2000"];

/// Both name spaces. They are removed when this is dropped, and with them the cable.
pub(super) struct Network {
    near: String,
    far: String,
    /// What the kernel can lose some of the packets by, or why it cannot.
    pub(super) lossy: Result<&'static str, String>,
}

/// What can befall the way between agents and daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Cut {
    /// The cable is pulled at the daemon: whatever is sent is lost without a word.
    AtTheDaemon,
    /// The cable is pulled at the agents: they have no route any more.
    AtTheAgents,
    /// Requests arrive, answers do not.
    AnswersLost,
    /// A router says that there is no way.
    Unreachable,
    /// Some of the packets are lost.
    Loss,
}

impl Cut {
    pub(super) const ALWAYS: [Self; 4] = [Self::AtTheDaemon, Self::AtTheAgents, Self::AnswersLost, Self::Unreachable];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::AtTheDaemon => "network: cable pulled at the daemon's end",
            Self::AtTheAgents => "network: cable pulled at the agents' end",
            Self::AnswersLost => "network: answers lost, requests not",
            Self::Unreachable => "network: daemon unreachable",
            Self::Loss => "network: some of the packets lost",
        }
    }
}

impl Network {
    /// Makes them. `Err` says what this machine does not allow.
    pub(super) fn new() -> Result<Self, String> {
        if find_program("ip").is_none() || find_program("nsenter").is_none() {
            return Err("`ip` or `nsenter` is not installed".to_owned());
        }
        remove_those_of_the_dead();
        let name = |side: &str| format!("{PREFIX}{}-{side}", std::process::id());
        let mut network = Self { near: name("near"), far: name("far"), lossy: Ok(LOSSES[0]) };
        network.set_up()?;
        for loss in LOSSES {
            network.lossy = Ok(loss);
            let works = network.break_it(Cut::Loss);
            network.mend(Cut::Loss);
            match works {
                Ok(()) => return Ok(network),
                Err(why) => network.lossy = Err(why),
            }
        }
        Ok(network)
    }

    fn set_up(&self) -> Result<(), String> {
        let Self { near, far, .. } = self;
        run(&format!("ip netns add {near}"))?;
        run(&format!("ip netns add {far}"))?;
        run(&format!("ip -n {near} link add cable type veth peer name cable netns {far}"))?;
        run(&format!("ip -n {near} address add {DAEMON}/32 dev lo"))?;
        run(&format!("ip -n {near} address add {NEAR}/24 dev cable"))?;
        run(&format!("ip -n {far} address add {FAR}/24 dev cable"))?;
        for side in [near, far] {
            run(&format!("ip -n {side} link set lo up"))?;
            run(&format!("ip -n {side} link set cable up"))?;
        }
        run(&format!("ip -n {far} route add {DAEMON} via {NEAR}"))
    }

    /// Runs `work` on a thread of its own in the daemon's name space, and what it starts too.
    pub(super) fn near<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&path(&self.near), work)
    }

    /// The same among the agents that are far from the daemon.
    pub(super) fn far<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        inside(&path(&self.far), work)
    }

    /// The name space of the far agents as a file.
    pub(super) fn far_path(&self) -> PathBuf {
        path(&self.far)
    }

    pub(super) fn break_it(&self, cut: Cut) -> Result<(), String> {
        let Self { near, far, .. } = self;
        run(&match cut {
            Cut::AtTheDaemon => format!("ip -n {near} link set cable down"),
            Cut::AtTheAgents => format!("ip -n {far} link set cable down"),
            Cut::AnswersLost => format!("ip -n {near} route add blackhole {FAR}"),
            Cut::Unreachable => format!("ip -n {far} route replace unreachable {DAEMON}"),
            Cut::Loss => match &self.lossy {
                Ok(loss) => format!("tc -n {far} qdisc add dev cable root {loss}"),
                Err(why) => return Err(why.clone()),
            },
        })
    }

    /// The reverse. Mending what is whole does nothing.
    pub(super) fn mend(&self, cut: Cut) {
        let Self { near, far, .. } = self;
        let _ = match cut {
            Cut::AtTheDaemon => run(&format!("ip -n {near} link set cable up")),
            Cut::AtTheAgents => run(&format!("ip -n {far} link set cable up")).and_then(|()| self.route()),
            Cut::AnswersLost => run(&format!("ip -n {near} route del blackhole {FAR}")),
            Cut::Unreachable => {
                let _ = run(&format!("ip -n {far} route del unreachable {DAEMON}"));
                self.route()
            }
            Cut::Loss => run(&format!("tc -n {far} qdisc del dev cable root")),
        };
    }

    /// The far agents' way to the daemon, which goes when their end of the cable does.
    fn route(&self) -> Result<(), String> {
        run(&format!("ip -n {} route replace {DAEMON} via {NEAR}", self.far))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for side in [&self.near, &self.far] {
            let _ = run(&format!("ip netns del {side}"));
        }
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(NAMES).join(name)
}

/// A run that was killed could not remove its own.
fn remove_those_of_the_dead() {
    let names =
        std::fs::read_dir(NAMES).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for name in names {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = run(&format!("ip netns del {name}"));
        }
    }
}

fn inside<T: Send>(name_space: &Path, work: impl FnOnce() -> T + Send) -> T {
    let enter = || {
        let name_space = File::open(name_space).expect("a name space");
        move_into_link_name_space(name_space.as_fd(), Some(LinkNameSpaceType::Network)).expect("to enter it");
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
