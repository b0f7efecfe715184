//! The CPU and memory of this process.

use std::cell::RefCell;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::agent::snapshot::Usage;

/// Why a sample failed.
#[derive(Debug, thiserror::Error)]
pub enum UsageError {
    /// The host cannot be read.
    #[error("the CPUs and memory of this host cannot be read")]
    System(#[source] sysinfo::Error),
    /// This process cannot be read.
    #[error("this process cannot be read under /proc: check that it is mounted and that descriptors are left")]
    Process,
}

/// Samples this process only, without a thread. It takes about 40 µs.
#[derive(Debug)]
pub(crate) struct UsageSampler {
    pid: Pid,
    cpus: f64,
    system: RefCell<Option<System>>,
}

impl UsageSampler {
    /// A sampler of this process.
    #[must_use]
    pub(crate) fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            pid: Pid::from_u32(std::process::id()),
            cpus: f64::from(u32::try_from(cpus).unwrap_or(u32::MAX)),
            system: RefCell::new(None),
        }
    }

    /// CPU since the last sample (0 for the first), and resident memory.
    ///
    /// # Errors
    ///
    /// [`UsageError`], for example if `/proc` is not mounted or no descriptor is left.
    pub(crate) fn sample(&self) -> Result<Usage, UsageError> {
        let mut system = self.system.borrow_mut();
        let system = match &mut *system {
            Some(system) => system,
            empty => empty.insert(System::new().map_err(UsageError::System)?),
        };
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        let updated = system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), false, kind);
        match system.process(self.pid) {
            Some(process) if updated > 0 => Ok(Usage {
                cpu_percent: (f64::from(process.cpu_usage()) / self.cpus).clamp(0.0, 100.0),
                memory_bytes: process.memory(),
            }),
            _ => Err(UsageError::Process),
        }
    }
}

impl Default for UsageSampler {
    fn default() -> Self {
        Self::new()
    }
}
