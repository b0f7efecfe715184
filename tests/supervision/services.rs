//! The checks that ask a service count failures in a row, and are judged alike.

use ops_agent::testing::daemon::checks::{CheckLimits, CheckResult, ExecCheckResult, HttpCheckResult, TcpCheckResult};
use ops_agent::testing::daemon::restart_guard::HoldReason;
use ops_protocol::views::{Check, CheckVerdict};

use super::fleet::{Fleet, SECOND, at, heartbeats_only};

type Result = fn() -> CheckResult;

/// A check of a service, and how its result says that it passes, fails and could not be tried.
struct Service {
    check: Check,
    limits: CheckLimits,
    passed: Result,
    failed: Result,
    not_tried: Result,
}

impl Service {
    /// One agent for which the check found this at these times, in seconds.
    fn fleet(&self, limits: &CheckLimits, found: &[(u64, Result)]) -> Fleet {
        let mut fleet = Fleet::start(1, limits);
        for (seconds, result) in found {
            fleet.pass(SECOND * u32::try_from(*seconds).unwrap());
            fleet.checked(*seconds, 0, result());
        }
        fleet
    }

    fn shown(&self, fleet: &Fleet, seconds: u64) -> (CheckVerdict, String) {
        let view = fleet.registry.view(at(seconds), "0").unwrap();
        let signal = view.signals.into_iter().find(|signal| signal.check == self.check).unwrap();
        (signal.verdict, signal.detail.unwrap_or_default())
    }
}

fn services() -> [Service; 3] {
    let limits = || CheckLimits { heartbeat_timeout: None, ..heartbeats_only() };
    [
        Service {
            check: Check::Http,
            limits: CheckLimits { http: true, ..limits() },
            passed: || CheckResult::Http(HttpCheckResult::Answered),
            failed: || CheckResult::Http(HttpCheckResult::Failed("why".to_owned())),
            not_tried: || CheckResult::Http(HttpCheckResult::NotTried("why".to_owned())),
        },
        Service {
            check: Check::Tcp,
            limits: CheckLimits { tcp: true, ..limits() },
            passed: || CheckResult::Tcp(TcpCheckResult::Accepted),
            failed: || CheckResult::Tcp(TcpCheckResult::Failed("why".to_owned())),
            not_tried: || CheckResult::Tcp(TcpCheckResult::NotTried("why".to_owned())),
        },
        Service {
            check: Check::Exec,
            limits: CheckLimits { exec: true, ..limits() },
            passed: || CheckResult::Exec(ExecCheckResult::Passed),
            failed: || CheckResult::Exec(ExecCheckResult::Failed("why".to_owned())),
            not_tried: || CheckResult::Exec(ExecCheckResult::NotTried("why".to_owned())),
        },
    ]
}

#[test]
fn a_service_is_bad_after_the_configured_failures_in_a_row() {
    for service in services() {
        let Service { passed, failed, not_tried, .. } = service;
        for failures in [1, 2, 5] {
            let limits = CheckLimits { http_failures: failures, ..service.limits.clone() };
            let all: Vec<_> = (1..=u64::from(failures)).map(|n| (n * 30, failed)).collect();
            let (last, before) = all.split_last().unwrap();
            let last_but_one = before.last().map_or(0, |(seconds, _)| *seconds);
            let fleet = service.fleet(&limits, before);
            assert_eq!(fleet.condemned[0], None, "{:?} of {failures}", service.check);
            if failures > 1 {
                let detail = format!("why, {} of {failures} times in a row", failures - 1);
                assert_eq!(service.shown(&fleet, last_but_one), (CheckVerdict::Unknown, detail));
            }
            let fleet = service.fleet(&limits, &all);
            assert_eq!(fleet.condemned[0], Some(at(last.0).monotonic), "{:?} of {failures}", service.check);
        }
        let twice = CheckLimits { http_failures: 2, ..service.limits.clone() };
        let interrupted = service.fleet(&twice, &[(30, failed), (60, passed), (90, failed)]);
        assert_eq!(interrupted.condemned[0], None, "not in a row");
        let own_fault = service.fleet(&twice, &[(30, failed), (60, not_tried), (90, not_tried)]);
        assert_eq!(own_fault.condemned[0], None);
        assert_eq!(service.shown(&own_fault, 90), (CheckVerdict::Unknown, "why".to_owned()));
        let resumed = service.fleet(&twice, &[(30, failed), (60, not_tried), (90, failed)]);
        assert_eq!(resumed.condemned[0], Some(SECOND * 90), "what the daemon could not try undoes no failure");
        let often = service.fleet(&twice, &[(30, failed), (31, failed), (32, failed)]);
        assert_eq!(often.condemned[0], None, "more checks do not make an agent fail faster");
    }
}

#[test]
fn an_agent_whose_only_liveness_check_is_bad_hangs() {
    for service in services() {
        let why = |limits: CheckLimits| {
            let limits = CheckLimits { http_failures: 1, ..limits };
            let mut fleet = service.fleet(&limits, &[(10, service.passed)]);
            fleet.heartbeat(30, 0, false);
            fleet.checked(30, 0, (service.failed)());
            assert_eq!(fleet.condemned[0], Some(SECOND * 30));
            let view = fleet.registry.view(at(30), "0").unwrap();
            assert_eq!(view.reason.unwrap().code, service.check.as_str());
            view.why
        };
        let alone = why(service.limits.clone());
        assert!(alone.contains("killed in 5 s"), "{alone}");
        let heartbeat_timeout = Some(SECOND * 90);
        let beside_heartbeats = why(CheckLimits { heartbeat_timeout, ..service.limits.clone() });
        assert!(beside_heartbeats.contains("killed in 30 s"), "{beside_heartbeats}");
    }
}

#[test]
fn a_service_that_has_failed_once_counts_for_a_mass_failure() {
    for service in services() {
        let hold_with = |failed_once: usize| {
            let mut fleet = Fleet::start(6, &service.limits);
            for seconds in [30, 60, 90] {
                fleet.checked(seconds, 0, (service.failed)());
                for n in 1..6 {
                    let fails = seconds == 90 && n <= failed_once;
                    fleet.checked(seconds, n, if fails { (service.failed)() } else { (service.passed)() });
                }
            }
            fleet.pass(SECOND * 91);
            (fleet.condemned[0].is_some(), fleet.held())
        };
        assert_eq!(hold_with(2), (true, None), "{:?}", service.check);
        assert_eq!(hold_with(3), (false, Some(HoldReason::MassFailure { bad: 4, of: 6 })), "{:?}", service.check);
    }
}
