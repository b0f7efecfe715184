//! The records of starts: `starts/ID.ron` in the daemon's work directory, one small file for each agent.
//!
//! A record is written before the program runs, so the next daemon finds every process of this one, also if the registry is
//! lost. It is replaced by a rename, but not synced: it is void after a crash of the host, because so are its processes.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::retry_on_intr;
use serde::{Deserialize, Serialize};
use statemachine::supervision::Identity;

use super::absent_is_fine;
use super::secret::StartSecret;
use ops_runtime::small_file;

/// The name of the directory.
const DIRECTORY: &str = "starts";

/// The size limit of a record, in bytes.
const MAX_BYTES: usize = 4096;

/// One agent's last start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartRecord {
    /// The secret of the start.
    secret: Option<String>,
    /// The main process.
    process: Option<Identity>,
    /// Whether an operator stopped the agent.
    stopped: bool,
}

impl StartRecord {
    pub(crate) fn secret(&self) -> Option<StartSecret> {
        self.secret.as_deref().map(StartSecret::presented)
    }

    pub(crate) const fn process(&self) -> Option<Identity> {
        self.process
    }
}

/// All records. Clones share them. Blocks on the disk.
#[derive(Debug, Clone)]
pub struct Starts {
    directory: PathBuf,
    records: Arc<Mutex<HashMap<String, StartRecord>>>,
}

impl Starts {
    /// Reads all records in a daemon's work directory. A damaged one counts as missing, and its agent is then found by its secret.
    ///
    /// # Errors
    ///
    /// If the directory cannot be created or read.
    pub fn open(work_dir: &Path) -> io::Result<Self> {
        let directory = work_dir.join(DIRECTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let mut records = HashMap::new();
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let id = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".ron"));
            let Some(id) = id.filter(|id| !id.starts_with('.')) else { continue };
            let Some(bytes) = small_file::read(&path, MAX_BYTES).ok().flatten() else { continue };
            if let Ok(record) = ron::de::from_bytes(&bytes) {
                records.insert(id.to_owned(), record);
            }
        }
        Ok(Self { directory, records: Arc::new(Mutex::new(records)) })
    }

    /// The record of an agent.
    pub fn get(&self, id: &str) -> Option<StartRecord> {
        self.records().get(id).cloned()
    }

    /// A start. Has to be called before the program runs.
    ///
    /// # Errors
    ///
    /// If the record cannot be written. Then the secret alone leads the next daemon to the process.
    pub fn started(&self, id: &str, secret: &StartSecret, process: Identity) -> io::Result<()> {
        self.update(id, |record| {
            record.secret = Some(secret.reveal().to_owned());
            record.process = Some(process);
        })
    }

    /// The agents that an operator has stopped.
    pub(crate) fn stopped(&self) -> Vec<String> {
        self.records().iter().filter(|(_, record)| record.stopped).map(|(id, _)| id.clone()).collect()
    }

    /// Records whether operators have stopped these agents. Forgets agents that are not among them.
    ///
    /// # Errors
    ///
    /// If a record cannot be written. The others are.
    pub(crate) fn set_stopped(&self, agents: &BTreeMap<&str, bool>) -> io::Result<()> {
        let known: Vec<String> = self.records().keys().cloned().collect();
        let mut result = Ok(());
        for id in known.iter().filter(|id| !agents.contains_key(id.as_str())) {
            self.records().remove(id);
            result = absent_is_fine(fs::remove_file(self.path(id))).or(result);
        }
        for (id, stopped) in agents {
            let is_recorded = self.records().get(*id).map_or(!stopped, |record| record.stopped == *stopped);
            if !is_recorded {
                result = self.update(id, |record| record.stopped = *stopped).or(result);
            }
        }
        result
    }

    fn update(&self, id: &str, change: impl FnOnce(&mut StartRecord)) -> io::Result<()> {
        let mut records = self.records();
        let record = records.entry(id.to_owned()).or_default();
        change(record);
        let text = ron::to_string(record).map_err(io::Error::other)?;
        let unfinished = self.directory.join(format!(".{id}.new"));
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = retry_on_intr(|| rustix::fs::open(&unfinished, flags, Mode::RUSR | Mode::WUSR))?;
        File::from(file).write_all(text.as_bytes())?;
        fs::rename(unfinished, self.path(id))
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.ron"))
    }

    fn records(&self) -> MutexGuard<'_, HashMap<String, StartRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(pid: u32) -> Identity {
        Identity { pid, start_ticks: 7, boot: "00000000-0000-0000-0000-000000000001".parse().unwrap() }
    }

    #[test]
    fn the_next_daemon_reads_what_was_recorded() {
        let directory = tempfile::tempdir().unwrap();
        let starts = Starts::open(directory.path()).unwrap();
        let secret = StartSecret::presented("nonce.mac");
        starts.started("a", &secret, identity(5)).unwrap();
        let read = Starts::open(directory.path()).unwrap().get("a").unwrap();
        assert_eq!((read.secret(), read.process()), (Some(secret), Some(identity(5))));
    }

    #[test]
    fn a_requested_stop_is_remembered_until_the_agent_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let starts = Starts::open(directory.path()).unwrap();
        let stopped = || Starts::open(directory.path()).unwrap().stopped();
        starts.set_stopped(&BTreeMap::from([("a", true), ("b", false)])).unwrap();
        assert_eq!(stopped(), ["a"]);
        starts.set_stopped(&BTreeMap::from([("a", false), ("b", true)])).unwrap();
        assert_eq!(stopped(), ["b"]);
        starts.set_stopped(&BTreeMap::from([("a", false)])).unwrap();
        assert_eq!(stopped(), [""; 0]);
        assert_eq!(starts.get("b"), None);
    }

    #[test]
    fn a_damaged_record_counts_as_missing() {
        let directory = tempfile::tempdir().unwrap();
        let starts = Starts::open(directory.path()).unwrap();
        starts.started("a", &StartSecret::presented("x"), identity(5)).unwrap();
        fs::write(directory.path().join("starts/a.ron"), "(pid:").unwrap();
        assert_eq!(Starts::open(directory.path()).unwrap().get("a"), None);
    }
}
