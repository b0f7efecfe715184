//! The start secrets in the environments of processes outside of all trees.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use super::secret::{self, StartSecret};
use super::table::Key;

/// How often the environment of a process may read empty before the process counts as one without variables.
const MAX_UNSURE: u8 = 16;

/// A secret in the environment of a process. A process that knows the secret can put it there, so it counts with its user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CarriedSecret {
    pub(super) secret: StartSecret,
    /// The user of the process.
    pub(super) user: u32,
}

impl CarriedSecret {
    /// Whether the process runs as `user`, or as the user of the daemon.
    pub(super) fn is_of(&self, user: Option<u32>) -> bool {
        Some(self.user) == user || self.user == rustix::process::geteuid().as_raw()
    }
}

/// What is known of one environment.
#[derive(Debug)]
enum Carried {
    Secret(CarriedSecret),
    Nothing,
    /// It read empty so many times. It does so while the process executes a program.
    Unsure(u8),
}

/// What is known of the environments of processes outside of all trees. The environment is read once for each process.
#[derive(Debug, Default)]
pub(super) struct KnownSecrets(Mutex<HashMap<Key, Carried>>);

impl KnownSecrets {
    /// The secrets of these processes, and whether one of them may carry one that could not be read.
    pub(super) fn look_up(&self, processes: impl Iterator<Item = Key>) -> (HashMap<u32, CarriedSecret>, bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut present = HashMap::new();
        let mut found = HashMap::new();
        let mut is_unsure = false;
        for key in processes {
            let carried = match known.remove(&key) {
                Some(Carried::Unsure(times)) => read_again(key.0, times),
                None => read_again(key.0, 0),
                Some(known) => known,
            };
            match &carried {
                Carried::Secret(secret) => drop(found.insert(key.0, secret.clone())),
                Carried::Nothing => {}
                Carried::Unsure(_) => is_unsure = true,
            }
            present.insert(key, carried);
        }
        *known = present;
        (found, is_unsure)
    }
}

fn read_again(pid: u32, times: u8) -> Carried {
    if let Some(secret) = secret_of(pid) {
        return secret.map_or(Carried::Nothing, Carried::Secret);
    }
    // While a program is executed, the arguments read empty too. But by now the execution may be over, so one look is not enough.
    let has_arguments = fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|arguments| !arguments.is_empty());
    let times = times + if has_arguments { MAX_UNSURE / 2 } else { 1 };
    if times < MAX_UNSURE { Carried::Unsure(times) } else { Carried::Nothing }
}

/// The secret in the environment of a process. `None`: the environment reads empty.
fn secret_of(pid: u32) -> Option<Option<CarriedSecret>> {
    let directory = format!("/proc/{pid}");
    let environment = match fs::read(format!("{directory}/environ")) {
        Ok(environment) => environment,
        Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => of_another_thread(&directory),
        Err(_) => return Some(None),
    };
    if environment.is_empty() {
        return None;
    }
    let value = |line: &[u8]| {
        let value = line.strip_prefix(secret::VARIABLE.as_bytes())?.strip_prefix(b"=")?;
        Some(StartSecret::presented(std::str::from_utf8(value).ok()?))
    };
    let secret = environment.split(|byte| *byte == 0).find_map(value);
    // A process that is gone carries nothing.
    Some(secret.and_then(|secret| Some(CarriedSecret { secret, user: fs::metadata(directory).ok()?.uid() })))
}

/// The environment of a process whose first thread has ended. Without that thread, `/proc/PID/environ` cannot be read.
fn of_another_thread(directory: &str) -> Vec<u8> {
    let Ok(threads) = fs::read_dir(format!("{directory}/task")) else { return Vec::new() };
    let mut environments = threads.filter_map(|thread| fs::read(thread.ok()?.path().join("environ")).ok());
    environments.find(|environment| !environment.is_empty()).unwrap_or_default()
}
