//! The registry as a file: what the next daemon needs to adopt the agents that this one leaves running.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use statemachine::supervision::{BootId, Reason, RecordedReason, Saved};

use super::Registry;

/// The prefix of the last line, whose checksum covers everything before it.
const CHECKSUM: &str = "// checksum: ";

/// The saved registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRegistry {
    /// The version of the format: 1.
    pub schema: u32,
    /// The boot in which it was saved. Processes and deadlines of another boot are void.
    pub boot: BootId,
    /// The agents by ID.
    pub agents: BTreeMap<String, SavedAgent>,
}

/// One saved agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedAgent {
    /// Its state machine.
    pub machine: Saved,
    /// Whether the configuration enabled it.
    pub enabled: bool,
    /// The same as `process_settings`. Earlier versions hashed the settings of the checks too.
    pub fingerprint: u64,
    /// A hash over the settings that its process was started with. `None`: an earlier version saved it.
    #[serde(default)]
    pub process_settings: Option<u64>,
    /// The newest incarnation that sent a heartbeat.
    pub newest_incarnation: Option<u64>,
    /// Whether its process has sent a proved heartbeat.
    #[serde(default)]
    pub has_proved: bool,
    /// Whether its process has shown that it is ready.
    #[serde(default)]
    pub is_ready: bool,
    /// It is stopped for this reason when the agents that depend on it have ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<Reason>,
    /// Restarts for bad checks are held until an operator releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<RecordedReason>,
    /// The last output lines of its latest process that has ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub last_output: Vec<String>,
}

impl SavedAgent {
    /// Whether an operator has stopped it, and not the configuration or the end of the daemon.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.enabled && !self.machine.wanted
    }
}

/// Why a file is not a registry.
#[derive(Debug)]
pub enum Damaged {
    /// The checksum is missing or wrong: the file is torn or edited.
    Checksum,
    /// The file is whole, but not a registry.
    Syntax(Box<ron::error::SpannedError>),
    /// The file has another version.
    Schema(u32),
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => f.write_str("the checksum of the saved registry is wrong"),
            Self::Syntax(_) => f.write_str("the saved registry cannot be understood"),
            Self::Schema(schema) => {
                write!(
                    f,
                    "the saved registry has schema {schema}, and this daemon knows schema 1: a newer daemon wrote it"
                )
            }
        }
    }
}

impl std::error::Error for Damaged {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Syntax(cause) => Some(cause),
            Self::Checksum | Self::Schema(_) => None,
        }
    }
}

impl Registry {
    /// The content to save.
    #[must_use]
    pub fn save(&self, boot: BootId) -> SavedRegistry {
        let agents = self.iter().map(|(id, entry)| {
            let saved = SavedAgent {
                machine: entry.machine.save(),
                enabled: entry.enabled,
                fingerprint: entry.fingerprint,
                process_settings: Some(entry.fingerprint),
                newest_incarnation: entry.newest_incarnation,
                has_proved: entry.has_proved,
                is_ready: entry.is_ready,
                stop_after: entry.stop_after.as_deref().cloned(),
                hold: entry.hold.as_deref().cloned(),
                last_output: entry.last_output().to_vec(),
            };
            (id.to_string(), saved)
        });
        SavedRegistry { schema: 1, boot, agents: agents.collect() }
    }
}

/// Encodes it as RON, with a checksum in the last line.
///
/// # Errors
///
/// If RON cannot express it, which does not happen.
pub fn encode(saved: &SavedRegistry) -> Result<String, ron::Error> {
    let mut text = ron::ser::to_string_pretty(saved, ron::ser::PrettyConfig::default())?;
    text.push('\n');
    let checksum = crc32fast::hash(text.as_bytes());
    text.push_str(&format!("{CHECKSUM}{checksum:08x}\n"));
    Ok(text)
}

/// Decodes the text of a saved registry.
///
/// # Errors
///
/// [`Damaged`], whatever the bytes are.
pub fn decode(text: &str) -> Result<SavedRegistry, Damaged> {
    let at = text.rfind(CHECKSUM).ok_or(Damaged::Checksum)?;
    let (body, line) = text.split_at(at);
    if line != format!("{CHECKSUM}{:08x}\n", crc32fast::hash(body.as_bytes())) {
        return Err(Damaged::Checksum);
    }
    let saved: SavedRegistry = ron::from_str(body).map_err(|cause| Damaged::Syntax(Box::new(cause)))?;
    if saved.schema == 1 { Ok(saved) } else { Err(Damaged::Schema(saved.schema)) }
}
