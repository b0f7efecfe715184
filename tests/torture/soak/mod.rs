//! Agents and a daemon for as long as the run allows, with kills, stops, reloads, restarts and a network that comes and goes.
//!
//! `SOAK_SECONDS` makes it as long as one likes. Everything that is random comes from one seed, `SOAK_SEED`: what is done, to
//! whom and in which order. When it takes effect is up to the machine.

mod daemon;
mod disturb;
mod fleet;
mod heartbeat_log;
mod network;
mod plan;
pub(crate) mod query;
mod reconcile;
mod reload;
mod run_state;
mod watch;

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use ops_protocol::status_file::Ended;
use ops_runtime::observe::read_status;
use rustix::process::Signal;
use serde_json::json;

use self::disturb::Hand;
use self::fleet::{Fleet, Lot, MEMBERS};
use self::heartbeat_log::{Ledger, Told};
use self::network::{Cut, Network};
use self::plan::Plan;
use self::query::{ProcessUsage, call};
use self::run_state::{Counted, Diary, lock};
use crate::Effort;
use crate::report::Findings;
use crate::support::agent::DEADLINE;
use crate::support::daemon::signal;

/// What start, settling and end take of the time.
const AROUND: Duration = Duration::from_secs(6);

/// For how long nothing is done before memory and descriptors are looked at.
const DUST: Duration = Duration::from_secs(2);

/// How much more memory and how many more descriptors one may have in the end: a pool's thread, a kept connection.
const MORE_RESIDENT: u64 = 2 << 20;
const MORE_DESCRIPTORS: u64 = 5;

const SETTLES: &str = "once nothing is done to them, all agents run and are well";
const GROWS: &str = "memory and descriptors do not grow";
const LEAVES: &str = "an orderly end leaves no process, and status files that are right";

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let seed = number("SOAK_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    let length = Duration::from_secs(number("SOAK_SECONDS").unwrap_or(effort.pick(25, 60)));
    println!("    SOAK_SEED={seed} SOAK_SECONDS={}", length.as_secs());
    findings.note(format!(
        "`SOAK_SEED={seed}` for {} s; the same seed does the same things in the same order",
        length.as_secs()
    ));
    match Network::new() {
        Ok(network) => {
            if let Err(why) = &network.lossy {
                findings.skip(format!("lose some of the packets: {why}; all or none, in four ways, was possible"));
            }
            network.near(|| play(seed, length, Some(&network), findings));
        }
        Err(why) => {
            findings.skip(format!("lose the network between name spaces: {why}; all agents were on loopback"));
            play(seed, length, None, findings);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text:?}")))
}

fn play(seed: u64, length: Duration, network: Option<&Network>, findings: &mut Findings) {
    let begun = Instant::now();
    let mut cuts = network.map_or_else(Vec::new, |_| Cut::ALWAYS.to_vec());
    cuts.extend(network.filter(|network| network.lossy.is_ok()).map(|_| Cut::Loss));
    let (fleet, diary) = (Fleet::new(network), Diary::default());
    let mut hand = Hand::new(&fleet, &diary);
    thread::scope(|scope| {
        // Whatever breaks off in here, those who watch have to end for it to be told.
        let _over = Over(&diary);
        settle(&fleet, &diary);
        thread::sleep(DUST);
        let before = usage(&fleet, &hand);
        scope.spawn(|| watch::watch(&fleet, &diary, false));
        if let Some(network) = network {
            let (fleet, diary) = (&fleet, &diary);
            scope.spawn(move || network.far(|| watch::watch(fleet, diary, true)));
        }
        hand.disturb(&mut Plan::new(seed, cuts), begun + length.saturating_sub(AROUND));
        hand.calm_down();
        settle(&fleet, &diary);
        thread::sleep(DUST);
        compare(&before, &usage(&fleet, &hand), &diary, findings);
    });
    audit(&fleet, &diary);
    let ledger = finish(&fleet, &diary, &mut hand);
    reconcile::reconcile(&ledger, &diary, findings);
    report(&ledger, &diary, findings);
    if !diary.losses().is_empty() {
        keep(&fleet, &diary, findings);
    }
}

/// Ends the watch when dropped.
struct Over<'a>(&'a Diary);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
    }
}

