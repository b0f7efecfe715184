//! The daemon's pure core: what it concludes, whom it believes, and what it does about a whole host in virtual time.

mod event_loop;
mod happenings;
mod host;
mod judging;
mod promises;
mod reading;
mod registry;
mod simulation;
