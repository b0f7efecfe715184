//! Random trees of processes under a daemon, while members, main processes and the daemon are killed.
//!
//! A watcher looks at all processes all the time, and tells them apart by their programs alone. `TREES_SEED` determines the
//! programs, the disturbances and their order.

mod programs;
mod site;
mod watcher;

use std::time::{Duration, Instant};

use fastrand::Rng;
use rustix::process::Signal;

use self::site::{Site, is_hidden_from_the_next_daemon};
use crate::Effort;
use crate::report::Findings;
use crate::support::daemon::signal;

/// The variable that repeats a run.
const SEED: &str = "TREES_SEED";

/// The time in which the last stop has to end: 30 s until SIGKILL, doubled for a busy machine.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A disturbance.
#[derive(Debug, Clone, Copy)]
enum Disturbance {
    KillMember,
    KillMain,
    /// The main process and about half of the others, at once.
    KillHalf,
    /// The main processes of two agents at once.
    KillTwoMains,
    /// SIGSTOP for one process.
    Freeze,
    Stop,
    Restart,
    /// SIGKILL for the daemon, and maybe for processes of an agent before the next daemon starts.
    KillDaemon,
    EndDaemon,
}

const DISTURBANCES: [Disturbance; 9] = [
    Disturbance::KillMember,
    Disturbance::KillMain,
    Disturbance::KillHalf,
    Disturbance::KillTwoMains,
    Disturbance::Freeze,
    Disturbance::Stop,
    Disturbance::Restart,
    Disturbance::KillDaemon,
    Disturbance::EndDaemon,
];

pub(crate) fn run(effort: Effort, findings: &mut Findings) {
    let seed = std::env::var(SEED).ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("    {SEED}={seed}");
    findings.note(format!(
        "`{SEED}={seed}`; the same seed gives the same trees and the same disturbances in the same order"
    ));
    let mut rng = Rng::with_seed(seed);
    let (agents, length) = effort.pick((5, Duration::from_secs(20)), (8, Duration::from_secs(180)));
    let mut site = Site::start(&mut rng, agents, findings);
    let until = Instant::now() + length;
    let mut disturbed = 0;
    // Each kind once, then any.
    let mut order: Vec<Disturbance> = DISTURBANCES.to_vec();
    rng.shuffle(&mut order);
    while Instant::now() < until || !order.is_empty() {
        let disturbance = order.pop().unwrap_or_else(|| DISTURBANCES[rng.usize(..DISTURBANCES.len())]);
        let index = rng.usize(..agents);
        let result = disturb(&mut site, &mut rng, disturbance, index);
        disturbed += 1;
        if let Err(problem) = &result {
            findings.fail(format!("{disturbance:?} of {}: {problem}", site.describe(index)));
        }
        if site.report_violations(findings) || result.is_err() {
            findings.note(format!("the last disturbances: {}", site.last_disturbances()));
            break;
        }
    }
    findings.tried(disturbed, "disturbances of process trees and of their daemon");
    end(site, findings);
}

fn disturb(site: &mut Site, rng: &mut Rng, disturbance: Disturbance, index: usize) -> Result<(), String> {
    let main = site.main_of(index)?;
    site.log(format!("{disturbance:?} tree-{index} with the main process {main}"));
    match disturbance {
        Disturbance::KillMember => {
            let others: Vec<u32> = site.members(index).into_iter().filter(|pid| *pid != main).collect();
            rng.choice(others).into_iter().for_each(|pid| signal(pid, Signal::KILL));
            site.settle(index, None)
        }
        Disturbance::KillMain => {
            signal(main, Signal::KILL);
            site.settle(index, Some(main))
        }
        Disturbance::KillHalf => {
            let half: Vec<u32> = site.members(index).into_iter().filter(|_| rng.bool()).collect();
            site.log(format!("SIGKILL {half:?}"));
            half.into_iter().chain([main]).for_each(|pid| signal(pid, Signal::KILL));
            site.settle(index, Some(main))
        }
        Disturbance::KillTwoMains => {
            let other = (index + 1) % site.agents();
            let mains = [(index, main), (other, site.main_of(other)?)];
            mains.iter().for_each(|(_, main)| signal(*main, Signal::KILL));
            mains.into_iter().try_for_each(|(index, main)| site.settle(index, Some(main)))
        }
        Disturbance::Freeze => {
            rng.choice(site.members(index)).into_iter().for_each(|pid| signal(pid, Signal::STOP));
            site.settle(index, None)
        }
        Disturbance::Stop => site.stop_and_start(index),
        Disturbance::Restart => {
            site.ask("restart", index)?;
            site.settle(index, Some(main))
        }
        Disturbance::KillDaemon => {
            site.kill_daemon();
            let victims = if is_hidden_from_the_next_daemon(site, index) { Vec::new() } else { site.members(index) };
            let victims: Vec<u32> = victims.into_iter().filter(|_| rng.bool()).collect();
            site.log(format!("SIGKILL {victims:?} without a daemon"));
            victims.iter().for_each(|pid| signal(*pid, Signal::KILL));
            site.start_daemon();
            site.settle(index, victims.contains(&main).then_some(main))?;
            site.settle_all()
        }
        Disturbance::EndDaemon => {
            site.end_daemon()?;
            site.start_daemon();
            site.settle_all()
        }
    }
}

/// Ends the daemon with all its agents, and looks for what is left.
fn end(mut site: Site, findings: &mut Findings) {
    let started = Instant::now();
    if let Err(problem) = site.shut_down(STOP_LIMIT) {
        findings.fail(format!("the daemon does not stop its agents and exit with code 0: {problem}"));
    }
    let left = site.all_members();
    if !left.is_empty() {
        findings.fail(format!("after the daemon has stopped its agents, these processes are left: {left:?}"));
    }
    site.report_violations(findings);
    findings
        .note(format!("the last stop took {:.1} s; some processes ignore SIGTERM", started.elapsed().as_secs_f64()));
}
