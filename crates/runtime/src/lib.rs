//! What both programs need from the operating system: clock, executor, blocking threads, signals, files, logging and
//! the service manager.
//!
//! | module | what |
//! |---|---|
//! | [`clock`] | the only place that reads a clock |
//! | [`stall_deadline`] | waiting with a limit that excludes this process's own stalls |
//! | [`event_loop`] | waiting for the next event or deadline; pings for the service manager's watchdog |
//! | [`executor`], [`blocking`] | the executor, and the threads for work that blocks |
//! | [`signals`], [`service_manager`] | signals from operators; notifications to the service manager |
//! | [`durable`], [`small_file`] | files that are complete at every instant and have one owner; reads with a size
//! limit |
//! | [`observe`] | what other processes can see of an agent: its status file and its process |
//! | [`processes`], [`orphans`] | all processes of the host; the children of this one |
//! | [`logging`] | log lines |
//! | [`causes`], [`errno`], [`paths`] | error chains as one line; remedies for kernel errors; absolute paths |
//! | [`process_metrics`] | CPU time, memory and descriptors of this process, for `/metrics` |
//! | [`program`] | the name that the program was started with |

pub mod blocking;
pub mod causes;
pub mod clock;
pub mod durable;
pub mod errno;
pub mod event_loop;
pub mod executor;
pub mod logging;
pub mod observe;
pub mod orphans;
pub mod own_process;
pub mod paths;
pub mod port_holder;
pub mod process_metrics;
pub mod processes;
pub mod program;
pub mod service_manager;
pub mod signals;
pub mod small_file;
pub mod stall_deadline;
