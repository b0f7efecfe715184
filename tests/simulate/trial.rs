//! A simulated agent, and its evidence.

use std::cell::RefCell;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use ops_agent::simulate::{EvidenceEvent, EvidenceLine};
use ops_protocol::status_file::StatusFile;
use rustix::process::Signal;

use crate::support::agent::{Agent, AgentDir, wait_until};

/// The limit for reads from the agent. A passing test never waits that long.
const DEADLINE: Duration = Duration::from_secs(60);

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\r\n";

/// A directory with a configuration and a plan, and the agent that runs there.
pub(super) struct Trial {
    pub(super) directory: AgentDir,
    pub(super) agent: RefCell<Agent>,
}

impl Trial {
    /// Starts an agent with these steps, one per line.
    pub(super) fn start(steps: &str) -> Self {
        Self::configured("state: { refresh: 1s }\n", steps)
    }

    /// The same with more configuration.
    pub(super) fn configured(extra: &str, steps: &str) -> Self {
        let directory = AgentDir::new(extra);
        let steps: String = steps.lines().map(|step| format!("- {}\n", step.trim())).collect();
        fs::write(directory.path().join("plan.yaml"), format!("evidence: evidence.jsonl\nsteps:\n{steps}")).unwrap();
        let agent = RefCell::new(Agent::spawn(command(&directory)));
        Self { directory, agent }
    }

    /// Starts the agent again, once the present one has ended.
    pub(super) fn start_again(&self) {
        self.agent.borrow_mut().wait();
        *self.agent.borrow_mut() = Agent::spawn(command(&self.directory));
    }

    /// Every line of the evidence.
    pub(super) fn evidence(&self) -> Vec<EvidenceLine> {
        let text = fs::read_to_string(self.directory.path().join("evidence.jsonl")).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// Waits for this event of the life with this number, and returns its line.
    pub(super) fn wait_in(&self, life: u64, event: &EvidenceEvent) -> EvidenceLine {
        let find = || self.evidence().into_iter().find(|line| line.life == life && line.event == *event);
        wait_until(&format!("there is {event:?}"), || find().is_some());
        find().unwrap()
    }

    /// The same in the first life.
    pub(super) fn wait_for(&self, event: &EvidenceEvent) -> EvidenceLine {
        self.wait_in(1, event)
    }

    pub(super) fn ready(&self) {
        self.wait_for(&EvidenceEvent::Ready);
    }

    /// Waits until a step has begun.
    pub(super) fn begun(&self, step: usize, act: &str) -> EvidenceLine {
        self.wait_for(&EvidenceEvent::Begin { step, act: act.to_owned() })
    }

    /// Waits until a step has ended.
    pub(super) fn over(&self, step: usize, act: &str) -> EvidenceLine {
        self.wait_for(&EvidenceEvent::End { step, act: act.to_owned() })
    }

    /// The process that a step has started.
    pub(super) fn child(&self) -> u32 {
        let find = || {
            self.evidence()
                .into_iter()
                .find_map(|line| if let EvidenceEvent::Child { child, .. } = line.event { Some(child) } else { None })
        };
        wait_until("there is a child", || find().is_some());
        find().unwrap()
    }

    pub(super) fn pid(&self) -> u32 {
        self.agent.borrow().pid()
    }

    pub(super) fn signal(&self, signal: Signal) {
        self.agent.borrow().signal(signal);
    }

    /// Sends SIGTERM, and waits until the evidence has it.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
        self.wait_for(&EvidenceEvent::Signal { signal: "SIGTERM".to_owned() });
    }

    /// How the process ended.
    pub(super) fn end(&self) -> std::process::ExitStatus {
        self.agent.borrow_mut().wait()
    }

    /// The status file.
    pub(super) fn file(&self) -> PathBuf {
        self.directory.status_file()
    }

    /// The content of the status file, if it is valid now.
    pub(super) fn status(&self) -> Option<StatusFile> {
        StatusFile::decode(&fs::read(self.file()).ok()?).ok()
    }

    /// Waits until the valid status file is so, and returns it.
    pub(super) fn wait_for_status(&self, what: &str, is_so: impl Fn(&StatusFile) -> bool) -> StatusFile {
        wait_until(what, || self.status().is_some_and(|status| is_so(&status)));
        self.status().unwrap()
    }

    pub(super) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.agent.borrow_mut().port()))
    }

    /// Whether `/health` is 200 now.
    pub(super) fn is_healthy(&self) -> bool {
        let exchange = || {
            let mut stream = TcpStream::connect(self.address())?;
            stream.set_read_timeout(Some(DEADLINE))?;
            stream.write_all(REQUEST)?;
            let mut status = [0; 15];
            stream.read_exact(&mut status).map(|()| status == *b"HTTP/1.1 200 OK")
        };
        exchange().unwrap_or(false)
    }

    /// What comes back until the agent closes the connection.
    pub(super) fn answer(&self) -> String {
        rest(ask(self.address()))
    }
}

/// A connection with a request for `/health` on it.
pub(super) fn ask(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(REQUEST).unwrap();
    stream
}

/// Whether the peer has neither sent anything nor closed the connection.
pub(super) fn is_silent(mut stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    stream.read(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// What comes until the peer closes the connection.
pub(super) fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn command(directory: &AgentDir) -> Command {
    directory.command(&["run", "--config", "agent.yaml", "--simulate", "plan.yaml"])
}
