//! What both programs need from the operating system: clock, executor, blocking threads, signals, files, logging and
//! the service manager.
//!
//! | module | what |
//! |---|---|
//! | [`clock`] | the only place that reads a clock |
//! | [`stall_deadline`] | waiting with a limit that excludes this process's own stalls |
//! | [`executor`], [`blocking`] | the executor, and the threads for work that blocks |
//! | [`signals`], [`service_manager`] | what operators and the service manager ask, and what they are told |
//! | [`durable`], [`small_file`] | files that are whole at every instant and have one owner; reads with a size limit |
//! | [`observe`] | what another process can see of an agent: its status file and its process |
//! | [`logging`] | log lines |
//! | [`causes`], [`errno`] | error chains as one line; what the kernel's errors mean |

pub mod blocking;
pub mod causes;
pub mod clock;
pub mod durable;
pub mod errno;
pub mod executor;
pub mod logging;
pub mod observe;
pub mod service_manager;
pub mod signals;
pub mod small_file;
pub mod stall_deadline;
