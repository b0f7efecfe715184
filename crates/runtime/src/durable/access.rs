//! Who may read a file besides its owner.

use std::os::fd::AsFd;

use rustix::fs::{Gid, Mode, fchmod, fchown, fstat};
use rustix::io::{Errno, retry_on_intr};

/// The mode and the group of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileAccess {
    /// The permissions.
    pub mode: u32,
    /// The group. `None`: the one that the system gives to a new file.
    pub group: Option<u32>,
}

impl FileAccess {
    /// Only the owner may read and write. Every file is created so.
    pub const PRIVATE: Self = Self { mode: 0o600, group: None };

    /// Gives this access to a file that was created with [`FileAccess::PRIVATE`].
    pub(super) fn give(self, file: impl AsFd) -> Result<(), Errno> {
        self.give_as(&file, self.mode, Self::PRIVATE.mode)
    }

    /// Lets the readers of the file enter its directory, which was created with the mode 0700.
    pub(super) fn give_directory(self, directory: impl AsFd) -> Result<(), Errno> {
        self.give_as(&directory, 0o700 | (self.mode & 0o044) >> 2, 0o700)
    }

    fn give_as(self, file: &impl AsFd, mode: u32, created: u32) -> Result<(), Errno> {
        // First the group, so that the mode never serves another one. A service manager may forbid the call, so it is
        // made only if the group differs.
        if let Some(group) = self.group
            && fstat(file)?.st_gid != group
        {
            retry_on_intr(|| fchown(file, None, Some(Gid::from_raw(group))))?;
        }
        if mode != created {
            retry_on_intr(|| fchmod(file, Mode::from_raw_mode(mode)))?;
        }
        Ok(())
    }
}
