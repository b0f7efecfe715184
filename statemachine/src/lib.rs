//! The state machines of agent and daemon, as pure code: no I/O, no async, no clock, no logging.
//!
//! * [`lifecycle`]: the agent's machine. It alone decides what the agent reports of itself.
//! * [`supervision`]: the daemon's machine for one agent.
//! * [`step`]: the answer of a machine.
//! * [`table`]: what a state machine is here, and how it is printed.
//! * [`time`]: the two clocks that every decision gets.
//!
//! A machine gets an input and the time, and returns effects that the caller performs in order. So every decision can be tested
//! exhaustively, and a year of faults runs in a second.

pub mod lifecycle;
pub mod step;
pub mod supervision;
pub mod table;
pub mod time;
