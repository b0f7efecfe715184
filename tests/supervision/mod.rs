//! The daemon's pure core: what it concludes, whom it believes, and what it does about a whole host in virtual time.

mod arrivals;
mod event_loop;
mod host;
mod host_events;
mod promises;
mod registry;
mod simulation;
mod verdicts;
