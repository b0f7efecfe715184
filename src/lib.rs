//! A host agent that never lies about its state, and the daemon that supervises it.
//!
//! # The map
//!
//! | module | what |
//! |---|---|
//! | [`agent`] | the agent: one loop around `statemachine::lifecycle`, its inputs and its outputs |
//! | [`daemon`] | the daemon: one machine per supervised agent, processes, checks, control |
//! | [`config`] | what the files say, and what is wrong with them |
//! | [`net`] | what lies under tide and surf: limits, deadlines, drain |
//! | [`wire`] | the words both sides speak: heartbeat, JSON-RPC, status file, errors |
//! | [`cli`] | the command lines |
//! | [`observe`] | what anybody on the host can see of an agent: its status file and its process |
//! | [`durable`] | files that are whole at every instant and have one owner at a time |
//! | [`causes`] | the only place that makes a line of a chain of causes |
//! | [`errno`] | what the kernel's errors mean to who runs the programs |
//! | [`clock`] | the only place that asks what time it is |
//! | [`patience`] | how long to wait for a disk, not counting what this process stood still itself |
//! | [`logging`] | where log lines go |
//! | [`turns`], [`pool`] | what runs tasks, and what runs work that blocks |
//! | [`signals`], [`service_manager`] | what init and operators say to a process, and what it answers |
//!
//! Arrows point one way: `cli → agent | daemon → config, net → wire → statemachine`. `agent` and `daemon` do not know
//! each other.

pub mod agent;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod durable;
pub mod errno;
pub mod logging;
pub mod net;
pub mod observe;
pub mod patience;
pub mod pool;
pub mod service_manager;
pub mod signals;
mod small_file;
pub mod turns;
pub mod wire;
