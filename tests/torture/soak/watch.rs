//! What must hold at every instant, looked at again and again while everything else happens.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use ops_protocol::status_file::{ReadError, StatusFile};
use ops_runtime::observe::read_status;
use serde_json::Value;
use statemachine::lifecycle::{FaultName, State};

use super::daemon::log;
use super::fleet::{Fleet, Lot, MEMBERS, Process};
use super::query::{ProcessUsage, ask, length, metric};
use super::run_state::{Counted, Diary, Owed, Sample, lock};

/// From one look to the next.
const PACE: Duration = Duration::from_millis(200);

const ONE: &str = "at most one process per agent";
const CALM: &str = "an undisturbed agent is never restarted";
const PARSES: &str = "the status file always parses, checksum included";
const GROWS: &str = "incarnation and sequence never go back";
const AHEAD: &str = "the API is never ahead of the status file";
const CODE: &str = "/health is 200 in Running, and only there";
const BACK: &str = "a killed agent is back in time";

/// Looks at processes and the daemon, and at the agents that are in this name space.
pub(super) fn watch(fleet: &Fleet<'_>, diary: &Diary, far: bool) {
    let mut seen: HashMap<usize, (u64, u64)> = HashMap::new();
    let mut calm: HashMap<usize, Process> = HashMap::new();
    let mut last = Instant::now();
    for round in 0_usize.. {
        if diary.is_over() {
            return;
        }
        let begun = Instant::now();
        if !far {
            let processes = fleet.processes();
            count_processes(diary, &processes);
            look_for_the_calm(diary, &processes, &mut calm);
            settle_debts(fleet, diary, &processes, begun.duration_since(last));
            sample_daemon(fleet, diary);
            let usage = ProcessUsage::of(diary.daemon.load(Ordering::SeqCst)).unwrap_or_default();
            let most = lock(&diary.most).most(usage);
            *lock(&diary.most) = most;
            diary.count("look at all processes");
        }
        last = begun;
        for (who, member) in MEMBERS.iter().enumerate() {
            if far == (member.far && fleet.network.is_some()) {
                look_at(fleet, diary, who, &mut seen, (round + who) % 2 == 0);
            }
        }
        std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
    }
}

/// Two of an agent's processes were seen one after the other. They were there together if the first one still is.
fn count_processes(diary: &Diary, processes: &HashMap<String, Vec<Process>>) {
    for (id, all) in processes.iter().filter(|(_, all)| all.len() > 1) {
        let both: Vec<&Process> = all.iter().filter(|process| process.lives()).collect();
        if both.len() > 1 && both.iter().all(|process| process.lives()) {
            diary.lost(ONE, format!("{id} is there as {both:?}"));
        }
    }
}

fn look_for_the_calm(diary: &Diary, processes: &HashMap<String, Vec<Process>>, calm: &mut HashMap<usize, Process>) {
    for (who, member) in MEMBERS.iter().enumerate().filter(|(_, member)| member.lot == Lot::Calm) {
        let Some(&process) = processes.get(member.id).and_then(|all| all.first()) else {
            if calm.contains_key(&who) {
                diary.lost(CALM, format!("{} is gone", member.id));
            }
            continue;
        };
        let first = *calm.entry(who).or_insert(process);
        if first != process {
            diary.lost(CALM, format!("{} was {first:?} and is {process:?}", member.id));
            calm.insert(who, process);
        }
    }
}

/// Who was killed has to be back, as another process that says of itself that it works, within the time that the daemon was
/// there to see to it.
fn settle_debts(fleet: &Fleet<'_>, diary: &Diary, processes: &HashMap<String, Vec<Process>>, passed: Duration) {
    let attended = diary.is_attended();
    lock(&diary.owed).retain_mut(|Owed { who, dead, left, waited }| {
        let member = &MEMBERS[*who];
        let is_back = |process: &Process| {
            let file = read_status(&fleet.status_file(*who)).ok();
            *process != *dead && file.is_some_and(|file| file.pid == process.pid && file.state.beats())
        };
        if processes.get(member.id).is_some_and(|all| all.iter().any(is_back)) {
            diary.back_after(*waited);
            return false;
        }
        if attended {
            *waited += passed;
            *left = left.saturating_sub(passed);
        }
        if left.is_zero() {
            diary.lost(
                BACK,
                format!("{} is not back {:.1} s after {dead:?} was killed", member.id, waited.as_secs_f64()),
            );
        }
        !left.is_zero()
    });
}

