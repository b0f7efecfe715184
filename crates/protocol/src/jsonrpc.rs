//! JSON-RPC 2.0, one object a line.

use std::borrow::Cow;
use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// The longest line that either side reads, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// A request, or a notification if it has no id: that is never answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request<P = Value> {
    jsonrpc: Version,
    /// What the answer will be known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// What is to be done.
    pub method: Cow<'static, str>,
    /// With what.
    #[serde(default)]
    pub params: P,
}

impl<P> Request<P> {
    /// A request that is to be answered.
    pub fn new(id: Id, method: impl Into<Cow<'static, str>>, params: P) -> Self {
        Self { jsonrpc: Version, id: Some(id), method: method.into(), params }
    }
}

/// What an answer and its request are matched by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// A whole number.
    Number(i64),
    /// Any text.
    Text(String),
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    jsonrpc: Version,
    /// Which request it answers. `None` if that could not be read.
    pub id: Option<Id>,
    /// How it went.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Response {
    /// It went well.
    #[must_use]
    pub const fn success(id: Id, result: Value) -> Self {
        Self { jsonrpc: Version, id: Some(id), outcome: Outcome::Result(result) }
    }

    /// It did not.
    #[must_use]
    pub const fn failure(id: Option<Id>, error: Error) -> Self {
        Self { jsonrpc: Version, id, outcome: Outcome::Error(error) }
    }
}

/// How a request went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Well, and this came of it.
    Result(Value),
    /// Not well.
    Error(Error),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Error {
    /// For programs: one of the constants here, or the method's own.
    pub code: i64,
    /// For people.
    pub message: String,
    /// Whatever else there is to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Error {
    /// The line is no JSON.
    pub const PARSE: i64 = -32700;
    /// The JSON is no request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// Nobody here knows the method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The method cannot be used with these parameters.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The other side is at fault.
    pub const INTERNAL: i64 = -32603;

    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl std::error::Error for Error {}

/// One object as a line, line feed included.
///
/// # Errors
///
/// If the object cannot be JSON, such as a map whose keys are no text.
pub fn line<T: Serialize>(object: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(object)?;
    line.push(b'\n');
    Ok(line)
}

/// The word `"2.0"`, which every message has to carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version;

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("2.0")
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let version = Cow::<'_, str>::deserialize(deserializer)?;
        if version == "2.0" { Ok(Self) } else { Err(D::Error::custom("`jsonrpc` is not \"2.0\"")) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_request_is_one_line() {
        let request = Request::new(Id::Number(7), "heartbeat", json!({"text": "two\nlines"}));
        let line = line(&request).unwrap();
        assert_eq!(
            String::from_utf8(line.clone()).unwrap(),
            "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"heartbeat\",\"params\":{\"text\":\"two\\nlines\"}}\n"
        );
        assert_eq!(serde_json::from_slice::<Request>(&line).unwrap(), request);
    }

    #[test]
    fn an_answer_is_a_result_or_an_error() {
        for (text, answer) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, Response::success(Id::Number(1), Value::Null)),
            (
                r#"{"jsonrpc":"2.0","id":"a","result":{"ok":true}}"#,
                Response::success(Id::Text("a".into()), json!({"ok": true})),
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no JSON"}}"#,
                Response::failure(None, Error::new(Error::PARSE, "no JSON")),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Response>(text).unwrap(), answer);
            assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        }
    }

    #[test]
    fn what_is_neither_is_no_answer() {
        for text in [
            "null",
            "[]",
            r#"{"jsonrpc":"2.0","id":1}"#,
            r#"{"jsonrpc":"1.0","id":1,"result":1}"#,
            r#"{"id":1,"result":1}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":"text"}"#,
            r#"{"jsonrpc":"2.0","id":[],"result":1}"#,
        ] {
            assert!(serde_json::from_str::<Response>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_request_without_an_id_is_a_notification() {
        let request: Request = serde_json::from_str(r#"{"jsonrpc":"2.0","method":"x"}"#).unwrap();
        assert_eq!((request.id, request.params), (None, Value::Null));
    }
}
