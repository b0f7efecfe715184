//! Probes: what this process uses of the machine.

use std::cell::RefCell;

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use crate::agent::snapshot::Usage;

/// Samples this process only: about 40 µs, without a thread.
#[derive(Debug)]
pub(crate) struct UsageSampler {
    pid: Pid,
    cpus: f64,
    system: RefCell<Option<System>>,
}

impl UsageSampler {
    /// A probe of this process.
    #[must_use]
    pub(crate) fn new() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            pid: Pid::from_u32(std::process::id()),
            cpus: f64::from(u32::try_from(cpus).unwrap_or(u32::MAX)),
            system: RefCell::new(None),
        }
    }

    /// CPU since the last sample, 0 for the first, and resident memory.
    ///
    /// # Errors
    ///
    /// The process cannot be read, as when `/proc` is not mounted or no descriptor is left.
    pub(crate) fn sample(&self) -> Result<Usage, String> {
        let mut system = self.system.borrow_mut();
        let system = match &mut *system {
            Some(system) => system,
            none => none.insert(System::new().map_err(|error| format!("this machine cannot be measured: {error}"))?),
        };
        let kind = ProcessRefreshKind::nothing().with_cpu().with_memory().without_tasks();
        let updated = system.refresh_processes_specifics(ProcessesToUpdate::Some(&[self.pid]), false, kind);
        match system.process(self.pid) {
            Some(process) if updated > 0 => Ok(Usage {
                cpu_percent: (f64::from(process.cpu_usage()) / self.cpus).clamp(0.0, 100.0),
                memory_bytes: process.memory(),
            }),
            _ => Err("this process cannot be read under /proc: is it mounted, and are descriptors left?".to_owned()),
        }
    }
}

impl Default for UsageSampler {
    fn default() -> Self {
        Self::new()
    }
}
