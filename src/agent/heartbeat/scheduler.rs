//! When the next heartbeat is due, and what consecutive failures and successes mean. Pure: time and randomness are
//! parameters.

use std::time::Duration;

use fastrand::Rng;

/// How long after the agent's start an unreachable daemon is no failure: a daemon may start its agents before it listens.
const EARLY: Duration = Duration::from_secs(5);
/// The first pause between attempts in that time. It doubles.
const EARLY_RETRY: Duration = Duration::from_millis(50);
/// The first pause after a failure. It doubles, up to the interval.
const RETRY: Duration = Duration::from_secs(1);
/// The longest `Retry-After` that is respected: the longest interval that can be configured.
pub(super) const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// The settings of the scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeartbeatPolicy {
    /// The time from one heartbeat to the next.
    pub interval: Duration,
    /// The limit of one attempt.
    pub timeout: Duration,
    /// How many consecutive failures raise the fault.
    pub failure_threshold: u32,
    /// How many consecutive successes clear it.
    pub recovery_threshold: u32,
}

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryResult {
    /// The daemon acknowledged the heartbeat.
    Delivered,
    /// It did not.
    Failed {
        /// The fact, its cause and the remedy, for people.
        detail: String,
        /// Nothing listens there. `false` for a daemon that rejects, is slow or sends an invalid response.
        unreachable: bool,
        /// The pause that the daemon requests.
        retry_after: Option<Duration>,
    },
}

/// What the result of an attempt changes, beyond the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryChange {
    /// Nothing that needs a log line.
    Nothing,
    /// The first failure after a success. It is logged, and no fault is raised.
    FirstFailure,
    /// The failure threshold is reached: the daemon counts as lost.
    Lost,
    /// A success after failures below the threshold.
    Resumed,
    /// The recovery threshold is reached: the daemon no longer counts as lost.
    Recovered,
}

/// Schedules the heartbeats of one agent.
#[derive(Debug)]
pub struct HeartbeatScheduler {
    policy: HeartbeatPolicy,
    rng: Rng,
    started: Duration,
    /// The next tick of the fixed grid, without jitter.
    tick: Option<Duration>,
    due: Option<Duration>,
    in_flight: bool,
    /// The state changed while an attempt was in flight, so another heartbeat follows at once.
    again: bool,
    early_attempts: u32,
    failures: u32,
    successes: u32,
    lost: bool,
}

impl HeartbeatScheduler {
    /// A scheduler without a due heartbeat until [`HeartbeatScheduler::announce`]. `started` is when the process started.
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
            early_attempts: 0,
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
        // A heartbeat between two ticks, because of a transition, replaces neither.
        if now >= tick.saturating_sub(self.policy.interval / 10) {
            let next = tick + self.policy.interval;
            // Missed ticks are skipped.
            self.tick = Some(if next <= now { now + self.policy.interval } else { next });
        }
    }

    /// An attempt ended.
    pub fn ended(&mut self, now: Duration, result: &DeliveryResult) -> DeliveryChange {
        if !std::mem::take(&mut self.in_flight) {
            // It belongs to the settings before a reload.
            return DeliveryChange::Nothing;
        }
        let change = match result {
            DeliveryResult::Delivered => self.succeed(now),
            DeliveryResult::Failed { unreachable, retry_after, .. } => self.fail(now, *unreachable, *retry_after),
        };
        if std::mem::take(&mut self.again) && *result == DeliveryResult::Delivered {
            self.due = Some(now);
        }
        change
    }

    /// Applies new settings. The counters restart, because they may belong to another daemon.
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

    /// The limit of one attempt.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.policy.timeout
    }

    /// The number of consecutive failures.
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

    fn fail(&mut self, now: Duration, unreachable: bool, retry_after: Option<Duration>) -> DeliveryChange {
        self.successes = 0;
        if unreachable && !self.lost && now < self.started + EARLY {
            let pause = EARLY_RETRY * 2_u32.saturating_pow(self.early_attempts);
            self.early_attempts += 1;
            // The last early pause ends with the early window, so the next attempt counts.
            self.due = Some((now + self.jittered(pause)).min(self.started + EARLY));
            return DeliveryChange::Nothing;
        }
        self.failures = self.failures.saturating_add(1);
        let doubled = RETRY.saturating_mul(2_u32.saturating_pow(self.failures - 1));
        let pause = doubled.min(self.policy.interval).max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER));
        self.due = Some(now + self.jittered(pause));
        if !self.lost && self.failures >= self.policy.failure_threshold {
            self.lost = true;
            return DeliveryChange::Lost;
        }
        if self.failures == 1 && !self.lost { DeliveryChange::FirstFailure } else { DeliveryChange::Nothing }
    }

    /// A pause with a jitter of ±10 %, so that agents that failed together do not retry together.
    fn jittered(&mut self, pause: Duration) -> Duration {
        let jitter = self.jitter(pause);
        pause.saturating_sub(pause / 10) + jitter
    }

    /// Between 0 and 20 % of a pause.
    fn jitter(&mut self, pause: Duration) -> Duration {
        pause.mul_f64(0.2 * self.rng.f64())
    }
}
