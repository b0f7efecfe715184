//! The lifecycles of this platform, as values: no I/O, no async, no clock, no logging.
//!
//! * [`lifecycle`]: the agent's own. It alone decides what the agent says of itself.
//! * [`supervision`]: one agent's, as its daemon knows it.
//! * [`step`]: what a machine answers when it is told something.
//! * [`table`]: what a state machine is here, and how one is printed.
//! * [`time`]: the two clocks that every decision is handed.
//!
//! A machine takes what happened and the time, and answers with effects for somebody else to carry out, in order.
//! So every decision can be tested exhaustively, and a year of faults runs in a second.

pub mod lifecycle;
pub mod step;
pub mod supervision;
pub mod table;
pub mod time;
