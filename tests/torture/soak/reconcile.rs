//! Whether the sums come out: every heartbeat sent is received, refused or reported lost.

use std::time::{Duration, SystemTime};

use super::fleet::{MEMBERS, Way};
use super::heartbeat_log::{Entry, Ledger, Name, Story, Told};
use super::run_state::{Counted, Diary, Interruption, Sample, lock};
use crate::report::Findings;

/// How far apart a cause and what is written of it may be: a stopped process writes when it goes on.
const SLACK: Duration = Duration::from_secs(1);

const SUMS: &str = "every heartbeat sent is received, refused or reported lost";
const COUNTERS: &str = "what /metrics counts is what happened";

/// The sums of one agent.
#[derive(Default)]
struct Sums {
    sent: u64,
    delivered: u64,
    failed: u64,
    /// Of those that failed.
    timed_out: u64,
    abandoned: u64,
    cut: u64,
    accepted: u64,
    refused: u64,
    in_doubt: u64,
    /// Accepted once more than sent: a connection broke after the daemon had read, and the next one took it again.
    twice: u64,
    /// Delivered, as far as that can be known without an answer, and not accepted.
    unheeded: u64,
}

/// Checks everything that was written down, and writes the sums into the report.
pub(super) fn reconcile(ledger: &Ledger, diary: &Diary, findings: &mut Findings) {
    if let Some(odd) = ledger.odd.first() {
        diary.lost(SUMS, format!("{} lines that should not be there, the first: {odd}", ledger.odd.len()));
    }
    let interruptions = lock(&diary.interruptions).clone();
    let mut sums: Vec<Sums> = MEMBERS.iter().map(|_| Sums::default()).collect();
    for (name, story) in &ledger.stories {
        judge(name, story, &interruptions, diary);
        sums[name.who].add(story);
    }
    one_cut_per_death(ledger, diary);
    for (who, sums) in sums.iter().enumerate() {
        within_the_slack(who, sums, &interruptions, diary);
    }
    let samples = lock(&diary.samples);
    samples.iter().for_each(|sample| compare(ledger, sample, diary));
    findings.tried(samples.len() as u64, "a /metrics compared with the logs up to just before and just after it");
    findings.tried(ledger.stories.len() as u64, "a heartbeat followed from its sender to its receiver");
    findings.table(table(&sums, &interruptions));
}

/// One heartbeat.
fn judge(name: &Name, story: &Story, interruptions: &[Interruption], diary: &Diary) {
    let lost = |how: &str| diary.lost(SUMS, format!("{how}: {} {name:?} {story:?}", MEMBERS[name.who].id));
    let Story { sent, delivered, failed, abandoned, accepted, refused, .. } = *story;
    if sent == 0 {
        lost("received, and never sent");
    }
    if delivered + failed + abandoned > sent {
        lost("ended more often than it was begun");
    }
    let explained = || is_explained(name.who, story, interruptions);
    // Bare lines are not acknowledged: one may be refused, or never be read by a daemon that died.
    let bare = MEMBERS[name.who].way == Way::Lines;
    if delivered > accepted && (!bare || delivered > accepted + refused && !explained()) {
        lost("acknowledged, and never accepted");
    }
    if accepted + refused > sent && !explained() {
        lost("received more often than sent, without a cause");
    }
    // That it was abandoned, cut off or not answered in time is the cause.
    if story.in_doubt() > abandoned + story.cut() + story.timed_out && !explained() {
        lost("received, not acknowledged, without a cause");
    }
}

fn is_explained(who: usize, story: &Story, interruptions: &[Interruption]) -> bool {
    let from = story.begun.unwrap_or(SystemTime::UNIX_EPOCH);
    let to = story.ended.unwrap_or(from) + SLACK;
    let overlaps = |it: &&Interruption| it.from <= to && from <= it.to + SLACK;
    interruptions.iter().filter(|it| it.whom.concerns(who)).any(|it| overlaps(&it))
}

/// One that was never heard the end of is the last of a process that was killed.
fn one_cut_per_death(ledger: &Ledger, diary: &Diary) {
    let mut cuts = std::collections::HashMap::<(usize, u64), u64>::new();
    for (name, story) in ledger.stories.iter().filter(|(_, story)| story.cut() > 0) {
        *cuts.entry((name.who, name.incarnation)).or_default() += story.cut();
    }
    for ((who, incarnation), count) in cuts {
        let allowed = u64::from(!ledger.orderly.contains(&(who, incarnation)));
        if count > allowed {
            let id = MEMBERS[who].id;
            diary.lost(SUMS, format!("{id}, incarnation {incarnation}: {count} have no end, {allowed} may have none"));
        }
    }
}

