//! The paths of the API.

use strum::VariantArray;
use tide::http::Method;

/// A path with its method. HEAD works wherever GET does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Route {
    /// Whether the agent is healthy.
    Health,
    /// Whether the agent is alive.
    Livez,
    /// Whether the agent is ready for work.
    Readyz,
    /// Reads the configuration again.
    Reload,
    /// Counters and gauges.
    Metrics,
}

impl Route {
    /// The path.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Livez => "/livez",
            Self::Readyz => "/readyz",
            Self::Reload => "/reload",
            Self::Metrics => "/metrics",
        }
    }

    /// The method.
    #[must_use]
    pub const fn method(self) -> Method {
        match self {
            Self::Reload => Method::Post,
            Self::Health | Self::Livez | Self::Readyz | Self::Metrics => Method::Get,
        }
    }

    /// The value of the header `Allow`.
    pub(super) const fn allowed(self) -> &'static str {
        match self {
            Self::Reload => "POST",
            Self::Health | Self::Livez | Self::Readyz | Self::Metrics => "GET, HEAD",
        }
    }
}