/// One agent: its file, and with it what its API says.
fn look_at(fleet: &Fleet<'_>, diary: &Diary, who: usize, seen: &mut HashMap<usize, (u64, u64)>, ask_too: bool) {
    let Some(file) = read(fleet, diary, who, seen) else { return };
    diary.count("look at a status file");
    let Some(address) = file.http.filter(|_| ask_too && file.state != State::Stopped) else { return };
    let sequence = sample_agent(fleet, diary, who, &file, address);
    let health = ask(address, "GET", "/health");
    let health = health.and_then(|(status, body)| Some((status, serde_json::from_str::<Value>(&body).ok()?)));
    let Some(after) = read(fleet, diary, who, seen) else { return };
    let stands = |file: &StatusFile| file.faults.iter().any(|fault| fault.name == FaultName::StatusFile);
    if after.pid != file.pid || stands(&file) || stands(&after) {
        return;
    }
    if let Some(sequence) = sequence.filter(|sequence| *sequence > after.sequence) {
        diary.lost(AHEAD, format!("{}: /metrics at {sequence}, the file at {}", MEMBERS[who].id, after.sequence));
    }
    if let Some((status, health)) = health.filter(|(_, health)| health["agent_id"] == MEMBERS[who].id) {
        diary.count("compare an API with the status file");
        if (status == 200) != (health["state"] == State::Running.as_str()) {
            diary.lost(CODE, format!("{} answers {status} to /health in {}", MEMBERS[who].id, health["state"]));
        }
        let blames = |fault: &Value| fault["name"] == FaultName::StatusFile.as_str();
        let blamed = health["faults"].as_array().is_some_and(|faults| faults.iter().any(blames));
        if blamed {
            diary.count("see an API that says that the disk does not answer");
        } else if !tells_of(&after, &health) {
            let (state, since) = (&health["state"], &health["since"]);
            diary.lost(
                AHEAD,
                format!("{}: /health says {state} since {since}, the file knows nothing of it", MEMBERS[who].id),
            );
        }
    }
}

fn read(fleet: &Fleet<'_>, diary: &Diary, who: usize, seen: &mut HashMap<usize, (u64, u64)>) -> Option<StatusFile> {
    let id = MEMBERS[who].id;
    let file = match read_status(&fleet.status_file(who)) {
        Ok(file) => file,
        Err(ReadError::Missing) if !seen.contains_key(&who) => return None,
        Err(error) => {
            diary.lost(PARSES, format!("{id}: {error:?}"));
            return None;
        }
    };
    let now = (file.incarnation, file.sequence);
    let before = seen.insert(who, now).unwrap_or(now);
    if now.0 < before.0 || now.1 < before.1 {
        diary.lost(GROWS, format!("{id}: {now:?} after {before:?}"));
    }
    Some(file)
}

/// Whether a file that was read later knows of the state that an API has shown.
fn tells_of(file: &StatusFile, health: &Value) -> bool {
    let (state, since) = (health["state"].as_str().unwrap_or_default(), health["since"].as_str().unwrap_or_default());
    let is = |of: State, at: String| of.as_str() == state && at == since;
    state == State::Starting.as_str()
        || is(file.state, file.since.to_string())
        || file.history.iter().any(|moved| is(moved.to, moved.at.to_string()))
}

/// An agent's counters. Gives the sequence that its API shows.
fn sample_agent(fleet: &Fleet<'_>, diary: &Diary, who: usize, file: &StatusFile, address: SocketAddr) -> Option<u64> {
    let log = fleet.log(who);
    let before = length(&log);
    let (_, text) = ask(address, "GET", "/metrics")?;
    let after = length(&log);
    // Somebody else may have got the port meanwhile.
    let incarnation = metric(&text, "ops_agent_incarnation", &[]);
    let pid = file.pid;
    if incarnation != file.incarnation || !Process::has(pid, file.process_start) {
        return None;
    }
    let tried = |result: &str| metric(&text, "ops_agent_heartbeats_total", &[&format!("result=\"{result}\"")]);
    let (delivered, failed, abandoned) = (tried("success"), tried("failure"), tried("abandoned"));
    let of = Counted::Agent { who, incarnation, delivered, failed, abandoned };
    lock(&diary.samples).push(Sample { of, before, after });
    // Without the disk it may be ahead of it, and says so.
    let blamed = metric(&text, "ops_agent_fault", &["fault=\"status_file\""]) > 0;
    Some(metric(&text, "ops_agent_status_sequence", &[])).filter(|_| !blamed)
}

/// The daemon's counters.
pub(super) fn sample_daemon(fleet: &Fleet<'_>, diary: &Diary) -> Option<Sample> {
    let life = *lock(&diary.life);
    let path = log(fleet, life);
    let before = length(&path);
    let (_, text) = ask(fleet.address, "GET", "/metrics").filter(|_| diary.is_attended())?;
    let after = length(&path);
    if life != *lock(&diary.life) {
        return None;
    }
    let heard = |result: &str| metric(&text, "ops_daemon_heartbeats_total", &[&format!("result=\"{result}\"")]);
    // What is forgotten with the guest is not there any more.
    let kept = MEMBERS.iter().enumerate().filter(|(_, member)| member.lot != Lot::Guest);
    let by_agent = kept.map(|(who, member)| {
        (who, metric(&text, "ops_daemon_agent_heartbeats_total", &[&format!("agent_id=\"{}\"", member.id)]))
    });
    let of =
        Counted::Daemon { life, by_agent: by_agent.collect(), accepted: heard("accepted"), refused: heard("refused") };
    let sample = Sample { of, before, after };
    lock(&diary.samples).push(sample.clone());
    Some(sample)
}
