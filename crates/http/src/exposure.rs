//! Warns of named files that other users of the host can change, and of secrets that they can read.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::tls::{FileProblem, Role};

/// A warning about the permissions of a file with this purpose. The group may read a secret, because a group is how a
/// secret is shared with a program.
pub(crate) fn exposure(role: Role, path: &Path) -> Option<FileProblem> {
    let mode = fs::metadata(path).ok()?.mode();
    let secret = match role {
        Role::Key => Some("key"),
        Role::Token => Some("token"),
        Role::Cert | Role::Ca => None,
        // It is not one file.
        Role::SystemRoots => return None,
    };
    let (fact, done) = match secret {
        _ if mode & 0o022 != 0 => ("which others can write", "read or changed"),
        Some(_) if mode & 0o004 != 0 => ("which all users of this host can read", "read"),
        _ => return None,
    };
    let remedy = match secret {
        Some(secret) => format!("run `chmod o-rwx,g-w` on it, and replace the {secret} if others may have {done} it"),
        None => "run `chmod go-w` on it, and replace it if others may have changed it".to_owned(),
    };
    Some(FileProblem::new(role, path, fact, &remedy))
}
