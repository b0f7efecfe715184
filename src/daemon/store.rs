//! The saved registry: `registry.ron` in the daemon's work directory, and the lock that makes this daemon the only one
//! there.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::registry::{SavedRegistry, decode, encode};
use ops_runtime::blocking;
use ops_runtime::durable::{LockedFile, OpenError, Step};
use ops_runtime::errno::{is_shortage, remedy};

/// The name of the file.
const NAME: &str = "registry.ron";

/// No registry is longer, in bytes: one of 1,000 agents takes about half a megabyte.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Holds the work directory and saves the registry there. Clones share it; it is free again when the last is dropped.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    // Locked by whoever writes, on the pool.
    place: Arc<Mutex<LockedFile>>,
}

/// What an earlier daemon left.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The registry, if there is one.
    pub registry: Option<SavedRegistry>,
    /// What an operator should know, each to be logged as a warning.
    pub notes: Vec<String>,
}

/// Why the daemon cannot use its work directory.
#[derive(Debug)]
pub enum StoreError {
    /// Another daemon does: this one, if it has said so yet.
    Locked(PathBuf, Option<u32>),
    /// It cannot be made, opened or written to.
    Directory(PathBuf, io::Error),
    /// What is in the registry's or the lock's place is no regular file.
    NotAFile(PathBuf),
    /// The registry is there, but cannot be read. To go on without it would be to start every agent a second time.
    Unreadable(PathBuf, io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path, Some(pid)) => {
                write!(f, "another daemon, pid {pid}, works in {}: stop it, or set another `work_dir`", path.display())
            }
            Self::Locked(path, None) => {
                write!(f, "another daemon works in {}: stop it, or set another `work_dir`", path.display())
            }
            Self::Directory(path, error) => {
                write!(f, "work directory {} cannot be used: {}", path.display(), remedy(error))
            }
            Self::NotAFile(path) => {
                write!(f, "{} is no regular file: remove it, or set another `work_dir`", path.display())
            }
            Self::Unreadable(path, error) if is_shortage(error) => {
                write!(f, "{} cannot be read: {}", path.display(), remedy(error))
            }
            Self::Unreadable(path, _) => write!(
                f,
                "{} cannot be read: let the daemon's user read it, or remove it, after which no agent is known any more",
                path.display()
            ),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Directory(_, error) | Self::Unreadable(_, error) => Some(error),
            Self::Locked(..) | Self::NotAFile(_) => None,
        }
    }
}

/// Why the registry is not on disk.
#[derive(Debug)]
pub struct SaveError {
    /// What failed.
    pub step: Step,
    path: PathBuf,
    source: io::Error,
}

impl fmt::Display for SaveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { step, path, source } = self;
        write!(f, "registry {} not saved ({} failed): {}", path.display(), step.as_str(), remedy(source))
    }
}

impl Error for SaveError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.source)
    }
}

impl Store {
    /// Takes possession of the work directory, which is made if missing, and reads what an earlier daemon left there.
    /// Blocking: to be called before the loop runs.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the daemon cannot start.
    pub fn open(work_dir: &Path) -> Result<(Self, Loaded), StoreError> {
        let mut loaded = Loaded::default();
        let mut place =
            LockedFile::open(&work_dir.join(NAME), false, &mut loaded.notes).map_err(|error| match error {
                OpenError::Locked(_, pid) => StoreError::Locked(work_dir.to_owned(), pid),
                OpenError::Directory(path, error) => StoreError::Directory(path, error),
                OpenError::NotAFile(path) | OpenError::NoName(path) => StoreError::NotAFile(path),
                OpenError::Insecure(insecure) => {
                    StoreError::Directory(insecure.0, io::ErrorKind::PermissionDenied.into())
                }
            })?;
        loaded.registry = load(&place, &mut loaded.notes)?;
        // For the one who comes second, which wants to say who was first.
        if let Err(error) = place.begin(place.incarnation().saturating_add(1)) {
            loaded.notes.push(format!("the daemon's pid is not in its lock file: {}: {error}", remedy(&error)));
        }
        Ok((Self { path: place.path.clone(), place: Arc::new(Mutex::new(place)) }, loaded))
    }

    /// Saves the registry. When this returns `Ok`, it is there to stay.
    ///
    /// One at a time, please: a second one waits for the first, however long that takes. The future may be dropped; the
    /// file is whole whatever becomes of it.
    ///
    /// # Errors
    ///
    /// [`SaveError`] names the step that failed. The file is then still the last whole one, or, if only the last step
    /// failed, the new one. The next save starts from scratch.
    pub async fn save(&self, registry: SavedRegistry) -> Result<(), SaveError> {
        let (path, place) = (self.path.clone(), Arc::clone(&self.place));
        let saved = blocking::unblock(move || {
            let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
            encode(&registry)
                .map_err(|error| (Step::Encode, io::Error::other(error)))
                .and_then(|text| place.write(&text))
                .map_err(|(step, source)| SaveError { step, path: place.path.clone(), source })
        });
        saved.await.unwrap_or_else(|source| Err(SaveError { step: Step::Begin, path, source }))
    }
}

fn load(place: &LockedFile, notes: &mut Vec<String>) -> Result<Option<SavedRegistry>, StoreError> {
    let path = || place.path.clone();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| rustix::fs::openat(&place.directory, &place.names.file, flags, Mode::empty())) {
        Ok(fd) => File::from(fd),
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP | Errno::NXIO) => return Err(StoreError::NotAFile(path())),
        Err(error) => return Err(StoreError::Unreadable(path(), error.into())),
    };
    let unreadable = |error| StoreError::Unreadable(path(), error);
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(StoreError::NotAFile(path()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(unreadable)?;
    match decode(&String::from_utf8_lossy(&bytes)) {
        Ok(registry) => Ok(Some(registry)),
        Err(error) => {
            notes.push(place.quarantine(&error.to_string()));
            Ok(None)
        }
    }
}
