//! A heartbeat as a daemon receives it.

use serde::Deserialize;

use super::status::WireStatus;
use super::whole;
use crate::Timestamp;

/// A heartbeat as a daemon receives it. The `Option` fields may be missing, and unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ReceivedHeartbeat {
    /// The agent's ID, as the sender claims. Always present except in [`ReceivedHeartbeat::from_bare_line`].
    pub agent_id: Option<String>,
    /// The process ID, as the sender claims. Never 0.
    #[serde(deserialize_with = "whole::pid")]
    pub pid: u32,
    /// The status of the agent.
    pub status: WireStatus,
    /// When the heartbeat was made, by the sender's clock.
    pub timestamp: Timestamp,
    /// CPU usage in percent of the whole machine, 0 to 100. A value out of this range is dropped.
    pub cpu: Option<f64>,
    /// The value of `cpu` that was dropped.
    #[serde(skip)]
    pub dropped_cpu: Option<f64>,
    /// Resident set size in bytes.
    #[serde(default, deserialize_with = "whole::optional")]
    pub memory: Option<u64>,
    /// The version of the agent program.
    pub version: Option<String>,
    /// The lifecycle state.
    pub state: Option<String>,
    /// The number of this start of the agent.
    #[serde(default, deserialize_with = "whole::optional")]
    pub incarnation: Option<u64>,
    /// The number of the status that the heartbeat reports.
    #[serde(default, deserialize_with = "whole::optional")]
    pub sequence: Option<u64>,
    /// The secret that the daemon gave to the agent at its start.
    pub start_secret: Option<String>,
}

impl ReceivedHeartbeat {
    /// Reads a heartbeat that has an `agent_id`: the body of an HTTP request, or the `params` of a JSON-RPC request.
    ///
    /// # Errors
    ///
    /// [`InvalidHeartbeat`] if it is not a JSON object, lacks a required field, or has a value out of range.
    pub fn from_json(json: &[u8]) -> Result<Self, InvalidHeartbeat> {
        Self::from_bare_line(json)?.named()
    }

    /// As [`ReceivedHeartbeat::from_json`], from parsed JSON.
    ///
    /// # Errors
    ///
    /// As [`ReceivedHeartbeat::from_json`].
    pub fn from_value(value: serde_json::Value) -> Result<Self, InvalidHeartbeat> {
        if !value.is_object() {
            return Err(InvalidHeartbeat::NoObject);
        }
        serde_json::from_value::<Self>(value).map_err(InvalidHeartbeat::Json)?.in_range()?.named()
    }

    /// Reads a heartbeat that may lack `agent_id`: a bare line on a socket, which the daemon matches by pid.
    ///
    /// # Errors
    ///
    /// As [`ReceivedHeartbeat::from_json`], except that `agent_id` may be missing.
    pub fn from_bare_line(json: &[u8]) -> Result<Self, InvalidHeartbeat> {
        let received = serde_json::from_slice::<Self>(json).map_err(InvalidHeartbeat::Json)?;
        // serde also accepts a list of values in the order of the fields.
        if is_object(json) { received.in_range() } else { Err(InvalidHeartbeat::NoObject) }
    }

    /// Applies the checks of [`ReceivedHeartbeat::from_json`] to a heartbeat that was deserialized as part of another
    /// type.
    ///
    /// # Errors
    ///
    /// [`InvalidHeartbeat`] if `agent_id` is missing or a value is out of range.
    pub fn checked(self) -> Result<Self, InvalidHeartbeat> {
        self.in_range()?.named()
    }

    fn named(self) -> Result<Self, InvalidHeartbeat> {
        if self.agent_id.is_some() { Ok(self) } else { Err(InvalidHeartbeat::Nameless) }
    }

    fn in_range(mut self) -> Result<Self, InvalidHeartbeat> {
        if let Some(id) = &self.agent_id
            && !is_agent_id(id)
        {
            return Err(InvalidHeartbeat::AgentId);
        }
        if self.pid == 0 {
            return Err(InvalidHeartbeat::Pid);
        }
        // The heartbeat proves life all the same.
        self.dropped_cpu = self.cpu.take_if(|cpu| !(0.0..=100.0).contains(cpu));
        Ok(self)
    }
}

/// Whether the JSON is an object, and not a list, a string or a number.
#[must_use]
pub fn is_object(json: &[u8]) -> bool {
    json.trim_ascii_start().first() == Some(&b'{')
}

