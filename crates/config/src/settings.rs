//! What is in force, key by key, and what changes from one configuration to another.
//!
//! Reading a key records it, so there is no key that a reload could miss.

use std::fmt;

use super::key::Reload;

/// One setting with its value as a file would give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    /// Such as `http.port`. Of an agent of the daemon, without what leads to the agent.
    pub(super) key: String,
    /// `None` if it is not set and has no default.
    pub(super) value: Option<String>,
    reload: Reload,
}

/// The settings of one program, in the order of the documents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Settings(pub(super) Vec<Setting>);

impl Settings {
    /// Adds a setting, or replaces its value.
    pub(super) fn record(&mut self, key: &str, value: Option<String>, reload: Reload) {
        match self.0.iter_mut().find(|known| known.key == key) {
            Some(known) => known.value = value,
            None => self.0.push(Setting { key: key.to_owned(), value, reload }),
        }
    }

    /// What changes from these to `new`.
    pub(super) fn changes_to(&self, new: &Self) -> Changes {
        let value = |settings: &Self, key: &str| {
            settings.0.iter().find(|setting| setting.key == key).and_then(|setting| setting.value.clone())
        };
        let gone = self.0.iter().filter(|old| !new.0.iter().any(|new| new.key == old.key));
        let all = new.0.iter().chain(gone);
        let change = |setting: &Setting| Change {
            key: setting.key.clone(),
            old: value(self, &setting.key),
            new: value(new, &setting.key),
            reload: setting.reload,
        };
        Changes(all.map(change).filter(|change| change.old != change.new).collect())
    }
}

/// A setting that is not what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Such as `http.port`.
    pub key: String,
    /// What it was.
    pub old: Option<String>,
    /// What it is to be.
    pub new: Option<String>,
    /// When it can be so.
    pub reload: Reload,
}

/// All that changes from one configuration to another. `Display` names it, for the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes(Vec<Change>);

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each change.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Change> {
        self.0.iter()
    }

    /// Why a reload cannot apply them, if it cannot: which of them need a restart.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let restart = self.0.iter().filter(|change| change.reload == Reload::Restart);
        let restart: Vec<String> = restart.map(ToString::to_string).collect();
        let keys = if restart.len() == 1 { "this change needs" } else { "these changes need" };
        let fact = format!("{keys} a restart, so nothing was changed: {}", restart.join(", "));
        (!restart.is_empty()).then(|| format!("{fact}; restart the agent, or take them back"))
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let changes: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(if changes.is_empty() { "nothing changed" } else { "" })?;
        f.write_str(&changes.join(", "))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |value: &Option<String>| value.clone().unwrap_or_else(|| "(none)".to_owned());
        write!(f, "{}: {} -> {}", self.key, show(&self.old), show(&self.new))
    }
}
