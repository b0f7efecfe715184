//! The steps of the launcher, with their names on the wire and in messages.

use strum::VariantArray;

/// A step of the launcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum LaunchStep {
    /// Read the orders.
    Orders,
    /// Begin a session of its own.
    Session,
    /// Reset mask and dispositions of signals.
    Signals,
    /// Take the descendants that lose their parent.
    Subreaper,
    /// Give standard input back, and let no other descriptor pass.
    Descriptors,
    /// Give the program its input.
    Input,
    /// Set the limit on open files.
    OpenFiles,
    /// Set the limit on processes.
    Processes,
    /// Set the limit on core files.
    Core,
    /// Set the limit on the address space.
    AddressSpace,
    /// Set the limit on the size of a file.
    FileSize,
    /// Set the limit on locked memory.
    LockedMemory,
    /// Set the nice value.
    Nice,
    /// Set the adjustment for the case that memory runs out.
    OomScoreAdj,
    /// Look up the user.
    User,
    /// Look up the group, or the groups of the user.
    Group,
    /// Give the work directory to the user.
    Give,
    /// Become the user.
    Become,
    /// Enter the work directory.
    WorkDir,
    /// Execute the program.
    Execute,
}

impl LaunchStep {
    /// The name, on the wire and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Orders => "read the orders",
            Self::Session => "begin a session",
            Self::Signals => "reset the signals",
            Self::Subreaper => "become the reaper of orphans",
            Self::Descriptors => "close the descriptors",
            Self::Input => "give the program its input",
            Self::OpenFiles => "set `limits.open_files`",
            Self::Processes => "set `limits.processes`",
            Self::Core => "set `limits.core`",
            Self::AddressSpace => "set `limits.address_space`",
            Self::FileSize => "set `limits.file_size`",
            Self::LockedMemory => "set `limits.locked_memory`",
            Self::Nice => "set `nice`",
            Self::OomScoreAdj => "set `oom_score_adj`",
            Self::User => "look up `user`",
            Self::Group => "look up `group`",
            Self::Give => "give the work directory to `user`",
            Self::Become => "become `user` and `group`",
            Self::WorkDir => "enter the work directory",
            Self::Execute => "execute the program",
        }
    }

    /// Whether it applies a setting of the agent.
    pub(crate) const fn is_setting(self) -> bool {
        match self {
            Self::OpenFiles
            | Self::Processes
            | Self::Core
            | Self::AddressSpace
            | Self::FileSize
            | Self::LockedMemory
            | Self::Nice
            | Self::OomScoreAdj
            | Self::Become => true,
            Self::Orders
            | Self::Session
            | Self::Signals
            | Self::Subreaper
            | Self::Descriptors
            | Self::Input
            | Self::User
            | Self::Group
            | Self::Give
            | Self::WorkDir
            | Self::Execute => false,
        }
    }

    /// Whether it prepares the process alone, without a setting and without a file of the agent.
    pub(crate) const fn is_of_process(self) -> bool {
        matches!(self, Self::Session | Self::Subreaper)
    }
}
