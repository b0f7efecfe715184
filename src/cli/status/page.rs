//! The summary of `agent status`.

use std::fmt::{self, Write as _};
use std::path::Path;
use std::time::SystemTime;

use anstyle::{AnsiColor, Style};

use ops_protocol::Elapsed;
use ops_protocol::Timestamp;
use ops_protocol::printable::on_one_line as line;
use ops_protocol::status_file::{HeartbeatEntry, StatusFile};
use ops_protocol::verdict::{Level, StatusFinding, StatusVerdict};
use ops_runtime::observe::Observation;

/// The number of transitions in the summary. The other outputs contain all of them.
const TRANSITIONS: usize = 8;

/// The summary, with terminal styles.
pub(super) fn page(path: &Path, observation: &Observation, now: SystemTime) -> String {
    let mut page = String::new();
    let written = match &observation.file {
        Ok(file) => write_page(&mut page, file, &observation.verdict, now),
        Err(_) => writeln!(page, "{}\n  file       {}", headline(&observation.verdict), path.display()),
    };
    debug_assert!(written.is_ok(), "text can always be appended to");
    page
}

/// State and faults come first, the details after them.
fn write_page(page: &mut String, file: &StatusFile, verdict: &StatusVerdict, now: SystemTime) -> fmt::Result {
    writeln!(page, "{}", headline_of(file, verdict, now))?;
    for fault in &file.faults {
        let (name, detail) = (fault.name.as_str(), line(&fault.detail));
        row(page, "fault", format_args!("{name} for {}: {detail}", ago(fault.since, now)))?;
    }
    if file.faults.is_empty() {
        row(page, "cause", line(&file.cause))?;
    }
    heartbeat(page, &file.heartbeat, now)?;
    match file.http {
        Some(address) => {
            let scheme = if file.https { "https" } else { "http" };
            row(page, "http", format_args!("{scheme}://{address}"))?;
        }
        None => row(page, "http", "not listening")?,
    }
    let (pid, incarnation, version) = (file.pid, file.incarnation, line(&file.version));
    let up = ago(file.started_at, now);
    row(page, "process", format_args!("pid {pid}, started {up} ago, incarnation {incarnation}, version {version}"))?;
    let refreshed = ago(file.updated_at, now);
    row(page, "file", format_args!("refreshed {refreshed} ago, sequence {}", file.sequence))?;
    if let Some(previous) = file.previous {
        let (ended, state, pid) = (previous.ended.as_str(), previous.state, previous.pid);
        row(page, "last run", format_args!("ended {ended}, pid {pid} was {state:?}"))?;
    }
    for (index, transition) in file.history.iter().rev().take(TRANSITIONS).enumerate() {
        let label = if index == 0 { "history" } else { "" };
        let when = format!("{} ago", ago(transition.at, now));
        let edge = format!("{:?} → {:?}", transition.from, transition.to);
        row(page, label, format_args!("{when:<16} {edge:<20} {}", line(&transition.cause)))?;
    }
    Ok(())
}

fn headline_of(file: &StatusFile, verdict: &StatusVerdict, now: SystemTime) -> String {
    match verdict.finding {
        StatusFinding::Healthy | StatusFinding::NotReady | StatusFinding::Degraded => {
            let style = style(verdict.finding.level()).bold();
            let (id, state) = (line(&file.agent_id), file.state);
            format!("{id}: {style}{state:?}{style:#} for {} (since {})", ago(file.since, now), file.since)
        }
        // The state in the file is no longer true, or never was.
        StatusFinding::OtherBoot
        | StatusFinding::Stranger
        | StatusFinding::Stopped
        | StatusFinding::Dead
        | StatusFinding::Recycled
        | StatusFinding::OtherClock
        | StatusFinding::Stale
        | StatusFinding::Expired
        | StatusFinding::Missing
        | StatusFinding::Unreadable
        | StatusFinding::Corrupt => headline(verdict),
    }
}

fn headline(verdict: &StatusVerdict) -> String {
    let level = verdict.finding.level();
    let style = style(level).bold();
    format!("{style}{level}{style:#} - {}", verdict.message)
}

fn heartbeat(page: &mut String, heartbeat: &HeartbeatEntry, now: SystemTime) -> fmt::Result {
    let HeartbeatEntry { last_success, sent, failed, consecutive_failures, endpoint } = heartbeat;
    let Some(endpoint) = endpoint else {
        return row(page, "heartbeat", "standalone: no daemon is configured");
    };
    let last = last_success.map_or("never acknowledged".to_owned(), |at| format!("acknowledged {} ago", ago(at, now)));
    let consecutive =
        if *consecutive_failures > 0 { format!(" ({consecutive_failures} in a row)") } else { String::new() };
    row(
        page,
        "heartbeat",
        format_args!("{last}, {sent} delivered, {failed} failed{consecutive}, to {}", line(endpoint)),
    )
}

