//! Who may read the status file, by the configuration.

use super::OpenError;
use ops_config::agent::{StateConfig, find_group};
use ops_runtime::durable::FileAccess;

/// The mode and the group of the status file. May ask a name service, so call it on a blocking thread.
pub(crate) fn access(state: &StateConfig) -> Result<FileAccess, OpenError> {
    let find = |name: &String| match find_group(name) {
        Ok(Some(group)) => Ok(group.gid.as_raw()),
        Ok(None) | Err(_) => Err(OpenError::NoGroup(name.clone())),
    };
    let group = state.group.as_ref().map(find).transpose()?;
    Ok(FileAccess { mode: state.mode, group })
}
