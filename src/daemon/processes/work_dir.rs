//! Makes the work directory of an agent.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::launcher::NOT_GIVEN;

/// Makes the directory for the daemon's user alone, if it is missing.
pub(super) fn make(work_dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(work_dir)
}

/// Makes the directory for another user, if it is missing. The launcher, which knows the user, gives it away. The
/// directories from `daemon_dir` down to it let others pass.
pub(super) fn make_for_another(work_dir: &Path, daemon_dir: &Path) -> io::Result<()> {
    if let Some(parent) = work_dir.parent() {
        DirBuilder::new().recursive(true).mode(0o711).create(parent)?;
        open_the_way(&fs::canonicalize(parent)?, daemon_dir)?;
    }
    match DirBuilder::new().mode(NOT_GIVEN).create(work_dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && work_dir.is_dir() => Ok(()),
        made => made,
    }
}

/// Lets others pass through the daemon's own directories. They see no names in them.
fn open_the_way(parent: &Path, daemon_dir: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    for directory in parent.ancestors().take_while(|directory| directory.starts_with(daemon_dir)) {
        let metadata = fs::metadata(directory)?;
        let mode = metadata.mode() & 0o7777;
        if metadata.uid() == own && mode & 0o011 != 0o011 {
            fs::set_permissions(directory, Permissions::from_mode(mode | 0o011))?;
        }
    }
    Ok(())
}
