//! The heartbeat scheduler on virtual time: when heartbeats are due, and when failures raise the fault.

use std::time::Duration;

use fastrand::Rng;
use ops_agent::testing::agent::heartbeat::scheduler::{
    DeliveryChange, DeliveryResult, HeartbeatPolicy, HeartbeatScheduler,
};
use proptest::prelude::*;

const START: Duration = Duration::from_secs(1000);
/// Long after the start, so an absent daemon counts as a failure.
const LATER: Duration = Duration::from_secs(2000);

fn policy() -> HeartbeatPolicy {
    HeartbeatPolicy {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        failure_threshold: 3,
        recovery_threshold: 2,
    }
}

fn failed(unreachable: bool, retry_after: Option<Duration>) -> DeliveryResult {
    DeliveryResult::Failed { detail: "no".to_owned(), unreachable, retry_after }
}

/// Makes one attempt of zero duration when it is due. Returns when that was.
fn attempt(scheduler: &mut HeartbeatScheduler, answer: &DeliveryResult) -> (Duration, DeliveryChange) {
    let at = scheduler.due().expect("something is due");
    scheduler.begin(at);
    assert_eq!(scheduler.due(), None, "two at once");
    (at, scheduler.ended(at, answer))
}

fn assert_near(pause: Duration, wanted: Duration) {
    let tenth = wanted / 10;
    assert!(pause >= wanted - tenth && pause <= wanted + tenth, "{pause:?}, wanted {wanted:?} ± 10 %");
}

#[test]
fn no_heartbeat_is_due_before_the_scheduler_starts() {
    assert_eq!(HeartbeatScheduler::new(policy(), START, Rng::with_seed(1)).due(), None);
}

#[test]
fn the_interval_is_fixed_and_jitter_does_not_accumulate() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(2));
    scheduler.announce(LATER);
    let (first, _) = attempt(&mut scheduler, &DeliveryResult::Delivered);
    for place in 1..1000_u32 {
        let (at, verdict) = attempt(&mut scheduler, &DeliveryResult::Delivered);
        let wanted = first + policy().interval * place;
        assert!(at.abs_diff(wanted) <= policy().interval / 10, "place {place} at {at:?}, wanted {wanted:?}");
        assert_eq!(verdict, DeliveryChange::Nothing);
    }
}

#[test]
fn a_transition_sends_at_once_and_does_not_shift_the_schedule() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(3));
    scheduler.announce(LATER);
    let (first, _) = attempt(&mut scheduler, &DeliveryResult::Delivered);
    scheduler.announce(first + Duration::from_secs(10));
    assert_eq!(attempt(&mut scheduler, &DeliveryResult::Delivered).0, first + Duration::from_secs(10));
    let (next, _) = attempt(&mut scheduler, &DeliveryResult::Delivered);
    assert!(next.abs_diff(first + policy().interval) <= policy().interval / 10);
}

#[test]
fn a_transition_during_an_attempt_is_sent_right_after_it() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(4));
    scheduler.announce(LATER);
    scheduler.begin(LATER);
    scheduler.announce(LATER + Duration::from_secs(1));
    let end = LATER + Duration::from_secs(2);
    scheduler.ended(end, &DeliveryResult::Delivered);
    assert_eq!(scheduler.due(), Some(end));
}

#[test]
fn a_suspend_is_followed_by_one_heartbeat_and_no_burst() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(5));
    scheduler.announce(LATER);
    attempt(&mut scheduler, &DeliveryResult::Delivered);
    let awake = LATER + Duration::from_secs(36_000);
    scheduler.begin(awake);
    scheduler.ended(awake, &DeliveryResult::Delivered);
    assert_near(scheduler.due().unwrap() - awake, policy().interval);
}

#[test]
fn retry_delays_double_from_one_second_to_the_interval() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(6));
    scheduler.announce(LATER);
    let (mut last, _) = attempt(&mut scheduler, &failed(true, None));
    for wanted in [1, 2, 4, 8, 16, 30, 30, 30] {
        let (at, _) = attempt(&mut scheduler, &failed(true, None));
        assert_near(at - last, Duration::from_secs(wanted));
        last = at;
    }
}

