//! Fsync of a directory, which not every file system can do.

use std::os::fd::AsFd;

use rustix::io::{Errno, retry_on_intr};

/// What an fsync of a directory achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DirectorySync {
    /// The names in the directory are on the disk.
    Done,
    /// The file system has no fsync of a directory (CIFS, vboxsf, some FUSE file systems).
    Unsupported,
}

/// Writes the names in the directory to the disk, if its file system can do that. Every other failure is an error.
pub(super) fn sync_directory(directory: impl AsFd) -> Result<DirectorySync, Errno> {
    match retry_on_intr(|| rustix::fs::fsync(&directory)) {
        Ok(()) => Ok(DirectorySync::Done),
        Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(DirectorySync::Unsupported),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::{Mode, OFlags};

    use super::*;

    #[test]
    fn a_file_system_without_fsync_of_directories_is_no_error() {
        assert_eq!(sync_directory(File::open(env!("CARGO_MANIFEST_DIR")).unwrap()), Ok(DirectorySync::Done));
        // procfs answers EINVAL.
        assert_eq!(sync_directory(File::open("/proc").unwrap()), Ok(DirectorySync::Unsupported));
    }

    #[test]
    fn another_failure_is_an_error() {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let unusable = rustix::fs::open("/", flags, Mode::empty()).unwrap();
        assert_eq!(sync_directory(unusable), Err(Errno::BADF));
    }
}
