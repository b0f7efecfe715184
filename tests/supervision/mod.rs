//! The daemon's pure core: verdicts, the registry, and a whole simulated host in virtual time.

mod arrivals;
mod dependencies;
mod event_loop;
mod evidence;
mod fleet;
mod guard;
mod host;
mod host_events;
mod invariants;
mod registry;
mod service_check;
mod services;
mod simulation;
mod unproved;
mod verdicts;
