//! When the next heartbeat is due, and what a row of failures or successes means. Pure: time and randomness come in.

use std::time::Duration;

use fastrand::Rng;

/// How long after the start a daemon that nobody answers for is forgiven: it may start its agents before it listens.
const EARLY: Duration = Duration::from_secs(5);
/// The first pause between such early tries; it doubles.
const EARLY_RETRY: Duration = Duration::from_millis(50);
/// The first pause after a failure that counts; it doubles, up to the interval.
const RETRY: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is honoured: the longest interval that can be configured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// What the configuration says of the cadence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatPolicy {
    /// From one heartbeat to the next.
    pub interval: Duration,
    /// What one attempt may take.
    pub timeout: Duration,
    /// How many failures in a row raise the fault.
    pub failure_threshold: u32,
    /// How many successes in a row clear it.
    pub recovery_threshold: u32,
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The daemon has it.
    Delivered,
    /// It has not.
    Failed {
        /// What was seen, for people.
        detail: String,
        /// Nobody listens there, as opposed to somebody who refuses, is slow, or talks nonsense.
        nobody_there: bool,
        /// How long the daemon asked to be left alone.
        retry_after: Option<Duration>,
    },
}

/// What an answer changes, beyond the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryChange {
    /// Nothing that anybody needs to hear of.
    Nothing,
    /// The first failure after a success. It is worth a line in the log, and no more.
    FirstFailure,
    /// So many failures in a row that the daemon counts as lost.
    Lost,
    /// A success after failures that had not reached the threshold.
    Resumed,
    /// So many successes in a row that the daemon counts as found again.
    Recovered,
}

/// The cadence of one agent's heartbeats.
#[derive(Debug)]
pub struct HeartbeatScheduler {
    policy: HeartbeatPolicy,
    rng: Rng,
    started: Duration,
    /// The next place on the fixed grid, without jitter.
    tick: Option<Duration>,
    due: Option<Duration>,
    in_flight: bool,
    /// Something worth telling happened while an attempt was in flight.
    again: bool,
    early_tries: u32,
    failures: u32,
    successes: u32,
    lost: bool,
}

impl HeartbeatScheduler {
    /// A cadence that is silent until [`HeartbeatScheduler::announce`]. `started` is when the process started.
    #[must_use]
    pub fn new(policy: HeartbeatPolicy, started: Duration, rng: Rng) -> Self {
        Self {
            policy,
            rng,
            started,
            tick: None,
            due: None,
            in_flight: false,
            again: false,
            early_tries: 0,
            failures: 0,
            successes: 0,
            lost: false,
        }
    }

    /// When [`HeartbeatScheduler::begin`] is due. `None` while an attempt is in flight, before the first, and after the last.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        self.due.filter(|_| !self.in_flight)
    }

    /// Makes a heartbeat due now, or as soon as the one in flight has ended. The grid stays as it is.
    pub fn announce(&mut self, now: Duration) {
        if self.in_flight {
            self.again = true;
        } else {
            self.due = Some(now);
        }
    }

    /// An attempt begins.
    pub fn begin(&mut self, now: Duration) {
        self.in_flight = true;
        self.again = false;
        self.due = None;
        let tick = self.tick.unwrap_or(now);
        // One that goes out between two places, because of a transition, serves neither.
        if now >= tick.saturating_sub(self.policy.interval / 10) {
            let next = tick + self.policy.interval;
            // Places that were slept through are not made up for.
            self.tick = Some(if next <= now { now + self.policy.interval } else { next });
        }
    }

    /// An attempt ended.
    pub fn answered(&mut self, now: Duration, answer: &DeliveryResult) -> DeliveryChange {
        if !std::mem::take(&mut self.in_flight) {
            // It was meant for a daemon that a reload has put out of the way.
            return DeliveryChange::Nothing;
        }
        let change = match answer {
            DeliveryResult::Delivered => self.succeed(now),
            DeliveryResult::Failed { nobody_there, retry_after, .. } => self.fail(now, *nobody_there, *retry_after),
        };
        if std::mem::take(&mut self.again) && *answer == DeliveryResult::Delivered {
            self.due = Some(now);
        }
        change
    }

    /// Takes over new settings, as for a daemon never met before: what was counted of the old one says nothing.
    pub fn reconfigure(&mut self, now: Duration, policy: HeartbeatPolicy) {
        self.policy = policy;
        self.in_flight = false;
        self.again = false;
        self.failures = 0;
        self.successes = 0;
        self.tick = None;
        self.announce(now);
    }

    /// The settings in force.
    #[must_use]
    pub const fn policy(&self) -> HeartbeatPolicy {
        self.policy
    }

    /// What one attempt may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.policy.timeout
    }

    /// How many failures in a row there have been.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    fn succeed(&mut self, now: Duration) -> DeliveryChange {
        self.successes = self.successes.saturating_add(1);
        let had_failed = std::mem::take(&mut self.failures) > 0;
        let tick = self.tick.map_or(now, |tick| tick.saturating_sub(self.policy.interval / 10));
        self.due = Some((tick + self.jitter(self.policy.interval)).max(now));
        if self.lost && self.successes >= self.policy.recovery_threshold {
            self.lost = false;
            return DeliveryChange::Recovered;
        }
        if had_failed && !self.lost { DeliveryChange::Resumed } else { DeliveryChange::Nothing }
    }

    fn fail(&mut self, now: Duration, nobody_there: bool, retry_after: Option<Duration>) -> DeliveryChange {
        self.successes = 0;
        if nobody_there && !self.lost && now < self.started + EARLY {
            let pause = EARLY_RETRY * 2_u32.saturating_pow(self.early_tries);
            self.early_tries += 1;
            // The last early pause ends with the window, so that what follows counts from there.
            self.due = Some((now + self.jittered(pause)).min(self.started + EARLY));
            return DeliveryChange::Nothing;
        }
        self.failures = self.failures.saturating_add(1);
        let doubled = RETRY.saturating_mul(2_u32.saturating_pow(self.failures - 1));
        let pause = doubled.min(self.policy.interval).max(retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER));
        self.due = Some(now + self.jittered(pause));
        if !self.lost && self.failures >= self.policy.failure_threshold {
            self.lost = true;
            return DeliveryChange::Lost;
        }
        if self.failures == 1 && !self.lost { DeliveryChange::FirstFailure } else { DeliveryChange::Nothing }
    }

    /// A pause with ±10 % of itself, so that agents that failed together do not come back together.
    fn jittered(&mut self, pause: Duration) -> Duration {
        let jitter = self.jitter(pause);
        pause.saturating_sub(pause / 10) + jitter
    }

    /// Between nothing and 20 % of a pause.
    fn jitter(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(0.2 * self.rng.f64())
    }
}
