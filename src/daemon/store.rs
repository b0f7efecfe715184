//! The saved registry, `registry.ron` in the daemon's work directory, and the lock that keeps a second daemon out.

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
use ops_runtime::durable::{FileAccess, LockedFile, LockedFileError, Step};
use ops_runtime::errno::{is_shortage, remedy};

/// The name of the file.
const NAME: &str = "registry.ron";

/// The size limit of a registry, in bytes. 1,000 agents take about half a megabyte.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Holds the work directory and saves the registry there. Clones share the lock. The last drop releases it.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
    // Locked during a write, on a blocking thread.
    file: Arc<Mutex<LockedFile>>,
}

/// What an earlier daemon left.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The registry, if there is one.
    pub registry: Option<SavedRegistry>,
    /// Warnings for the log.
    pub notes: Vec<String>,
}

/// Why the daemon cannot use its work directory.
#[derive(Debug)]
pub enum StoreError {
    /// Another daemon uses it: its pid, if it is known.
    Locked(PathBuf, Option<u32>),
    /// It cannot be created, opened or written to.
    Directory(PathBuf, io::Error),
    /// The registry or the lock is not a regular file.
    NotAFile(PathBuf),
    /// The registry exists but cannot be read. Going on without it would start every agent a second time.
    Unreadable(PathBuf, io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked(path, Some(pid)) => {
                write!(f, "another daemon (pid {pid}) uses {}: stop it, or set another `work_dir`", path.display())
            }
            Self::Locked(path, None) => {
                write!(f, "another daemon uses {}: stop it, or set another `work_dir`", path.display())
            }
            Self::Directory(path, error) => {
                write!(f, "work directory {} cannot be used: {}", path.display(), remedy(error))
            }
            Self::NotAFile(path) => {
                write!(f, "{} is not a regular file: remove it, or set another `work_dir`", path.display())
            }
            Self::Unreadable(path, error) if is_shortage(error) => {
                write!(f, "{} cannot be read: {}", path.display(), remedy(error))
            }
            Self::Unreadable(path, _) => write!(
                f,
                "{} cannot be read: make it readable for the daemon's user, or remove it to forget all agents",
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

/// Why the registry was not saved.
#[derive(Debug)]
pub struct SaveError {
    /// The step that failed.
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
    /// Locks the work directory, which is created if missing, and reads the registry of an earlier daemon. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the daemon cannot start.
    pub fn open(work_dir: &Path) -> Result<(Self, Loaded), StoreError> {
        let mut loaded = Loaded::default();
        let mut file =
            LockedFile::open(&work_dir.join(NAME), false, FileAccess::PRIVATE, &mut loaded.notes).map_err(|error| {
                match error {
                    LockedFileError::Locked(_, pid) => StoreError::Locked(work_dir.to_owned(), pid),
                    LockedFileError::Directory(path, error) => StoreError::Directory(path, error),
                    LockedFileError::NotAFile(path) | LockedFileError::NoName(path) => StoreError::NotAFile(path),
                    LockedFileError::Insecure(insecure) => {
                        StoreError::Directory(insecure.0, io::ErrorKind::PermissionDenied.into())
                    }
                }
            })?;
        loaded.registry = load(&file, &mut loaded.notes)?;
        // A second daemon names this pid in its error.
        if let Err(error) = file.begin(file.incarnation().saturating_add(1), &mut loaded.notes) {
            loaded
                .notes
                .push(format!("the daemon's pid cannot be written to its lock file: {}: {error}", remedy(&error)));
        }
        Ok((Self { path: file.path.clone(), file: Arc::new(Mutex::new(file)) }, loaded))
    }

    /// Saves the registry. `Ok` means that it is durable.
    ///
    /// A second save waits for the first without a limit. If the future is dropped, the file stays whole.
    ///
    /// # Errors
    ///
    /// [`SaveError`] names the step that failed. The file then still has the previous content, or the new content if only the last
    /// step failed. The next save writes everything anew.
    pub async fn save(&self, registry: SavedRegistry) -> Result<(), SaveError> {
        let (path, file) = (self.path.clone(), Arc::clone(&self.file));
        let saved = blocking::unblock(move || {
            let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
            encode(&registry)
                .map_err(|error| (Step::Encode, io::Error::other(error)))
                .and_then(|text| file.write(&text))
                .map_err(|(step, source)| SaveError { step, path: file.path.clone(), source })
        });
        saved.await.unwrap_or_else(|source| Err(SaveError { step: Step::Begin, path, source }))
    }
}

fn load(locked: &LockedFile, notes: &mut Vec<String>) -> Result<Option<SavedRegistry>, StoreError> {
    let path = || locked.path.clone();
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match retry_on_intr(|| rustix::fs::openat(&locked.directory, &locked.names.file, flags, Mode::empty())) {
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
            notes.push(locked.quarantine(&error.to_string()));
            Ok(None)
        }
    }
}
