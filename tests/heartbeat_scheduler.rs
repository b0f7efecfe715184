//! When heartbeats go out, and what a row of failures means: the pure pacing, on a clock of numbers.

use std::time::Duration;

use fastrand::Rng;
use ops_agent::testing::agent::heartbeat::scheduler::{
    DeliveryChange, DeliveryResult, HeartbeatPolicy, HeartbeatScheduler,
};
use proptest::prelude::*;

const START: Duration = Duration::from_secs(1000);
/// The process has been up for so long that nobody is forgiven any more.
const LATER: Duration = Duration::from_secs(2000);

fn pace() -> HeartbeatPolicy {
    HeartbeatPolicy {
        interval: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
        failure_threshold: 3,
        recovery_threshold: 2,
    }
}

fn failed(nobody_there: bool, retry_after: Option<Duration>) -> DeliveryResult {
    DeliveryResult::Failed { detail: "no".to_owned(), nobody_there, retry_after }
}

/// One attempt at the moment that it is due, which takes no time. Gives that moment.
fn attempt(cadence: &mut HeartbeatScheduler, answer: &DeliveryResult) -> (Duration, DeliveryChange) {
    let at = cadence.due().expect("something is due");
    cadence.begin(at);
    assert_eq!(cadence.due(), None, "two at once");
    (at, cadence.answered(at, answer))
}

fn assert_near(pause: Duration, wanted: Duration) {
    let tenth = wanted / 10;
    assert!(pause >= wanted - tenth && pause <= wanted + tenth, "{pause:?}, wanted {wanted:?} ± 10 %");
}

#[test]
fn it_is_silent_until_it_is_told_to_begin() {
    assert_eq!(HeartbeatScheduler::new(pace(), START, Rng::with_seed(1)).due(), None);
}

#[test]
fn the_cadence_is_fixed_and_jitter_does_not_add_up() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(2));
    cadence.announce(LATER);
    let (first, _) = attempt(&mut cadence, &DeliveryResult::Delivered);
    for place in 1..1000_u32 {
        let (at, verdict) = attempt(&mut cadence, &DeliveryResult::Delivered);
        let wanted = first + pace().interval * place;
        assert!(at.abs_diff(wanted) <= pace().interval / 10, "place {place} at {at:?}, wanted {wanted:?}");
        assert_eq!(verdict, DeliveryChange::Nothing);
    }
}

#[test]
fn a_transition_sends_at_once_and_leaves_the_grid_alone() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(3));
    cadence.announce(LATER);
    let (first, _) = attempt(&mut cadence, &DeliveryResult::Delivered);
    cadence.announce(first + Duration::from_secs(10));
    assert_eq!(attempt(&mut cadence, &DeliveryResult::Delivered).0, first + Duration::from_secs(10));
    let (next, _) = attempt(&mut cadence, &DeliveryResult::Delivered);
    assert!(next.abs_diff(first + pace().interval) <= pace().interval / 10);
}

#[test]
fn a_transition_during_an_attempt_is_told_right_after_it() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(4));
    cadence.announce(LATER);
    cadence.begin(LATER);
    cadence.announce(LATER + Duration::from_secs(1));
    let end = LATER + Duration::from_secs(2);
    cadence.answered(end, &DeliveryResult::Delivered);
    assert_eq!(cadence.due(), Some(end));
}

#[test]
fn a_suspend_is_followed_by_one_heartbeat_and_no_burst() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(5));
    cadence.announce(LATER);
    attempt(&mut cadence, &DeliveryResult::Delivered);
    let awake = LATER + Duration::from_secs(36_000);
    cadence.begin(awake);
    cadence.answered(awake, &DeliveryResult::Delivered);
    assert_near(cadence.due().unwrap() - awake, pace().interval);
}

