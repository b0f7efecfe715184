//! The paths of the HTTP API and their methods.

use http::Method;

use ops_protocol::Command;
use ops_protocol::heartbeat::is_agent_id;

/// A path that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Heartbeat,
    Agents,
    Agent(&'a str),
    Logs(&'a str),
    Events,
    Control(&'a str, Command),
    Reload,
    Health,
    Metrics,
    Discovery,
    Page,
}

impl<'a> Route<'a> {
    /// The route of a path. Paths are not decoded, because no byte of an agent ID needs percent-encoding.
    pub(super) fn of(path: &'a str) -> Option<Self> {
        match path {
            "/heartbeat" => Some(Self::Heartbeat),
            "/agents" => Some(Self::Agents),
            "/reload" => Some(Self::Reload),
            "/events" => Some(Self::Events),
            "/health" => Some(Self::Health),
            "/metrics" => Some(Self::Metrics),
            "/sd" => Some(Self::Discovery),
            "/" => Some(Self::Page),
            _ => Self::of_agent(path.strip_prefix("/agents/")?),
        }
    }

    fn of_agent(rest: &'a str) -> Option<Self> {
        let (id, command) = rest.split_once('/').map_or((rest, None), |(id, command)| (id, Some(command)));
        match command {
            _ if !is_agent_id(id) => None,
            None => Some(Self::Agent(id)),
            Some("logs") => Some(Self::Logs(id)),
            Some(command) => Command::named(command).map(|command| Self::Control(id, command)),
        }
    }

    /// The value of the header `Allow`.
    pub(super) const fn allows(self) -> &'static str {
        match self {
            Self::Heartbeat | Self::Control(..) | Self::Reload => "POST",
            Self::Agents | Self::Agent(_) | Self::Logs(_) | Self::Events => "GET, HEAD",
            Self::Health | Self::Metrics | Self::Discovery | Self::Page => "GET, HEAD",
        }
    }

    pub(super) fn takes(self, method: &Method) -> bool {
        self.allows().split(", ").any(|allowed| allowed == method.as_str())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn a_path_has_its_route_and_any_other_path_has_none() {
        assert_eq!(Route::of("/agents/a-1"), Some(Route::Agent("a-1")));
        assert_eq!(Route::of("/agents/a-1/logs"), Some(Route::Logs("a-1")));
        assert_eq!(Route::of("/agents/a-1/restart"), Some(Route::Control("a-1", Command::Restart)));
        let nowhere =
            ["", "/agents/", "/agents/a/", "/agents/a/kill", "/agents/a/stop/", "/agents/../x", "/agents/a%2Fstop"];
        for path in nowhere.into_iter().chain(["/Agents", "//", "/heartbeat/", "/agents//stop", "/sd/"]) {
            assert_eq!(Route::of(path), None, "{path}");
        }
    }
}
