//! Agents that misbehave by a plan.

mod plans;
