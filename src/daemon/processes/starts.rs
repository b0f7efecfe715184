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
use serde::{Deserialize, Deserializer, Serialize, Serializer};
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
    #[serde(serialize_with = "reveal", deserialize_with = "presented")]
    secret: Option<StartSecret>,
    /// The main process.
    process: Option<Identity>,
    /// The user that it runs as. `None`: that of the daemon.
    user: Option<u32>,
    /// Whether it has sent a proved heartbeat.
    proved: bool,
    /// Whether an operator stopped the agent.
    stopped: bool,
}

impl StartRecord {
    pub(crate) fn secret(&self) -> Option<StartSecret> {
        self.secret.clone()
    }

    pub(crate) const fn process(&self) -> Option<Identity> {
        self.process
    }

    pub(crate) const fn user(&self) -> Option<u32> {
        self.user
    }
}

/// What a record has of the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RecordedAgent {
    /// Whether an operator stopped the agent.
    pub stopped: bool,
    /// Whether its process has sent a proved heartbeat.
    pub proved: bool,
}

/// All records. Clones share them. Blocks on the disk.
#[derive(Debug, Clone)]
pub struct Starts {
    directory: PathBuf,
    records: Arc<Mutex<HashMap<Arc<str>, StartRecord>>>,
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
                records.insert(id.into(), record);
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
    pub fn started(&self, id: &Arc<str>, secret: &StartSecret, process: Identity, user: Option<u32>) -> io::Result<()> {
        self.update(id, |record| {
            record.secret = Some(secret.clone());
            record.process = Some(process);
            record.user = user;
            record.proved = false;
        })
    }

    /// The agents that an operator has stopped.
    pub(crate) fn stopped(&self) -> Vec<String> {
        self.records().iter().filter(|(_, record)| record.stopped).map(|(id, _)| id.to_string()).collect()
    }

    /// The agents whose process has sent a proved heartbeat, with that process.
    pub(crate) fn proved(&self) -> Vec<(String, Identity)> {
        let records = self.records();
        let proved = records.iter().filter(|(_, record)| record.proved);
        proved.filter_map(|(id, record)| Some((id.to_string(), record.process?))).collect()
    }

    /// Records what the registry knows of each agent. Forgets agents that are not among them.
    ///
    /// # Errors
    ///
    /// If a record cannot be written. The others are.
    pub(crate) fn record(&self, agents: &BTreeMap<&str, RecordedAgent>) -> io::Result<()> {
        let known: Vec<Arc<str>> = self.records().keys().cloned().collect();
        let mut result = Ok(());
        for id in known.iter().filter(|id| !agents.contains_key(&***id)) {
            self.records().remove(id);
            result = absent_is_fine(fs::remove_file(self.path(id))).or(result);
        }
        for (id, RecordedAgent { stopped, proved }) in agents {
            let is_recorded = self
                .records()
                .get(*id)
                .map_or(!(*stopped || *proved), |record| (record.stopped, record.proved) == (*stopped, *proved));
            if !is_recorded {
                result = self
                    .update(&Arc::from(*id), |record| (record.stopped, record.proved) = (*stopped, *proved))
                    .or(result);
            }
        }
        result
    }

    fn update(&self, id: &Arc<str>, change: impl FnOnce(&mut StartRecord)) -> io::Result<()> {
        let mut records = self.records();
        let record = records.entry(Arc::clone(id)).or_default();
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

    fn records(&self) -> MutexGuard<'_, HashMap<Arc<str>, StartRecord>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn reveal<S: Serializer>(secret: &Option<StartSecret>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(StartSecret::reveal).serialize(serializer)
}

fn presented<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<StartSecret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().map(StartSecret::presented))
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
        starts.started(&"a".into(), &secret, identity(5), Some(7)).unwrap();
        let read = Starts::open(directory.path()).unwrap().get("a").unwrap();
        assert_eq!((read.secret(), read.process(), read.user()), (Some(secret), Some(identity(5)), Some(7)));
    }

    #[test]
    fn a_requested_stop_and_a_proof_are_remembered_until_the_agent_is_gone() {
        const NO: RecordedAgent = RecordedAgent { stopped: false, proved: false };
        const STOPPED: RecordedAgent = RecordedAgent { stopped: true, ..NO };
        const PROVED: RecordedAgent = RecordedAgent { proved: true, ..NO };
        let directory = tempfile::tempdir().unwrap();
        let starts = Starts::open(directory.path()).unwrap();
        let read = || {
            let starts = Starts::open(directory.path()).unwrap();
            (starts.stopped(), starts.proved())
        };
        starts.started(&"a".into(), &StartSecret::presented("x"), identity(5), None).unwrap();
        starts.record(&BTreeMap::from([("a", STOPPED), ("b", NO)])).unwrap();
        assert_eq!(read(), (vec!["a".to_owned()], Vec::new()));
        starts.record(&BTreeMap::from([("a", PROVED), ("b", STOPPED)])).unwrap();
        assert_eq!(read(), (vec!["b".to_owned()], vec![("a".to_owned(), identity(5))]));
        starts.started(&"a".into(), &StartSecret::presented("y"), identity(6), None).unwrap();
        starts.record(&BTreeMap::from([("a", NO)])).unwrap();
        assert_eq!(read(), (Vec::new(), Vec::new()), "a new start has proved nothing");
        assert_eq!(starts.get("b"), None);
    }

    #[test]
    fn a_damaged_record_counts_as_missing() {
        let directory = tempfile::tempdir().unwrap();
        let starts = Starts::open(directory.path()).unwrap();
        starts.started(&"a".into(), &StartSecret::presented("x"), identity(5), None).unwrap();
        fs::write(directory.path().join("starts/a.ron"), "(pid:").unwrap();
        assert_eq!(Starts::open(directory.path()).unwrap().get("a"), None);
    }
}