/// Waits until all agents run and are well, and nobody is owed.
fn settle(fleet: &Fleet<'_>, diary: &Diary) {
    let until = Instant::now() + DEADLINE;
    loop {
        let unwell: Vec<String> = (0..MEMBERS.len()).filter_map(|who| complaint(fleet, who)).collect();
        if unwell.is_empty() && lock(&diary.owed).is_empty() {
            return;
        }
        if Instant::now() > until {
            return diary.lost(SETTLES, format!("{}; {} are owed", unwell.join("; "), lock(&diary.owed).len()));
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// What is wrong with an agent, as the daemon sees it and as it sees itself.
fn complaint(fleet: &Fleet<'_>, who: usize) -> Option<String> {
    let id = MEMBERS[who].id;
    let Some(agent) = call(&fleet.site.socket(), "agent", &json!({ "agent_id": id })) else {
        return Some(format!("the daemon says nothing of {id}"));
    };
    if agent["state"] != "running" || agent["heartbeats"].as_u64() == Some(0) {
        return Some(format!("{id} is {}: {}", agent["state"], agent["why"]));
    }
    match read_status(&fleet.status_file(who)) {
        Ok(file) => file.faults.first().map(|fault| format!("{id} says {}: {}", fault.name.as_str(), fault.detail)),
        Err(error) => Some(format!("{id}: {error}")),
    }
}

/// Of the daemon and of each agent.
fn usage(fleet: &Fleet<'_>, hand: &Hand<'_>) -> Vec<(&'static str, Option<ProcessUsage>)> {
    let agents = (0..MEMBERS.len())
        .map(|who| (MEMBERS[who].id, fleet.process(who).and_then(|process| ProcessUsage::of(process.pid))));
    std::iter::once(("daemon", ProcessUsage::of(hand.daemon.pid()))).chain(agents).collect()
}

fn compare(
    before: &[(&'static str, Option<ProcessUsage>)],
    after: &[(&'static str, Option<ProcessUsage>)],
    diary: &Diary,
    findings: &mut Findings,
) {
    // Its lives are short: what one of them had grown by would be gone with it.
    let daemon = *lock(&diary.most);
    let after = after.iter().copied().chain([("daemon, at any time", Some(ProcessUsage { descriptors: 0, ..daemon }))]);
    let before = before.iter().chain(before.first());
    let mut most = (0, 0);
    for ((_, before), (name, after)) in before.zip(after) {
        let (Some(before), Some(after)) = (before, after) else {
            diary.lost(GROWS, format!("{name} cannot be looked at"));
            continue;
        };
        let resident = after.resident.saturating_sub(before.resident);
        let descriptors = after.descriptors.saturating_sub(before.descriptors);
        if resident > MORE_RESIDENT || descriptors > MORE_DESCRIPTORS {
            diary.lost(GROWS, format!("{name} had {before:?} and has {after:?}"));
        }
        most = (most.0.max(resident), most.1.max(descriptors));
    }
    findings.note(format!(
        "memory grew by {} KiB at most, that of the daemon at any time included; open descriptors by {}, those of the daemon were \
         {} at most",
        most.0 / 1024,
        most.1,
        daemon.descriptors
    ));
}

/// With all agents standing still, the daemon's counters are what its log says, to the last one.
fn audit(fleet: &Fleet<'_>, diary: &Diary) {
    let all = fleet.processes();
    let tell = |number| all.values().flatten().for_each(|process| signal(process.pid, number));
    tell(Signal::STOP);
    let until = Instant::now() + DEADLINE;
    let exact = || watch::sample_daemon(fleet, diary).is_some_and(|sample| sample.before == sample.after);
    while !exact() && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
    }
    tell(Signal::CONT);
}

/// Ends everything in order, and reads all that was written.
fn finish(fleet: &Fleet<'_>, diary: &Diary, hand: &mut Hand<'_>) -> Ledger {
    diary.attend(false);
    hand.daemon.signal(Signal::INT);
    let status = hand.daemon.wait();
    if status.and_then(|status| status.code()) != Some(0) {
        diary.lost(LEAVES, format!("SIGINT: the daemon ended with {status:?}"));
    }
    let survivors = fleet.site.survivors();
    if !survivors.is_empty() {
        diary.lost(LEAVES, format!("{survivors:?} still live"));
    }
    let life = *lock(&diary.life);
    let ledger = Ledger::read(fleet, life);
    for (who, member) in MEMBERS.iter().enumerate() {
        let Ok(file) = read_status(&fleet.status_file(who)) else {
            diary.lost(LEAVES, format!("{} has no status file", member.id));
            continue;
        };
        if file.ended() != Ended::Clean {
            diary.lost(LEAVES, format!("{} ended {:?}, in {:?}: {}", member.id, file.ended(), file.state, file.cause));
        }
        let told = |what: Told| {
            let entries = ledger.agents[who].iter();
            entries.filter(|entry| entry.incarnation == file.incarnation && entry.what == what).count() as u64
        };
        let (log, said) = ((told(Told::Delivered), told(Told::Failed)), (file.heartbeat.sent, file.heartbeat.failed));
        if log != said {
            diary.lost(LEAVES, format!("{}: (sent, failed) is {said:?} in its file and {log:?} in its log", member.id));
        }
    }
    ledger
}

fn report(ledger: &Ledger, diary: &Diary, findings: &mut Findings) {
    for (what, times) in diary.counts() {
        findings.tried(times, what);
    }
    let (count, longest) = diary.waits();
    findings.note(format!(
        "{count} killed agents were back, the slowest after {:.1} s of the daemon's time",
        longest.as_secs_f64()
    ));
    findings.note(format!("{} lives of the daemon, {} adoptions", ledger.daemons.len(), ledger.adopted));
    let calm = MEMBERS.iter().filter(|member| member.lot == Lot::Calm).count();
    findings.note(format!("{calm} agents that nobody touched, each the same process throughout"));
    let of_agents = |sample: &&run_state::Sample| matches!(sample.of, Counted::Agent { .. });
    let samples = lock(&diary.samples);
    let agents = samples.iter().filter(of_agents).count();
    findings.note(format!(
        "{agents} readings of an agent's /metrics and {} of the daemon's agree with the logs",
        samples.len() - agents
    ));
    if agents == 0 || samples.len() == agents {
        findings.fail("nobody's /metrics could be compared with anything");
    }
    diary.losses().into_iter().for_each(|loss| findings.fail(loss));
}

/// The logs and what was done, for who wants to know how it came to a loss.
fn keep(fleet: &Fleet<'_>, diary: &Diary, findings: &mut Findings) {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("soak");
    let logs = fs::read_dir(fleet.site.path()).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let copy = || -> io::Result<()> {
        fs::create_dir_all(&place)?;
        for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
            fs::copy(&log, place.join(log.file_name().unwrap_or_default()))?;
        }
        fs::write(place.join("acts.txt"), diary.notes())
    };
    match copy() {
        Ok(()) => findings.note("the logs, and what was done when, are in `target/tmp/soak`"),
        Err(error) => findings.skip(format!("keep the logs: {error}")),
    }
}
