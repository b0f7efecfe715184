//! Reconciliation: every heartbeat that was sent is accepted, refused or reported as lost.

use std::time::{Duration, SystemTime};

use super::fleet::{AGENTS, Transport};
use super::heartbeat_log::{HeartbeatEvent, HeartbeatKey, HeartbeatLog, HeartbeatRecord, LogEntry};
use super::run_state::{Counters, Interruption, RunState, Sample, lock};
use crate::report::Findings;

/// How much later than its cause a log line may be written: a stopped process writes after SIGCONT.
const TOLERANCE: Duration = Duration::from_secs(1);

const ACCOUNTED: &str = "every heartbeat sent is accepted, refused or reported as lost";
const COUNTERS: &str = "the counters in /metrics match the logs";

/// The totals of one agent.
#[derive(Default)]
struct Totals {
    sent: u64,
    delivered: u64,
    failed: u64,
    /// The part of `failed` that is due to a timeout.
    timed_out: u64,
    abandoned: u64,
    unfinished: u64,
    accepted: u64,
    refused: u64,
    unacknowledged: u64,
    /// Accepted more often than sent: the connection broke after the daemon had read it, and the agent sent it again.
    duplicates: u64,
    /// Delivered, as far as the agent knows without an acknowledgement, but not accepted.
    not_accepted: u64,
}

/// Checks all heartbeats and counters, and adds the totals to the report.
pub(super) fn reconcile(heartbeats: &HeartbeatLog, run_state: &RunState, findings: &mut Findings) {
    if let Some(line) = heartbeats.unexpected.first() {
        run_state.fail(ACCOUNTED, format!("{} unexpected log lines, the first: {line}", heartbeats.unexpected.len()));
    }
    let interruptions = lock(&run_state.interruptions).clone();
    let mut totals: Vec<Totals> = AGENTS.iter().map(|_| Totals::default()).collect();
    for (key, record) in &heartbeats.records {
        check_heartbeat(key, record, &interruptions, run_state);
        totals[key.index].add(record);
    }
    check_unfinished(heartbeats, run_state);
    for (index, totals) in totals.iter().enumerate() {
        check_unacknowledged(index, totals, &interruptions, run_state);
    }
    let samples = lock(&run_state.samples);
    samples.iter().for_each(|sample| check_counters(heartbeats, sample, run_state));
    findings.tried(samples.len() as u64, "samples of /metrics compared with the logs before and after the request");
    findings.tried(heartbeats.records.len() as u64, "heartbeats followed from sender to receiver");
    findings.table(table(&totals, &interruptions));
}

/// Checks one heartbeat.
fn check_heartbeat(key: &HeartbeatKey, record: &HeartbeatRecord, interruptions: &[Interruption], run_state: &RunState) {
    let fail = |how: &str| run_state.fail(ACCOUNTED, format!("{how}: {} {key:?} {record:?}", AGENTS[key.index].id));
    let HeartbeatRecord { sent, delivered, failed, abandoned, accepted, refused, .. } = *record;
    if sent == 0 {
        fail("received, but never sent");
    }
    if delivered + failed + abandoned > sent {
        fail("more results than sent");
    }
    let explained = || is_explained(key.index, record, interruptions);
    // Bare lines are not acknowledged. The daemon may refuse one, or end before it reads it.
    let bare = AGENTS[key.index].transport == Transport::Lines;
    if delivered > accepted && (!bare || delivered > accepted + refused && !explained()) {
        fail("delivered, but not accepted");
    }
    if accepted + refused > sent && !explained() {
        fail("received more often than sent, without a cause");
    }
    // An abandoned or unfinished attempt or a timeout is a cause.
    if record.unacknowledged() > abandoned + record.unfinished() + record.timed_out && !explained() {
        fail("accepted, but not known as delivered, without a cause");
    }
}

fn is_explained(index: usize, record: &HeartbeatRecord, interruptions: &[Interruption]) -> bool {
    let from = record.started.unwrap_or(SystemTime::UNIX_EPOCH);
    let to = record.ended.unwrap_or(from) + TOLERANCE;
    let overlaps = |it: &&Interruption| it.from <= to && from <= it.to + TOLERANCE;
    interruptions.iter().filter(|it| it.scope.includes(index)).any(|it| overlaps(&it))
}

/// A process that was killed has at most one unfinished heartbeat, and other processes have none.
fn check_unfinished(heartbeats: &HeartbeatLog, run_state: &RunState) {
    let mut unfinished = std::collections::HashMap::<(usize, u64), u64>::new();
    for (key, record) in heartbeats.records.iter().filter(|(_, record)| record.unfinished() > 0) {
        *unfinished.entry((key.index, key.incarnation)).or_default() += record.unfinished();
    }
    for ((index, incarnation), count) in unfinished {
        let allowed = u64::from(!heartbeats.clean_exits.contains(&(index, incarnation)));
        if count > allowed {
            let id = AGENTS[index].id;
            run_state.fail(
                ACCOUNTED,
                format!(
                    "{id}, incarnation {incarnation}: {count} heartbeats have no result, at most {allowed} expected"
                ),
            );
        }
    }
}

