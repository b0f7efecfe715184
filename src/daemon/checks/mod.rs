//! How the daemon judges an agent. Each check has one file with its I/O, its results and its judgement.
//!
//! The I/O has a [time limit](ScheduledCheck::time_limit) and decides nothing. The judgement is pure: a result and the time give a
//! [`CheckStatus`]. A failure of the daemon itself or of the host is `unknown` and never counts against the agent.
//!
//! A new check is a variant of [`Check`] with a file here, a limit in [`CheckLimits`], a field in [`CheckStates`] and
//! [`Evidence`], and, if the daemon has to run it, a variant of [`ScheduledCheck`] and [`CheckResult`]. The compiler names
//! every other place.

pub(crate) mod evidence;
pub(crate) mod exec;
pub(crate) mod explain;
pub(crate) mod heartbeat;
pub(crate) mod http;
pub(crate) mod limits;
mod name;
pub(crate) mod process;
pub(crate) mod resources;
mod service;
pub(crate) mod status;
pub(crate) mod status_file;
pub(crate) mod tcp;
pub(crate) mod trouble;

use std::time::Duration;

use super::processes::{ENDING, LAUNCH_TIMEOUT};
pub(crate) use ops_protocol::views::Check;

pub(crate) use evidence::Evidence;
pub(crate) use exec::ExecCheckResult;
pub(crate) use explain::explain;
pub(crate) use http::{HttpCheck, HttpCheckResult};
pub(crate) use limits::CheckLimits;
pub(crate) use resources::{SampleError, Usage};
use service::seconds;
pub(crate) use status::{CheckState, CheckStates, CheckStatus, Decision, Reason};
pub(crate) use status_file::{StatusFileCheck, StatusFileResult};
pub(crate) use tcp::{TcpCheck, TcpCheckResult};
pub(crate) use trouble::Trouble;

/// The time limit of a check that asks the host: its disk, or `/proc`.
pub const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// The checks that the event loop has to run. Process and heartbeats report by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScheduledCheck {
    /// The HTTP endpoint.
    Http,
    /// The TCP port.
    Tcp,
    /// The program.
    Exec,
    /// The status file.
    StatusFile,
    /// CPU, memory and open files.
    Resources,
}

/// What one scheduled check found.
#[derive(Debug, Clone, PartialEq)]
pub enum CheckResult {
    /// Of the HTTP endpoint.
    Http(HttpCheckResult),
    /// Of the TCP port.
    Tcp(TcpCheckResult),
    /// Of the program.
    Exec(ExecCheckResult),
    /// Of the status file.
    StatusFile(StatusFileResult),
    /// Of CPU, memory and open files.
    Resources(Result<Usage, SampleError>),
}

impl ScheduledCheck {
    const ALL: [Self; 5] = [Self::Http, Self::Tcp, Self::Exec, Self::StatusFile, Self::Resources];

    /// The checks that the limits turn on.
    pub(crate) fn configured(limits: &CheckLimits) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|check| match check {
            Self::Http => limits.http,
            Self::Tcp => limits.tcp,
            Self::Exec => limits.exec,
            Self::StatusFile => limits.state_max_age.is_some(),
            Self::Resources => limits.limits_resources(),
        })
    }

    /// How long it may take.
    pub(crate) fn time_limit(self, limits: &CheckLimits) -> Duration {
        match self {
            Self::Http | Self::Tcp => limits.http_timeout,
            // Its own limit counts from the moment at which its program runs.
            Self::Exec => LAUNCH_TIMEOUT * 2 + limits.http_timeout + ENDING,
            Self::StatusFile | Self::Resources => CHECK_TIMEOUT,
        }
    }

    /// The result of a check that exceeded its time limit. Only a silent service is the agent's fault: a disk and `/proc` are
    /// the host's.
    pub(crate) fn timed_out(self, limit: Duration) -> CheckResult {
        match self {
            Self::Http => CheckResult::Http(HttpCheckResult::late(limit)),
            Self::Tcp => CheckResult::Tcp(TcpCheckResult::late(limit)),
            Self::Exec => CheckResult::Exec(ExecCheckResult::late()),
            Self::StatusFile => CheckResult::StatusFile(StatusFileResult::NotRead(format!(
                "the disk has not answered within {}",
                seconds(limit)
            ))),
            Self::Resources => CheckResult::Resources(Err(SampleError::TimedOut)),
        }
    }
}

impl CheckResult {
    /// The check that found it.
    pub(crate) const fn check(&self) -> ScheduledCheck {
        match self {
            Self::Http(_) => ScheduledCheck::Http,
            Self::Tcp(_) => ScheduledCheck::Tcp,
            Self::Exec(_) => ScheduledCheck::Exec,
            Self::StatusFile(_) => ScheduledCheck::StatusFile,
            Self::Resources(_) => ScheduledCheck::Resources,
        }
    }
}