#[test]
fn retries_double_from_a_second_to_the_interval() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(6));
    cadence.announce(LATER);
    let (mut last, _) = attempt(&mut cadence, &failed(true, None));
    for wanted in [1, 2, 4, 8, 16, 30, 30, 30] {
        let (at, _) = attempt(&mut cadence, &failed(true, None));
        assert_near(at - last, Duration::from_secs(wanted));
        last = at;
    }
}

#[test]
fn the_thresholds_count_in_a_row() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(7));
    cadence.announce(LATER);
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
        assert_eq!(attempt(&mut cadence, answer).1, wanted, "step {step}");
    }
}

#[test]
fn a_daemon_that_is_not_there_yet_is_forgiven_for_five_seconds() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(8));
    cadence.announce(START);
    let mut pauses = Vec::new();
    let mut last = START;
    loop {
        let (at, verdict) = attempt(&mut cadence, &failed(true, None));
        pauses.push(at - last);
        last = at;
        if at >= START + Duration::from_secs(5) {
            assert_eq!((cadence.failures(), verdict), (1, DeliveryChange::FirstFailure));
            break;
        }
        assert_eq!((cadence.failures(), verdict), (0, DeliveryChange::Nothing));
    }
    for (pause, wanted) in pauses[1..].iter().zip([50, 100, 200, 400, 800, 1600]) {
        assert_near(*pause, Duration::from_millis(wanted));
    }
}

#[test]
fn somebody_who_is_there_and_refuses_is_not_forgiven() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(9));
    cadence.announce(START);
    assert_eq!(attempt(&mut cadence, &failed(false, None)).1, DeliveryChange::FirstFailure);
}

#[test]
fn retry_after_is_honoured_up_to_an_hour() {
    for (asked, wanted) in [(0, 1), (20, 20), (90, 90), (1_000_000, 3600)] {
        let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(10));
        cadence.announce(LATER);
        attempt(&mut cadence, &failed(false, Some(Duration::from_secs(asked))));
        assert_near(cadence.due().unwrap() - LATER, Duration::from_secs(wanted));
    }
}

#[test]
fn a_late_answer_from_before_a_reload_counts_for_nothing() {
    let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(11));
    cadence.announce(LATER);
    cadence.begin(LATER);
    cadence.reconfigure(LATER, HeartbeatPolicy { failure_threshold: 1, ..pace() });
    assert_eq!(cadence.answered(LATER, &failed(false, None)), DeliveryChange::Nothing);
    assert_eq!((cadence.failures(), cadence.due()), (0, Some(LATER)));
}

proptest! {
    /// Whatever is answered: the next attempt is never in the past, never further away than an hour and a tenth,
    /// and lost and found alternate.
    #[test]
    fn any_sequence_of_answers_leads_on(
        seed in any::<u64>(),
        answers in prop::collection::vec((0..4_u8, 0..5_000_u64, 0..100_000_u64), 1..200),
    ) {
        let mut cadence = HeartbeatScheduler::new(pace(), START, Rng::with_seed(seed));
        let mut now = START;
        cadence.announce(now);
        let mut lost = false;
        for (kind, takes, retry) in answers {
            now = cadence.due().expect("something is due").max(now);
            cadence.begin(now);
            now += Duration::from_millis(takes);
            let answer = match kind {
                0 => DeliveryResult::Delivered,
                1 => failed(true, None),
                2 => failed(false, None),
                _ => failed(false, Some(Duration::from_secs(retry))),
            };
            match cadence.answered(now, &answer) {
                DeliveryChange::Lost => prop_assert!(!std::mem::replace(&mut lost, true)),
                DeliveryChange::Recovered => prop_assert!(std::mem::replace(&mut lost, false)),
                DeliveryChange::FirstFailure | DeliveryChange::Resumed => prop_assert!(!lost),
                DeliveryChange::Nothing => {}
            }
            let due = cadence.due().expect("something is due");
            prop_assert!(due >= now && due <= now + Duration::from_secs(3960), "{due:?} at {now:?}");
        }
    }
}
