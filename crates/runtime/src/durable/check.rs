//! Says beforehand why this process could not become the owner of a file.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType, accessat, statat};
use rustix::io::{Errno, retry_on_intr};

use super::error::LockedFileError;
use super::locked_file::{LockedFile, Paths, insecure, open_existing};

impl LockedFile {
    /// Looks for what [`LockedFile::open`] would refuse, and returns its warnings about the directory. Changes nothing,
    /// and does not ask for the lock, which a running owner has.
    pub fn check(path: &Path, strict: bool) -> Result<Vec<String>, LockedFileError> {
        let Paths { path, parent, names } = Paths::of(path)?;
        let refused = |error: Errno| LockedFileError::Directory(parent.clone(), error.into());
        let directory = match open_existing(&parent) {
            Err(Errno::NOENT) => {
                let existing = parent.ancestors().find(|directory| directory.symlink_metadata().is_ok());
                let above = open_existing(existing.unwrap_or(Path::new("/"))).map_err(refused)?;
                may(&above, OsStr::new("."), Access::WRITE_OK | Access::EXEC_OK).map_err(refused)?;
                return Ok(Vec::new());
            }
            other => other.map_err(refused)?,
        };
        let insecure = insecure(&directory, &parent, strict)?;
        may(&directory, OsStr::new("."), Access::WRITE_OK | Access::EXEC_OK).map_err(refused)?;
        if let Some(kind) = kind(&directory, &names.lock).map_err(refused)? {
            if kind != FileType::RegularFile {
                return Err(LockedFileError::NotAFile(parent.join(&names.lock)));
            }
            may(&directory, &names.lock, Access::READ_OK | Access::WRITE_OK).map_err(refused)?;
        }
        match kind(&directory, &names.file).map_err(refused)? {
            // A write replaces a link.
            None | Some(FileType::RegularFile | FileType::Symlink) => {}
            Some(_) => return Err(LockedFileError::NotAFile(path)),
        }
        Ok(insecure.into_iter().collect())
    }
}

fn may(directory: &OwnedFd, name: &OsStr, access: Access) -> Result<(), Errno> {
    retry_on_intr(|| accessat(directory, name, access, AtFlags::empty()))
}

/// What is at this name, if anything is.
fn kind(directory: &OwnedFd, name: &OsStr) -> Result<Option<FileType>, Errno> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
