//! The evidence of a simulated agent: an append-only log with one JSON object per line.

use serde::{Deserialize, Serialize};

/// One line: which process did what, and when.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceLine {
    /// The process.
    pub pid: u32,
    /// When the kernel started the process, in clock ticks since boot: field 22 of `/proc/PID/stat`.
    pub process_start: u64,
    /// The number of this start of the agent, counted from 1.
    pub life: u64,
    /// `CLOCK_BOOTTIME` in seconds.
    pub boottime: f64,
    /// `CLOCK_MONOTONIC` in seconds.
    pub monotonic: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: EvidenceEvent,
}

/// What a simulated agent did, or what happened to it. Each line is written before the act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EvidenceEvent {
    /// The process has started.
    Start,
    /// The agent is Running or Degraded for the first time.
    Ready,
    /// A step begins.
    Begin {
        /// Its index in the plan, counted from 0.
        step: usize,
        /// The name of its act.
        act: String,
    },
    /// A step is over.
    End {
        /// Its index in the plan.
        step: usize,
        /// The name of its act.
        act: String,
    },
    /// A step cannot be carried out.
    Failed {
        /// Its index in the plan.
        step: usize,
        /// The name of its act.
        act: String,
        /// Why.
        error: String,
    },
    /// The agent has started a process that belongs to a step.
    Child {
        /// The index of the step.
        step: usize,
        /// The name of its act.
        act: String,
        /// The process.
        child: u32,
    },
    /// A signal has arrived.
    Signal {
        /// Its name, such as `SIGTERM`.
        signal: String,
    },
    /// The process exits by itself, with this code.
    Exit {
        /// The exit code.
        code: u8,
    },
}