/// In doubt is at most one per interruption of the agent's way, and per heartbeat that was not answered in time.
fn within_the_slack(who: usize, sums: &Sums, interruptions: &[Interruption], diary: &Diary) {
    let allowed = slack(who, interruptions) + sums.timed_out;
    if sums.in_doubt > allowed {
        diary.lost(SUMS, format!("{}: {} in doubt, {allowed} may be", MEMBERS[who].id, sums.in_doubt));
    }
}

fn slack(who: usize, interruptions: &[Interruption]) -> u64 {
    interruptions.iter().filter(|it| it.whom.concerns(who)).count() as u64
}

/// What was counted lies between what the log said before and after. Where that is the same, so is the counter.
fn compare(ledger: &Ledger, sample: &Sample, diary: &Diary) {
    let none = Vec::new();
    let between = |entries: &[Entry], what: &str, counted: u64, fits: &dyn Fn(&Entry) -> bool| {
        let until = |end: u64| entries.iter().filter(|entry| entry.at <= end && fits(entry)).count() as u64;
        let (low, high) = (until(sample.before), until(sample.after));
        if !(low..=high).contains(&counted) {
            diary.lost(COUNTERS, format!("{what}: {counted}, and the log {low} to {high}"));
        }
    };
    match &sample.of {
        Counted::Agent { who, incarnation, delivered, failed, abandoned } => {
            let entries = ledger.agents.get(*who).unwrap_or(&none);
            for (what, counted) in [(Told::Delivered, delivered), (Told::Failed, failed), (Told::Abandoned, abandoned)]
            {
                let name = format!("{} {what:?} in incarnation {incarnation}", MEMBERS[*who].id);
                between(entries, &name, *counted, &|entry| entry.incarnation == *incarnation && entry.what == what);
            }
        }
        Counted::Daemon { life, by_agent, accepted, refused } => {
            let entries = ledger.daemons.get(*life).unwrap_or(&none);
            let name = |what: &str| format!("the daemon's life {life}, {what}");
            between(entries, &name("accepted"), *accepted, &|entry| entry.what == Told::Accepted);
            between(entries, &name("refused"), *refused, &|entry| entry.what == Told::Refused);
            for (who, counted) in by_agent {
                let fits = |entry: &Entry| entry.what == Told::Accepted && entry.who == *who;
                between(entries, &name(MEMBERS[*who].id), *counted, &fits);
            }
        }
    }
}

impl Sums {
    fn add(&mut self, story: &Story) {
        self.sent += story.sent;
        self.delivered += story.delivered;
        self.failed += story.failed;
        self.timed_out += story.timed_out;
        self.abandoned += story.abandoned;
        self.cut += story.cut();
        self.accepted += story.accepted;
        self.refused += story.refused;
        self.in_doubt += story.in_doubt();
        self.twice += story.accepted.saturating_sub(story.delivered + story.in_doubt());
        self.unheeded += story.delivered.saturating_sub(story.accepted);
    }

    fn row(&self, name: &str, way: &str, interruptions: u64) -> String {
        let Self { sent, delivered, failed, abandoned, cut, accepted, refused, in_doubt, twice, unheeded, .. } = self;
        format!(
            "| {name} | {way} | {sent} | {delivered} | {failed} | {abandoned} | {cut} | {accepted} | {refused} | {in_doubt} | \
             {twice} | {unheeded} | {interruptions} |\n"
        )
    }
}

fn table(sums: &[Sums], interruptions: &[Interruption]) -> String {
    let mut text = "Sent = delivered + failed + abandoned + cut off, of which cut off: at most one for each process that was killed. \
        Accepted = delivered + in doubt + twice - unheeded. In doubt: accepted, but the acknowledgement got lost, so that its sender \
        reports it as not delivered; at most one for each interruption of the agent's way and for each answer that did not come in \
        time. Unheeded: bare lines only, which are not acknowledged: refused, or the daemon died before it read them. Each heartbeat \
        was followed by name, so that this holds for each, not only for the sums.\n\n\
        | agent | way | sent | delivered | failed | abandoned | cut off | accepted | refused | in doubt | twice | unheeded | interruptions |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    let mut all = Sums::default();
    for (who, one) in sums.iter().enumerate() {
        let member = &MEMBERS[who];
        let name = if member.far { format!("{} (over the cable)", member.id) } else { member.id.to_owned() };
        text.push_str(&one.row(&name, member.way.as_str(), slack(who, interruptions)));
        all.sent += one.sent;
        all.delivered += one.delivered;
        all.failed += one.failed;
        all.abandoned += one.abandoned;
        all.cut += one.cut;
        all.accepted += one.accepted;
        all.refused += one.refused;
        all.in_doubt += one.in_doubt;
        all.twice += one.twice;
        all.unheeded += one.unheeded;
    }
    text.push_str(&all.row("all", "", interruptions.len() as u64));
    text
}
