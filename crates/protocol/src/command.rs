//! The commands that an operator gives for one agent.

/// What the daemon is told to do with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Run it, also after it failed.
    Start,
    /// Stop it and keep it stopped.
    Stop,
    /// Stop it and run it again.
    Restart,
}

impl Command {
    const ALL: [Self; 3] = [Self::Start, Self::Stop, Self::Restart];

    /// The name in HTTP paths, JSON-RPC methods and on the command line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
        }
    }

    /// The command with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|command| command.as_str() == name)
    }
}
