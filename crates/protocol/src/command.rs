//! The commands that an operator gives for one agent.

use strum::VariantArray;

/// A command for one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Command {
    /// Run it, also after it failed.
    Start,
    /// Stop it and keep it stopped.
    Stop,
    /// Stop it and run it again.
    Restart,
    /// Suspend its restarts for bad checks.
    Hold,
    /// End that suspension.
    Release,
}

impl Command {
    /// The name in HTTP paths, JSON-RPC methods and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Hold => "hold",
            Self::Release => "release",
        }
    }

    /// The command with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|command| command.as_str() == name)
    }

    /// The names of all commands, for a message that lists them.
    #[must_use]
    pub fn names(separator: &str) -> String {
        let names: Vec<&str> = Self::VARIANTS.iter().map(|command| command.as_str()).collect();
        names.join(separator)
    }
}
