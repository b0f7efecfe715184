//! Durations for people.

use std::fmt;
use std::time::Duration;

/// A duration for people: `3.1 s`, `5 min 2 s`, `3 h 10 min`, `12 d 4 h`.
#[derive(Debug, Clone, Copy)]
pub struct Elapsed(pub Duration);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        match seconds {
            0..60 => write!(f, "{:.1} s", self.0.as_millis().min(59_900) as f64 / 1000.0),
            60..3600 => write!(f, "{} min {} s", seconds / 60, seconds % 60),
            3600..86_400 => write!(f, "{} h {} min", seconds / 3600, seconds / 60 % 60),
            86_400.. => write!(f, "{} d {} h", seconds / 86_400, seconds / 3600 % 24),
        }
    }
}