fn row(page: &mut String, label: &str, value: impl fmt::Display) -> fmt::Result {
    let dim = Style::new().dimmed();
    writeln!(page, "  {dim}{label:<10}{dim:#} {value}")
}

const fn style(level: Level) -> Style {
    let color = match level {
        Level::Ok => AnsiColor::Green,
        Level::Warning => AnsiColor::Yellow,
        Level::Critical => AnsiColor::Red,
        Level::Unknown => AnsiColor::Magenta,
    };
    color.on_default()
}

/// The age of `at` by the wall clock, for people. It is zero if the clock was set back.
fn ago(at: Timestamp, now: SystemTime) -> Elapsed {
    Elapsed(now.duration_since(at.0).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use ops_protocol::verdict::{Liveness, ReaderContext, judge};
    use statemachine::lifecycle::{Event, FaultName, State};

    const START: u64 = 1_764_928_800;

    fn at(second: u64) -> Timestamp {
        Timestamp(SystemTime::UNIX_EPOCH + Duration::from_secs(START + second))
    }

    fn degraded() -> StatusFile {
        let transition = |second, from, to, event, cause: &str| ops_protocol::status_file::TransitionEntry {
            sequence: second,
            at: at(second),
            monotonic_ns: 0,
            from,
            to,
            event,
            cause: cause.to_owned(),
        };
        StatusFile {
            schema: 1,
            agent_id: "agent-001".to_owned(),
            version: "0.1.0".to_owned(),
            pid: 4242,
            boot_id: "boot".to_owned(),
            process_start: 5,
            pid_namespace: 9,
            incarnation: 7,
            sequence: 61,
            state: State::Degraded,
            since: at(60),
            cause: "fault heartbeat: connection\nrefused".to_owned(),
            faults: vec![ops_protocol::status_file::FaultEntry {
                name: FaultName::Heartbeat,
                since: at(60),
                detail: "connection\n\u{1b}[31mrefused".to_owned(),
            }],
            started_at: at(0),
            updated_at: at(400),
            updated_boottime_ns: 0,
            valid_until: at(430),
            http: Some(([127, 0, 0, 1], 8081).into()),
            https: false,
            heartbeat: HeartbeatEntry {
                last_success: Some(at(30)),
                sent: 2,
                failed: 9,
                consecutive_failures: 9,
                endpoint: Some("http://127.0.0.1:8080/heartbeat".to_owned()),
            },
            previous: Some(ops_protocol::status_file::Previous {
                ended: ops_protocol::status_file::Ended::Unclean,
                state: State::Running,
                pid: 4111,
            }),
            history: vec![
                transition(1, State::Starting, State::Running, Event::Proved, "every required part works"),
                transition(
                    60,
                    State::Running,
                    State::Degraded,
                    Event::FaultRaised,
                    "fault heartbeat: connection refused",
                ),
            ],
        }
    }

    fn plain(file: &StatusFile, writer: Liveness) -> String {
        let context = ReaderContext {
            writer,
            pid_namespace: 9,
            boot_id: Some("boot".to_owned()),
            expected: None,
            wall: at(403).0,
            boottime: Duration::from_secs(3),
            max_age: Duration::from_secs(90),
            ignores_own_limit: false,
        };
        let verdict = judge(Ok(file), &context);
        let styled =
            page(Path::new("state/agent-001.ron"), &Observation { file: Ok(file.clone()), verdict }, at(403).0);
        anstream::adapter::strip_str(&styled).to_string()
    }

    #[test]
    fn state_and_faults_come_first_and_columns_are_aligned() {
        insta::assert_snapshot!("degraded", plain(&degraded(), Liveness::Alive { start: 5 }));
    }

    #[test]
    fn a_dead_agent_is_shown_as_dead_on_the_first_line() {
        insta::assert_snapshot!("dead", plain(&degraded(), Liveness::Gone));
    }

    #[test]
    fn a_standalone_agent_is_shown_as_standalone() {
        let file = StatusFile {
            state: State::Running,
            cause: "every required part works".to_owned(),
            faults: Vec::new(),
            heartbeat: HeartbeatEntry::default(),
            previous: None,
            ..degraded()
        };
        insta::assert_snapshot!("standalone", plain(&file, Liveness::Alive { start: 5 }));
    }
}