#[test]
fn the_thresholds_count_consecutive_results() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(7));
    scheduler.announce(LATER);
    let no = failed(false, None);
    let script: [(&DeliveryResult, DeliveryChange); 12] = [
        (&no, DeliveryChange::FirstFailure),
        (&no, DeliveryChange::Nothing),
        (&DeliveryResult::Delivered, DeliveryChange::Resumed),
        (&no, DeliveryChange::FirstFailure),
        (&no, DeliveryChange::Nothing),
        (&no, DeliveryChange::Lost),
        (&no, DeliveryChange::Nothing),
        (&DeliveryResult::Delivered, DeliveryChange::Nothing),
        (&no, DeliveryChange::Nothing),
        (&DeliveryResult::Delivered, DeliveryChange::Nothing),
        (&DeliveryResult::Delivered, DeliveryChange::Recovered),
        (&DeliveryResult::Delivered, DeliveryChange::Nothing),
    ];
    for (step, (answer, wanted)) in script.into_iter().enumerate() {
        assert_eq!(attempt(&mut scheduler, answer).1, wanted, "step {step}");
    }
}

#[test]
fn an_absent_daemon_is_no_fault_for_the_first_five_seconds() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(8));
    scheduler.announce(START);
    let mut pauses = Vec::new();
    let mut last = START;
    loop {
        let (at, verdict) = attempt(&mut scheduler, &failed(true, None));
        pauses.push(at - last);
        last = at;
        if at >= START + Duration::from_secs(5) {
            assert_eq!((scheduler.failures(), verdict), (1, DeliveryChange::FirstFailure));
            break;
        }
        assert_eq!((scheduler.failures(), verdict), (0, DeliveryChange::Nothing));
    }
    for (pause, wanted) in pauses[1..].iter().zip([50, 100, 200, 400, 800, 1600]) {
        assert_near(*pause, Duration::from_millis(wanted));
    }
}

#[test]
fn a_refusal_counts_from_the_start() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(9));
    scheduler.announce(START);
    assert_eq!(attempt(&mut scheduler, &failed(false, None)).1, DeliveryChange::FirstFailure);
}

#[test]
fn retry_after_is_honoured_up_to_an_hour() {
    for (retry_after, wanted) in [(0, 1), (20, 20), (90, 90), (1_000_000, 3600)] {
        let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(10));
        scheduler.announce(LATER);
        attempt(&mut scheduler, &failed(false, Some(Duration::from_secs(retry_after))));
        assert_near(scheduler.due().unwrap() - LATER, Duration::from_secs(wanted));
    }
}

#[test]
fn a_late_answer_from_before_a_reload_counts_for_nothing() {
    let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(11));
    scheduler.announce(LATER);
    scheduler.begin(LATER);
    scheduler.reconfigure(LATER, HeartbeatPolicy { failure_threshold: 1, ..policy() });
    assert_eq!(scheduler.ended(LATER, &failed(false, None)), DeliveryChange::Nothing);
    assert_eq!((scheduler.failures(), scheduler.due()), (0, Some(LATER)));
}

proptest! {
    /// For any results, the next attempt is not in the past and at most 66 minutes away,
    /// and the fault is raised and cleared alternately.
    #[test]
    fn the_next_attempt_is_always_scheduled_within_bounds(
        seed in any::<u64>(),
        answers in prop::collection::vec((0..4_u8, 0..5_000_u64, 0..100_000_u64), 1..200),
    ) {
        let mut scheduler = HeartbeatScheduler::new(policy(), START, Rng::with_seed(seed));
        let mut now = START;
        scheduler.announce(now);
        let mut lost = false;
        for (kind, takes, retry) in answers {
            now = scheduler.due().expect("something is due").max(now);
            scheduler.begin(now);
            now += Duration::from_millis(takes);
            let answer = match kind {
                0 => DeliveryResult::Delivered,
                1 => failed(true, None),
                2 => failed(false, None),
                _ => failed(false, Some(Duration::from_secs(retry))),
            };
            match scheduler.ended(now, &answer) {
                DeliveryChange::Lost => prop_assert!(!std::mem::replace(&mut lost, true)),
                DeliveryChange::Recovered => prop_assert!(std::mem::replace(&mut lost, false)),
                DeliveryChange::FirstFailure | DeliveryChange::Resumed => prop_assert!(!lost),
                DeliveryChange::Nothing => {}
            }
            let due = scheduler.due().expect("something is due");
            prop_assert!(due >= now && due <= now + Duration::from_secs(3960), "{due:?} at {now:?}");
        }
    }
}