/// Whether `text` is a valid agent ID: 1 to 100 of `[A-Za-z0-9_-]`.
#[must_use]
pub fn is_agent_id(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Why a message is not a valid heartbeat.
#[derive(Debug, thiserror::Error)]
pub enum InvalidHeartbeat {
    /// Not JSON, or an object without the fields of a heartbeat. The text includes what serde found: a remote sender
    /// has no other way to learn it.
    #[error("not a heartbeat: {0}")]
    Json(serde_json::Error),
    /// JSON, but not an object.
    #[error("not a heartbeat: send an object with named fields")]
    NoObject,
    /// `agent_id` is missing.
    #[error("`agent_id` is missing: send the agent's ID")]
    Nameless,
    /// `agent_id` is not a valid agent ID.
    #[error("`agent_id` is not 1 to 100 of A-Z, a-z, 0-9, _ and -: send the agent's ID")]
    AgentId,
    /// `pid` is 0.
    #[error("`pid` is 0: send the process ID")]
    Pid,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn four_fields_are_required_and_unknown_ones_are_ignored() {
        let line = br#"{"agent_id":"a","pid":1,"status":"error","timestamp":"2025-12-05T10:00:00Z","color":{"x":[1]}}"#;
        assert_eq!(ReceivedHeartbeat::from_json(line).unwrap().status, WireStatus::Error);
        let all = ["agent_id", "pid", "status", "timestamp"];
        for missing in all {
            let mut object: serde_json::Value = serde_json::from_slice(line).unwrap();
            object.as_object_mut().unwrap().remove(missing);
            let message = ReceivedHeartbeat::from_value(object.clone()).unwrap_err().to_string();
            assert!(message.contains(missing), "{message}");
            let bare = ReceivedHeartbeat::from_bare_line(object.to_string().as_bytes());
            assert_eq!(bare.is_ok(), missing == "agent_id", "a bare line without {missing}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_refused() {
        let with = |field: &str, value: &str| {
            let rest = r#""status":"running","timestamp":"2025-12-05T10:00:00Z""#;
            let mut fields = [("agent_id", "\"a\""), ("pid", "1"), ("cpu", "0"), ("memory", "0")];
            fields.iter_mut().find(|(name, _)| *name == field).unwrap().1 = value;
            let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            ReceivedHeartbeat::from_json(format!("{{{},{rest}}}", fields.join(",")).as_bytes())
        };
        for (cpu, kept) in [("0", true), ("100", true), ("100.1", false), ("-0.1", false)] {
            let received = with("cpu", cpu).unwrap();
            assert_eq!((received.cpu.is_some(), received.dropped_cpu.is_some()), (kept, !kept), "{cpu}");
        }
        for (field, value) in [
            ("agent_id", "\"\""),
            ("agent_id", "\"a b\""),
            ("agent_id", "\"../x\""),
            ("agent_id", "7"),
            ("pid", "0"),
            ("pid", "-1"),
            ("pid", "4294967296"),
            ("memory", "-1"),
        ] {
            assert!(with(field, value).is_err(), "{field}: {value}");
        }
    }

    #[test]
    fn a_whole_number_may_be_written_in_any_form() {
        let with = |pid: &str, memory: &str| {
            let line = format!(
                r#"{{"agent_id":"a","pid":{pid},"memory":{memory},"status":"running","timestamp":"2025-12-05T10:00:00Z"}}"#
            );
            ReceivedHeartbeat::from_json(line.as_bytes()).map(|received| (received.pid, received.memory))
        };
        assert_eq!(with("7.0", "1e3").unwrap(), (7, Some(1000)));
        assert_eq!(with("7", "-0.0").unwrap(), (7, Some(0)));
        assert_eq!(with("7", "null").unwrap(), (7, None));
        assert_eq!(with("7", &u64::MAX.to_string()).unwrap(), (7, Some(u64::MAX)));
        for (pid, memory) in
            [("7.5", "1"), ("7", "0.1"), ("7", "1e20"), ("7", "-1.0"), ("4294967296.0", "1"), ("7", "\"1\"")]
        {
            assert!(with(pid, memory).is_err(), "{pid}, {memory}");
        }
    }

    #[test]
    fn a_list_of_values_is_not_a_heartbeat() {
        let list = r#" ["a",1,"running","2025-12-05T10:00:00Z",0,0,"1","running",1,1,"secret"]"#;
        let refused = [
            ReceivedHeartbeat::from_bare_line(list.as_bytes()),
            ReceivedHeartbeat::from_json(list.as_bytes()),
            ReceivedHeartbeat::from_value(serde_json::from_str(list).unwrap()),
        ];
        for refused in refused {
            assert!(matches!(refused, Err(InvalidHeartbeat::NoObject)), "{refused:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = ReceivedHeartbeat::from_bare_line(&bytes);
        }
    }
}
