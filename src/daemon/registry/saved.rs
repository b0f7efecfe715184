//! The registry as a file: what the next daemon needs to take over the agents that this one leaves running.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use statemachine::supervision::{BootId, Saved};

use super::Registry;

/// The last line of the file, over everything before it.
const CHECKSUM: &str = "// checksum: ";

/// All that is saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedRegistry {
    /// 1.
    pub schema: u32,
    /// During which boot: processes and deadlines of another one are gone.
    pub boot: BootId,
    /// The agents by id.
    pub agents: BTreeMap<String, SavedAgent>,
}

/// What is saved of one agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SavedAgent {
    /// Its machine.
    pub machine: Saved,
    /// Whether the configuration let it run.
    pub enabled: bool,
    /// A hash over what it was started with.
    pub fingerprint: u64,
    /// The newest incarnation that was heard of.
    pub newest_incarnation: Option<u64>,
}

/// The file does not hold a registry.
#[derive(Debug)]
pub enum Damaged {
    /// The checksum is not there, or not the right one: half a file, or an edited one.
    Checksum,
    /// It is whole, but not a registry.
    Syntax(Box<ron::error::SpannedError>),
    /// It is of another version.
    Schema(u32),
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Checksum => f.write_str("the checksum of the saved registry is wrong"),
            Self::Syntax(_) => f.write_str("the saved registry cannot be understood"),
            Self::Schema(schema) => write!(f, "the saved registry has schema {schema} instead of 1"),
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
    /// What the next daemon needs.
    #[must_use]
    pub fn save(&self, boot: BootId) -> SavedRegistry {
        let agents = self.iter().map(|(id, entry)| {
            let saved = SavedAgent {
                machine: entry.machine.save(),
                enabled: entry.enabled,
                fingerprint: entry.fingerprint,
                newest_incarnation: entry.newest_incarnation,
            };
            (id.to_string(), saved)
        });
        SavedRegistry { schema: 1, boot, agents: agents.collect() }
    }
}

/// As RON, with a checksum in the last line.
///
/// # Errors
///
/// What RON cannot express; nothing here.
pub fn encode(saved: &SavedRegistry) -> Result<String, ron::Error> {
    let mut text = ron::ser::to_string_pretty(saved, ron::ser::PrettyConfig::default())?;
    text.push('\n');
    let checksum = crc32fast::hash(text.as_bytes());
    text.push_str(&format!("{CHECKSUM}{checksum:08x}\n"));
    Ok(text)
}

/// The reverse.
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
