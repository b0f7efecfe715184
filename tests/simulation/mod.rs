//! The whole agent, machine and event loop, with random faults on a virtual clock.
//!
//! A run prints its seed when it fails: `SIMULATION_SEED=… cargo nextest run simulation` repeats just that one.
//! `SIMULATION_SEEDS` and `SIMULATION_STEPS` make the run longer.

mod checks;
mod effects;
mod life;
pub(crate) mod time;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Every fourth seed, so that four tests share the work.
fn a_quarter_of_the_seeds(quarter: u64) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let steps = number("SIMULATION_STEPS").unwrap_or(1000);
    let seeds = match number("SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIMULATION_SEEDS").unwrap_or(1000),
    };
    for seed in seeds.filter(|seed| seed % 4 == quarter) {
        let run = catch_unwind(AssertUnwindSafe(|| life::Life::new(seed).live(steps)));
        assert!(run.is_ok(), "seed {seed} violates an invariant: SIMULATION_SEED={seed} repeats it");
    }
}

#[test]
fn a_disk_that_is_always_late_is_one_fault() {
    (0..20).for_each(|seed| life::Life::new(seed).live_with_a_late_disk());
}

#[test]
fn the_invariants_hold_under_random_faults_first_quarter() {
    a_quarter_of_the_seeds(0);
}

#[test]
fn the_invariants_hold_under_random_faults_second_quarter() {
    a_quarter_of_the_seeds(1);
}

#[test]
fn the_invariants_hold_under_random_faults_third_quarter() {
    a_quarter_of_the_seeds(2);
}

#[test]
fn the_invariants_hold_under_random_faults_fourth_quarter() {
    a_quarter_of_the_seeds(3);
}
