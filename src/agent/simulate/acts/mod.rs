//! What a simulated agent can do wrong: one type per act, in a file of its own.

mod behaviour;
mod burn_cpu;
mod crash;
mod daemonize;
mod degrade;
mod exit;
mod file_deleted;
mod file_future;
mod file_incarnation;
mod file_missing;
mod file_pid;
mod file_stale;
mod file_torn;
mod file_touched;
mod flap;
mod flood_stdout;
mod hang_loop;
mod hang_writer;
mod heartbeat_clock;
mod heartbeat_doubled;
mod heartbeat_huge;
mod heartbeat_id;
mod heartbeat_incarnation;
mod heartbeat_late;
mod heartbeat_malformed;
mod heartbeat_pid;
mod heartbeat_stopped;
mod heartbeat_trickle;
mod http_closed;
mod http_error;
mod http_false_ok;
mod http_garbage;
mod http_silent;
mod http_slow;
mod http_stalled;
mod http_trickle;
mod ignore_sigterm;
mod leak_descriptors;
mod leak_memory;
mod leave_child;
mod never_ready;
mod panic;
mod raw;
mod resource;
mod sigstop;
mod slow_start;
mod slow_stop;

use serde::{Deserialize, Serialize};

pub(crate) use self::behaviour::{Begin, Behaviour, Fate, MainThread};

/// An act as a plan and a document name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActInfo {
    /// Its name in a plan.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub sentence: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// When it may happen.
    pub timing: Timing,
}

/// A parameter of an act.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in a plan.
    pub name: &'static str,
    /// Its values.
    pub values: &'static str,
    /// Its default. Empty: it is required.
    pub default: &'static str,
}

/// When an act may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// It lasts for a time, or until the process ends.
    Lasts,
    /// It happens once, so its step has no `for`.
    Once,
    /// It begins with the process and lasts, so its step has neither `at` nor `from`.
    FromStart,
}

/// Registers the acts: the module and its type. The modules are declared above, because rustfmt does not look into a macro.
macro_rules! acts {
    ($($module:ident: $act:ident,)+) => {
        $(pub use $module::$act;)+

        /// What a step does.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        #[expect(missing_docs, reason = "each type has its sentence")]
        pub enum Act {
            $($act($act),)+
        }

        $(impl From<$act> for Act {
            fn from(act: $act) -> Self {
                Self::$act(act)
            }
        })+

        impl Act {
            /// Its name, its sentence and its parameters.
            #[must_use]
            pub const fn info(&self) -> &'static ActInfo {
                match self {
                    $(Self::$act(_) => &$module::INFO,)+
                }
            }

            /// What it does.
            pub(crate) fn behaviour(&self) -> &dyn Behaviour {
                match self {
                    $(Self::$act(act) => act,)+
                }
            }
        }

        /// All acts, in the order of the document.
        pub const ACTS: &[&ActInfo] = &[$(&$module::INFO,)+];
    };
}

acts! {
    crash: Crash,
    panic: Panic,
    exit: Exit,
    hang_loop: HangLoop,
    hang_writer: HangWriter,
    sigstop: Sigstop,
    ignore_sigterm: IgnoreSigterm,
    slow_stop: SlowStop,
    slow_start: SlowStart,
    never_ready: NeverReady,
    leak_memory: LeakMemory,
    burn_cpu: BurnCpu,
    leak_descriptors: LeakDescriptors,
    leave_child: LeaveChild,
    daemonize: Daemonize,
    http_closed: HttpClosed,
    http_silent: HttpSilent,
    http_slow: HttpSlow,
    http_error: HttpError,
    http_garbage: HttpGarbage,
    http_trickle: HttpTrickle,
    http_stalled: HttpStalled,
    http_false_ok: HttpFalseOk,
    file_stale: FileStale,
    file_touched: FileTouched,
    file_deleted: FileDeleted,
    file_missing: FileMissing,
    file_torn: FileTorn,
    file_future: FileFuture,
    file_pid: FilePid,
    file_incarnation: FileIncarnation,
    heartbeat_stopped: HeartbeatStopped,
    heartbeat_late: HeartbeatLate,
    heartbeat_doubled: HeartbeatDoubled,
    heartbeat_pid: HeartbeatPid,
    heartbeat_id: HeartbeatId,
    heartbeat_incarnation: HeartbeatIncarnation,
    heartbeat_clock: HeartbeatClock,
    heartbeat_malformed: HeartbeatMalformed,
    heartbeat_huge: HeartbeatHuge,
    heartbeat_trickle: HeartbeatTrickle,
    flood_stdout: FloodStdout,
    degrade: Degrade,
    flap: Flap,
}

pub use self::crash::CrashSignal;
pub use self::hang_loop::HungHttp;
pub use self::heartbeat_clock::Direction;
pub use self::leave_child::Left;

/// Where something is used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// In the agent's process.
    #[default]
    #[serde(rename = "self")]
    Agent,
    /// In a child of the agent, which ends with the step and with the agent.
    Child,
}