/// At most one heartbeat is unacknowledged for each interruption and for each timeout.
fn check_unacknowledged(index: usize, totals: &Totals, interruptions: &[Interruption], run_state: &RunState) {
    let allowed = count_interruptions(index, interruptions) + totals.timed_out;
    if totals.unacknowledged > allowed {
        run_state.fail(
            ACCOUNTED,
            format!("{}: {} unacknowledged, at most {allowed} expected", AGENTS[index].id, totals.unacknowledged),
        );
    }
}

fn count_interruptions(index: usize, interruptions: &[Interruption]) -> u64 {
    interruptions.iter().filter(|it| it.scope.includes(index)).count() as u64
}

/// The counter must lie between the counts in the log before and after the sample. If these are equal, it must match
/// exactly.
fn check_counters(heartbeats: &HeartbeatLog, sample: &Sample, run_state: &RunState) {
    let none = Vec::new();
    let between = |entries: &[LogEntry], what: &str, counted: u64, fits: &dyn Fn(&LogEntry) -> bool| {
        let until = |end: u64| entries.iter().filter(|entry| entry.end <= end && fits(entry)).count() as u64;
        let (low, high) = (until(sample.before), until(sample.after));
        if !(low..=high).contains(&counted) {
            run_state.fail(COUNTERS, format!("{what}: {counted}, but the log has {low} to {high}"));
        }
    };
    match &sample.counters {
        Counters::Agent { index, incarnation, delivered, failed, abandoned } => {
            let entries = heartbeats.agents.get(*index).unwrap_or(&none);
            for (event, counted) in [
                (HeartbeatEvent::Delivered, delivered),
                (HeartbeatEvent::Failed, failed),
                (HeartbeatEvent::Abandoned, abandoned),
            ] {
                let name = format!("{} {event:?} in incarnation {incarnation}", AGENTS[*index].id);
                between(entries, &name, *counted, &|entry| entry.incarnation == *incarnation && entry.event == event);
            }
        }
        Counters::Daemon { run, by_agent, accepted, refused } => {
            let entries = heartbeats.daemons.get(*run).unwrap_or(&none);
            let name = |what: &str| format!("run {run} of the daemon, {what}");
            between(entries, &name("accepted"), *accepted, &|entry| entry.event == HeartbeatEvent::Accepted);
            between(entries, &name("refused"), *refused, &|entry| entry.event == HeartbeatEvent::Refused);
            for (index, counted) in by_agent {
                let fits = |entry: &LogEntry| entry.event == HeartbeatEvent::Accepted && entry.index == *index;
                between(entries, &name(AGENTS[*index].id), *counted, &fits);
            }
        }
    }
}

impl Totals {
    fn add(&mut self, record: &HeartbeatRecord) {
        self.sent += record.sent;
        self.delivered += record.delivered;
        self.failed += record.failed;
        self.timed_out += record.timed_out;
        self.abandoned += record.abandoned;
        self.unfinished += record.unfinished();
        self.accepted += record.accepted;
        self.refused += record.refused;
        self.unacknowledged += record.unacknowledged();
        self.duplicates += record.accepted.saturating_sub(record.delivered + record.unacknowledged());
        self.not_accepted += record.delivered.saturating_sub(record.accepted);
    }

    fn row(&self, name: &str, transport: &str, interruptions: u64) -> String {
        let Self {
            sent,
            delivered,
            failed,
            abandoned,
            unfinished,
            accepted,
            refused,
            unacknowledged,
            duplicates,
            not_accepted,
            ..
        } = self;
        format!(
            "| {name} | {transport} | {sent} | {delivered} | {failed} | {abandoned} | {unfinished} | {accepted} | {refused} | \
             {unacknowledged} | {duplicates} | {not_accepted} | {interruptions} |\n"
        )
    }
}

fn table(totals: &[Totals], interruptions: &[Interruption]) -> String {
    let mut text = "Sent = delivered + failed + abandoned + unfinished. Unfinished: at most one for each process that was killed. \
        Accepted = delivered + unacknowledged + duplicates - not accepted. Unacknowledged: accepted, but the acknowledgement got \
        lost, so the agent does not report it as delivered; at most one for each interruption and for each timeout. Not accepted: \
        bare lines only, which have no acknowledgement: refused, or the daemon ended before it read them. The equations hold for \
        each heartbeat, not only for the totals.\n\n\
        | agent | transport | sent | delivered | failed | abandoned | unfinished | accepted | refused | unacknowledged | duplicates | not accepted | interruptions |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut all = Totals::default();
    for (index, one) in totals.iter().enumerate() {
        let agent = &AGENTS[index];
        let name = if agent.remote { format!("{} (remote)", agent.id) } else { agent.id.to_owned() };
        text.push_str(&one.row(&name, agent.transport.as_str(), count_interruptions(index, interruptions)));
        all.sent += one.sent;
        all.delivered += one.delivered;
        all.failed += one.failed;
        all.abandoned += one.abandoned;
        all.unfinished += one.unfinished;
        all.accepted += one.accepted;
        all.refused += one.refused;
        all.unacknowledged += one.unacknowledged;
        all.duplicates += one.duplicates;
        all.not_accepted += one.not_accepted;
    }
    text.push_str(&all.row("all", "", interruptions.len() as u64));
    text
}
