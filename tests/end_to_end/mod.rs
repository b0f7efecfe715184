//! End to end: real daemons with real agents, as an operator sees them.
//!
//! What each scenario expected and saw is in `target/e2e-report.md`. Tests wait for what a process reports, and no check depends
//! on the speed of the machine. Measured times are in the report only.

mod accounts;
mod adoption;
mod agent_sockets;
mod cgroups;
mod checks;
mod dependencies;
mod discovery;
mod failing;
mod files;
mod fleet;
mod hooks;
mod pid1;
mod process_settings;
mod readiness;
mod reloads;
mod report;
mod setup;
mod stops;
mod third_party;
mod trees;
