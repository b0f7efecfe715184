//! The environment of an agent: the daemon's own, without what the service manager said to the daemon, and without what the two
//! programs would read as overrides of their configuration.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::Path;

use super::secret::{self, StartSecret};
use ops_config::daemon::{EnvFileError, ProcessSettings, RESERVED_VARIABLES};

/// The variable that names the agent and its daemon for people. It proves nothing.
const LABEL: &str = RESERVED_VARIABLES[1];

/// Variables of the daemon's service manager that agents must not inherit. An agent would report readiness, feed the watchdog or
/// take listeners in the daemon's name.
///
/// The list is that of systemd.exec(5), "Environment Variables Set or Propagated by the Service Manager", without those that
/// describe the user.
const SERVICE_MANAGER_VARIABLES: [&str; 24] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDNAMES",
    "FDSTORE",
    "JOURNAL_STREAM",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "MANAGERPID",
    "MANAGERPIDFDID",
    "MAINPID",
    "MAINPIDFDID",
    "PIDFILE",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "CACHE_DIRECTORY",
    "LOGS_DIRECTORY",
    "CONFIGURATION_DIRECTORY",
    "CREDENTIALS_DIRECTORY",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
];

/// Variables that describe a user: directory, name, name and shell. The launcher sets those of another user than the daemon's.
pub(super) const USER_VARIABLES: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

/// The daemon's own environment, as `NAME=value`, without what was said to the daemon alone. `overrides` are the variables that
/// stand for a key of a configuration.
pub(crate) fn inherited(own: impl IntoIterator<Item = (OsString, OsString)>, overrides: &[String]) -> Vec<OsString> {
    let is_dropped = |name: &OsStr| {
        name == secret::VARIABLE
            || name == LABEL
            || SERVICE_MANAGER_VARIABLES.iter().any(|dropped| name == *dropped)
            || overrides.iter().any(|dropped| name == dropped.as_str())
    };
    own.into_iter().filter(|(name, _)| !is_dropped(name)).map(|(name, value)| variable(&name, &value)).collect()
}

/// The environment of an agent, as `NAME=value`. `overrides` are the variables that stand for a key of a configuration.
pub fn of_agent(
    own: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: &[String],
    id: &str,
    work_dir: &Path,
    secret: &StartSecret,
) -> Vec<OsString> {
    let secret = variable(OsStr::new(secret::VARIABLE), OsStr::new(secret.reveal()));
    let mut environment = of_check(own, overrides, id, work_dir);
    environment.push(secret);
    environment
}

/// The environment of a check of an agent: that of the agent, without its start secret.
pub(crate) fn of_check(
    own: impl IntoIterator<Item = (OsString, OsString)>,
    overrides: &[String],
    id: &str,
    work_dir: &Path,
) -> Vec<OsString> {
    let mut environment = inherited(own, overrides);
    environment.push(label(id, work_dir));
    environment
}

/// The environment with the variables of the agent's settings, which replace others of the same name. With another user,
/// the variables of the daemon's user are left out. Blocks on the disk.
///
/// # Errors
///
/// If the file with variables cannot be used.
pub(super) fn with_settings(
    environment: Vec<OsString>,
    settings: &ProcessSettings,
) -> Result<Vec<OsString>, EnvFileError> {
    let mut added = BTreeMap::new();
    if let Some(file) = &settings.env_file {
        added.extend(file.read()?);
    }
    added.extend(settings.env.iter());
    let has_user = settings.attributes.user.is_some();
    let is_replaced = |variable: &OsString| {
        let name = name_of(variable);
        added.contains_key(name) || has_user && USER_VARIABLES.iter().any(|of| name == *of)
    };
    let kept: Vec<OsString> = environment.into_iter().filter(|variable| !is_replaced(variable)).collect();
    Ok(kept.into_iter().chain(added.iter().map(|(name, value)| variable(name, value))).collect())
}

/// `OPS_AGENT_SUPERVISED_AS=ID@WORK_DIR`.
fn label(id: &str, work_dir: &Path) -> OsString {
    let value = [OsStr::new(id), OsStr::new("@"), work_dir.as_os_str()].map(OsStr::as_encoded_bytes).concat();
    variable(OsStr::new(LABEL), &OsString::from_vec(value))
}

/// The name of a variable in the form `NAME=value`.
pub(super) fn name_of(variable: &OsStr) -> &OsStr {
    OsStr::from_bytes(variable.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default())
}

/// `NAME=value`.
pub(crate) fn variable(name: &OsStr, value: &OsStr) -> OsString {
    let parts = [name, OsStr::new("="), value];
    OsString::from_vec(parts.map(OsStr::as_encoded_bytes).concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_setting_replaces_what_the_daemon_sets() {
        assert_eq!(RESERVED_VARIABLES, [secret::VARIABLE, "OPS_AGENT_SUPERVISED_AS"]);
    }

    #[test]
    fn what_was_said_to_the_daemon_is_not_passed_on() {
        let own = [
            ("PATH", "/bin"),
            ("STATE_DIRECTORY", "/var/lib/daemon"),
            ("NOTIFY_SOCKET", "/run/notify"),
            ("AGENT_HTTP_PORT", "1"),
            ("AGENT_OF_ANOTHER_PROGRAM", "kept"),
            (LABEL, "outer@/state"),
            (secret::VARIABLE, "outer"),
        ];
        let own = own.map(|(name, value)| (name.into(), value.into()));
        let overrides = ["AGENT_HTTP_PORT".to_owned()];
        let secret = StartSecret::presented("nonce.mac");
        let environment = of_agent(own, &overrides, "a", Path::new("/state"), &secret);
        let expected = [
            "PATH=/bin",
            "AGENT_OF_ANOTHER_PROGRAM=kept",
            "OPS_AGENT_SUPERVISED_AS=a@/state",
            "OPS_AGENT_START_SECRET=nonce.mac",
        ];
        assert_eq!(environment, expected);
    }
}
