//! The paths of the HTTP API and their methods.

use http::Method;

use ops_protocol::Command;
use ops_protocol::heartbeat::is_agent_id;
use strum::{EnumDiscriminants, VariantArray};

/// A path that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(name(RouteKind), derive(VariantArray))]
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

impl RouteKind {
    /// The paths of this kind, with `ID` for the ID of an agent, and the value of the header `Allow`.
    fn paths(self) -> (Vec<String>, &'static str) {
        let (path, example) = match self {
            Self::Heartbeat => ("/heartbeat", Route::Heartbeat),
            Self::Agents => ("/agents", Route::Agents),
            Self::Agent => ("/agents/ID", Route::Agent("ID")),
            Self::Logs => ("/agents/ID/logs", Route::Logs("ID")),
            Self::Events => ("/events", Route::Events),
            Self::Control => ("/agents/ID", Route::Control("ID", Command::Start)),
            Self::Reload => ("/reload", Route::Reload),
            Self::Health => ("/health", Route::Health),
            Self::Metrics => ("/metrics", Route::Metrics),
            Self::Discovery => ("/sd", Route::Discovery),
            Self::Page => ("/", Route::Page),
        };
        let paths = if self == Self::Control {
            Command::VARIANTS.iter().map(|command| format!("{path}/{}", command.as_str())).collect()
        } else {
            vec![path.to_owned()]
        };
        (paths, example.allows())
    }
}

/// Each path that exists, with `ID` for the ID of an agent, and the value of the header `Allow`. Sorted.
pub fn paths() -> Vec<(String, &'static str)> {
    let of = |kind: &RouteKind| {
        let (paths, allows) = kind.paths();
        paths.into_iter().map(move |path| (path, allows))
    };
    let mut all: Vec<_> = RouteKind::VARIANTS.iter().flat_map(of).collect();
    all.sort_unstable();
    all
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn each_listed_path_leads_to_a_route_with_its_methods() {
        for (path, allows) in paths() {
            assert_eq!(Route::of(&path).map(Route::allows), Some(allows), "{path}");
        }
    }

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
