//! A heartbeat as a daemon receives it.

use std::fmt;

use serde::Deserialize;

use super::WireStatus;
use crate::Timestamp;

/// A heartbeat as a daemon receives it: what it must have, and what it may. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Received {
    /// Who says to have sent it. Always there but for [`Received::from_bare_line`].
    pub agent_id: Option<String>,
    /// Which process says to have sent it. Never 0.
    pub pid: u32,
    /// How it fares.
    pub status: WireStatus,
    /// When it was made, by the sender's clock.
    pub timestamp: Timestamp,
    /// Share of the whole machine in percent, 0 to 100.
    pub cpu: Option<f64>,
    /// Resident set size in bytes.
    pub memory: Option<u64>,
    /// The version of the sending program.
    pub version: Option<String>,
    /// How it fares, in the words of its lifecycle.
    pub state: Option<String>,
    /// Which start of this agent it belongs to.
    pub incarnation: Option<u64>,
    /// Which status it shows.
    pub sequence: Option<u64>,
}

impl Received {
    /// Reads a heartbeat that names its agent: the body of an HTTP request, or the `params` of a JSON-RPC request.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it is no JSON object, lacks what it must have, or has a value out of range.
    pub fn from_json(json: &[u8]) -> Result<Self, Invalid> {
        Self::from_bare_line(json)?.named()
    }

    /// The same from JSON that is parsed already.
    ///
    /// # Errors
    ///
    /// As [`Received::from_json`].
    pub fn from_value(value: serde_json::Value) -> Result<Self, Invalid> {
        if !value.is_object() {
            return Err(Invalid::NoObject);
        }
        serde_json::from_value::<Self>(value).map_err(Invalid::Json)?.in_range()?.named()
    }

    /// Reads a heartbeat that need not name its agent: a line of its own on a socket, to be matched by pid.
    ///
    /// # Errors
    ///
    /// As [`Received::from_json`], but for the missing name.
    pub fn from_bare_line(json: &[u8]) -> Result<Self, Invalid> {
        let received = serde_json::from_slice::<Self>(json).map_err(Invalid::Json)?;
        // serde takes a list of values, in the order of the fields, for an object too.
        if is_object(json) { received.in_range() } else { Err(Invalid::NoObject) }
    }

    /// What [`Received::from_json`] asks beyond the types, for a heartbeat that was read as part of something else.
    ///
    /// # Errors
    ///
    /// [`Invalid`] if it does not name its agent, or has a value out of range.
    pub fn checked(self) -> Result<Self, Invalid> {
        self.in_range()?.named()
    }

    fn named(self) -> Result<Self, Invalid> {
        if self.agent_id.is_some() { Ok(self) } else { Err(Invalid::Nameless) }
    }

    fn in_range(self) -> Result<Self, Invalid> {
        if let Some(id) = &self.agent_id
            && !is_agent_id(id)
        {
            return Err(Invalid::AgentId);
        }
        if self.pid == 0 {
            return Err(Invalid::Pid);
        }
        match self.cpu {
            Some(cpu) if !(0.0..=100.0).contains(&cpu) => Err(Invalid::Cpu(cpu)),
            Some(_) | None => Ok(self),
        }
    }
}

/// Whether JSON is an object rather than a list, a text or a number.
#[must_use]
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Whether `text` may name an agent: 1 to 100 of `[A-Za-z0-9_-]`.
#[must_use]
pub fn is_agent_id(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Why something is no heartbeat.
#[derive(Debug)]
pub enum Invalid {
    /// No JSON object with the fields that a heartbeat has.
    Json(serde_json::Error),
    /// JSON, but no object.
    NoObject,
    /// It does not say whose it is.
    Nameless,
    /// `agent_id` cannot be the name of an agent.
    AgentId,
    /// `pid` is 0.
    Pid,
    /// `cpu` is not within 0 to 100.
    Cpu(f64),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // What is wrong with the JSON is the fact here, and the sender has no other way to learn it.
            Self::Json(error) => write!(f, "not a heartbeat: {error}"),
            Self::NoObject => f.write_str("not a heartbeat: send an object with named fields"),
            Self::Nameless => f.write_str("`agent_id` is missing: send the agent's id"),
            Self::AgentId => f.write_str("`agent_id` is not 1 to 100 of A-Z, a-z, 0-9, _ and -: send the agent's id"),
            Self::Pid => f.write_str("`pid` is 0: send the process id"),
            Self::Cpu(cpu) => write!(f, "`cpu` is {cpu}: send a percentage from 0 to 100"),
        }
    }
}

impl std::error::Error for Invalid {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn four_fields_make_a_heartbeat_and_unknown_ones_do_not_unmake_it() {
        let line = br#"{"agent_id":"a","pid":1,"status":"error","timestamp":"2025-12-05T10:00:00Z","mood":{"x":[1]}}"#;
        assert_eq!(Received::from_json(line).unwrap().status, WireStatus::Error);
        let all = ["agent_id", "pid", "status", "timestamp"];
        for missing in all {
            let mut object: serde_json::Value = serde_json::from_slice(line).unwrap();
            object.as_object_mut().unwrap().remove(missing);
            let told = Received::from_value(object.clone()).unwrap_err().to_string();
            assert!(told.contains(missing), "{told}");
            let bare = Received::from_bare_line(object.to_string().as_bytes());
            assert_eq!(bare.is_ok(), missing == "agent_id", "a bare line without {missing}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_name() {
        let with = |field: &str, value: &str| {
            let rest = r#""status":"running","timestamp":"2025-12-05T10:00:00Z""#;
            let mut fields = [("agent_id", "\"a\""), ("pid", "1"), ("cpu", "0"), ("memory", "0")];
            fields.iter_mut().find(|(name, _)| *name == field).unwrap().1 = value;
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            Received::from_json(format!("{{{},{rest}}}", fields.join(",")).as_bytes())
        };
        assert!(with("cpu", "100").is_ok());
        for (field, value) in [
            ("agent_id", "\"\""),
            ("agent_id", "\"a b\""),
            ("agent_id", "\"../x\""),
            ("agent_id", "7"),
            ("pid", "0"),
            ("pid", "-1"),
            ("pid", "4294967296"),
            ("cpu", "100.1"),
            ("cpu", "-0.1"),
            ("memory", "-1"),
        ] {
            assert!(with(field, value).is_err(), "{field}: {value}");
        }
    }

    #[test]
    fn values_without_their_names_are_no_heartbeat() {
        let list = r#" ["a",1,"running","2025-12-05T10:00:00Z",0,0,"1","running",1,1]"#;
        let refused = [
            Received::from_bare_line(list.as_bytes()),
            Received::from_json(list.as_bytes()),
            Received::from_value(serde_json::from_str(list).unwrap()),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(Invalid::NoObject)), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Received::from_bare_line(&bytes);
        }
    }
}
