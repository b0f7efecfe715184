//! `flap`.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::degrade::Fault;
use super::resource::run_in;
use super::{ActInfo, Begin, Behaviour, Parameter, Timing, Where};
use crate::agent::simulate::state::Held;
use crate::agent::simulate::values;

/// The shortest stay in a state.
const SHORTEST: Duration = Duration::from_millis(100);

pub(super) const INFO: ActInfo = ActInfo {
    name: "flap",
    sentence: "The agent changes between Running and Degraded.",
    parameters: &[Parameter { name: "every", values: "a duration from 100ms on", default: "`2s`" }],
    timing: Timing::Lasts,
};

/// The agent changes between Running and Degraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Flap {
    /// How long it stays in each.
    #[serde(with = "values::duration")]
    pub every: Duration,
}

impl Default for Flap {
    fn default() -> Self {
        Self { every: Duration::from_secs(2) }
    }
}

impl Behaviour for Flap {
    fn begin(&self, begin: &Begin<'_>) -> io::Result<Option<Held>> {
        let (every, simulation) = (self.every.max(SHORTEST), begin.simulation.clone());
        let mut fault = Some(Fault::raise(&simulation)?);
        run_in(Where::Agent, begin, move |ticks| {
            while ticks.after(every) {
                fault = if fault.is_some() { None } else { Fault::raise(&simulation).ok() };
            }
        })
    }
}
