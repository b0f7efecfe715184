//! An agent that misbehaves by a plan, for the trial of supervisors. Only `agent run --simulate PLAN` turns it on.
//!
//! [`Plan`] says what goes wrong and when. Each act is one type in [`acts`]. The [`evidence`] log says what the agent did.

pub(crate) mod acts;
pub(crate) mod evidence;
pub(crate) mod plan;
pub(crate) mod values;
