//! The pair from end to end: real daemons with real agents, and what an operator would see of them.
//!
//! What each scenario expected and saw is in `target/e2e-report.md`. Waiting is for what a process says, and no check depends
//! on how fast the machine is: where a time is told, it is told in the report.

mod adoption;
mod failing;
mod fleet;
mod report;
mod setup;
mod third_party;
