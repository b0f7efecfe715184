//! A file that this process owns: the open directory, the lock, and what the last owner left.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use super::access::FileAccess;
use super::directory::{DirectorySync, sync_directory};
use super::error::{Insecure, LockedFileError};
use super::lock::{Lock, LockError};

/// A file that this process owns: its directory is open and its lock is held.
#[derive(Debug)]
pub struct LockedFile {
    /// The absolute path of the file.
    pub path: PathBuf,
    /// The names of the file and of the files beside it.
    pub names: FileNames,
    /// The open directory that contains them.
    pub directory: OwnedFd,
    /// Who may read the file from the next write on.
    pub access: FileAccess,
    pub(super) lock_path: PathBuf,
    pub(super) lock: Lock,
    pub(super) incarnation: u64,
    /// The lock file held no incarnation, so it may be new.
    is_new: bool,
}

/// The absolute path of the file, its directory, and the names in it.
pub(super) struct Paths {
    pub(super) path: PathBuf,
    pub(super) parent: PathBuf,
    pub(super) names: FileNames,
}

/// The names in the directory.
#[derive(Debug)]
pub struct FileNames {
    /// The file.
    pub file: OsString,
    /// The copy of an unreadable file.
    pub(super) corrupt: OsString,
    pub(super) temp: OsString,
    pub(super) lock: OsString,
}

impl Paths {
    pub(super) fn of(path: &Path) -> Result<Self, LockedFileError> {
        let path = std::path::absolute(path).map_err(|error| LockedFileError::Directory(path.to_owned(), error))?;
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(LockedFileError::NoName(path));
        };
        let names = FileNames {
            file: name.to_owned(),
            temp: beside(OsStr::new("."), name, ".tmp"),
            lock: beside(OsStr::new(""), name, ".lock"),
            corrupt: beside(OsStr::new(""), name, ".corrupt"),
        };
        Ok(Self { parent: parent.to_owned(), path, names })
    }
}

impl LockedFile {
    /// Becomes the owner of the file at `path`. A missing directory is created, which the readers of the file may
    /// enter. Warnings for the operator are added to `notes`.
    ///
    /// `strict` makes a directory that is writable by group or others an error instead of a warning.
    pub fn open(
        path: &Path,
        strict: bool,
        access: FileAccess,
        notes: &mut Vec<String>,
    ) -> Result<Self, LockedFileError> {
        let Paths { path, parent, names } = Paths::of(path)?;
        let directory_error = |error: io::Error| LockedFileError::Directory(parent.clone(), error);
        let directory = open_directory(&parent, access).map_err(directory_error)?;
        notes.extend(insecure(&directory, &parent, strict)?);
        let lock_path = parent.join(&names.lock);
        let lock = Lock::take(directory.as_fd(), &names.lock).map_err(|error| match error {
            LockError::Held(pid) => LockedFileError::Locked(path.clone(), pid),
            LockError::NotAFile => LockedFileError::NotAFile(lock_path.clone()),
            LockError::Io(error) => directory_error(error),
        })?;
        // From here on, no other process may use these names in the directory.
        match rustix::fs::unlinkat(&directory, &names.temp, AtFlags::empty()) {
            Ok(()) => notes.push("the last run ended during a write: its partial temp file is removed".to_owned()),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(directory_error(error.into())),
        }
        let last = lock.incarnation();
        let (is_new, incarnation) = (last.is_none(), last.unwrap_or(0));
        Ok(Self { lock_path, names, directory, access, lock, incarnation, is_new, path })
    }

    /// The incarnation of the last owner. 0 if there is none.
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Records that this process is the owner, with this incarnation. Warnings for the operator are added to `notes`.
    pub fn begin(&mut self, incarnation: u64, notes: &mut Vec<String>) -> io::Result<()> {
        self.incarnation = incarnation;
        self.lock.record_owner(incarnation)?;
        if self.is_new {
            // The name of the lock file must survive a power cut too.
            if sync_directory(&self.directory)? == DirectorySync::Unsupported {
                let directory = self.path.parent().unwrap_or(&self.path).display();
                notes.push(format!(
                    "the file system of {directory} cannot fsync a directory: a power cut may bring back an older file"
                ));
            }
            self.is_new = false;
        }
        Ok(())
    }

    /// Renames the unusable file to its `.corrupt` name. `cause` is why it is unusable. Returns a note for the
    /// operator.
    pub fn quarantine(&self, cause: &str) -> String {
        let aside = self.path.with_file_name(&self.names.corrupt);
        let (path, aside) = (self.path.display(), aside.display());
        match rustix::fs::renameat(&self.directory, &self.names.file, &self.directory, &self.names.corrupt) {
            Ok(()) => format!("{path} cannot be used: {cause}; it is kept as {aside}"),
            Err(failure) => format!("{path} cannot be used: {cause}; it cannot be renamed to {aside}: {failure}"),
        }
    }
}

fn beside(prefix: &OsStr, name: &OsStr, suffix: &str) -> OsString {
    let mut beside = prefix.to_owned();
    beside.push(name);
    beside.push(suffix);
    beside
}

/// Opens the directory. A missing directory is created first.
fn open_directory(path: &Path, access: FileAccess) -> io::Result<OwnedFd> {
    match open_existing(path) {
        Err(Errno::NOENT) => {
            create_directory(path, access)?;
            if let Some(parent) = path.parent() {
                // The new directory must survive a power cut.
                sync_directory(File::open(parent)?)?;
            }
            Ok(open_existing(path)?)
        }
        other => Ok(other?),
    }
}

pub(super) fn open_existing(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))
}

/// Creates the directory and those above it that are missing.
fn create_directory(path: &Path, access: FileAccess) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| path.symlink_metadata().is_err()).collect();
    for directory in missing.into_iter().rev() {
        match DirBuilder::new().mode(0o700).create(directory) {
            Ok(()) => access.give_directory(open_existing(directory)?)?,
            // Another process was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A warning if group or others may write to the directory, which is an error with `strict`.
pub(super) fn insecure(directory: &OwnedFd, path: &Path, strict: bool) -> Result<Option<String>, LockedFileError> {
    let stat =
        rustix::fs::fstat(directory).map_err(|error| LockedFileError::Directory(path.to_owned(), error.into()))?;
    let mode = stat.st_mode & 0o7777;
    let insecure = (mode & 0o022 != 0).then(|| Insecure(path.to_owned(), mode));
    match insecure {
        Some(insecure) if strict => Err(LockedFileError::Insecure(insecure)),
        insecure => Ok(insecure.map(|insecure| insecure.to_string())),
    }
}
