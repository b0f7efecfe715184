//! The check of a service: of an HTTP endpoint, of a TCP port, or by a program. It takes the place of heartbeats, so it alone shows
//! that the agent hangs.

use ops_agent::testing::daemon::checks::{CheckLimits, CheckResult, ExecCheckResult, HttpCheckResult, TcpCheckResult};
use statemachine::supervision::Identity;

use super::state::{AGENT, State};
use super::types::{Defect, Pair, Service};

impl Service {
    /// The limits with this check and without heartbeats.
    pub(super) fn limits(self, limits: CheckLimits) -> CheckLimits {
        let (http, tcp, exec) = (self == Self::Http, self == Self::Tcp, self == Self::Exec);
        CheckLimits { heartbeat_timeout: None, http, tcp, exec, ..limits }
    }

    fn result(self, works: bool) -> CheckResult {
        let why = || "does not answer within 5 s".to_owned();
        match (self, works) {
            (Self::Http, true) => CheckResult::Http(HttpCheckResult::Answered),
            (Self::Http, false) => CheckResult::Http(HttpCheckResult::Failed(why())),
            (Self::Tcp, true) => CheckResult::Tcp(TcpCheckResult::Accepted),
            (Self::Tcp, false) => CheckResult::Tcp(TcpCheckResult::Failed(why())),
            (Self::Exec, true) => CheckResult::Exec(ExecCheckResult::Passed),
            (Self::Exec, false) => CheckResult::Exec(ExecCheckResult::Failed(why())),
        }
    }
}

impl State {
    /// A check that is due begins and ends at this moment. It passes while the process runs.
    pub(super) fn check_service(&mut self, model: &Pair, process: Identity) {
        let Some(service) = model.service else { return };
        let works = self.processes.iter().any(|other| other.identity == process && other.is_running());
        let result = service.result(works || model.defect == Defect::PassesEveryCheck);
        self.decide(model, |registry, now| registry.on_check_result(now, AGENT, process, now.monotonic, result));
    }
}
