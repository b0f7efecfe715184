//! JSON-RPC 2.0, one object per line.

use std::borrow::Cow;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::error::ErrorCode;

/// The size limit of a line for both sides, in bytes.
pub const MAX_LINE: usize = 64 * 1024;

/// A request. Without an ID it is a notification, which gets no response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request<P = Value> {
    jsonrpc: Version,
    /// The ID that the response will repeat.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub id: Option<Id>,
    /// The name of the method.
    pub method: Cow<'static, str>,
    /// The parameters of the method.
    #[serde(default)]
    pub params: P,
}

impl<P> Request<P> {
    /// A request that gets a response.
    pub fn new(id: Id, method: impl Into<Cow<'static, str>>, params: P) -> Self {
        Self { jsonrpc: Version, id: Some(id), method: method.into(), params }
    }
}

/// The ID of a request and of its response.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Id {
    /// An integer.
    Number(i64),
    /// A string.
    Text(String),
    /// The value `null`. A request with it is no notification.
    Null,
}

/// An ID that is there, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Id>, D::Error> {
    Id::deserialize(deserializer).map(Some)
}

/// The response to one request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Response {
    jsonrpc: Version,
    /// The ID of the request. `None` if the request had no readable ID.
    pub id: Option<Id>,
    /// The result, or the error.
    #[serde(flatten)]
    pub outcome: Outcome,
}

impl Response {
    /// The response to a request that succeeded.
    #[must_use]
    pub const fn success(id: Id, result: Value) -> Self {
        Self { jsonrpc: Version, id: Some(id), outcome: Outcome::Result(result) }
    }

    /// The response to a request that failed.
    #[must_use]
    pub const fn failure(id: Option<Id>, error: RpcError) -> Self {
        Self { jsonrpc: Version, id, outcome: Outcome::Error(error) }
    }
}

/// The result of a request, or its error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The request succeeded with this result.
    Result(Value),
    /// The request failed.
    Error(RpcError),
}

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct RpcError {
    /// The error code for programs: a constant of this type, or a code of the method.
    pub code: i64,
    /// The error message for people.
    pub message: String,
    /// Further data, defined by the method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl RpcError {
    /// The line is not JSON.
    pub const PARSE: i64 = -32700;
    /// The JSON is not a request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method does not exist.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The parameters do not fit the method.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The request is valid, but the server failed.
    pub(crate) const INTERNAL: i64 = -32603;

    /// Whether the server named this kind of error in `data.code`.
    #[must_use]
    pub fn has_code(&self, code: ErrorCode) -> bool {
        let name = self.data.as_ref().and_then(|data| data.get("code"));
        name.is_some_and(|name| serde_json::to_value(code).is_ok_and(|code| *name == code))
    }

    /// An error without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }
}

/// Writes one object as a line, with a line feed at the end.
///
/// # Errors
///
/// If the object has no JSON form, such as a map with keys that are not strings.
pub fn line<T: Serialize>(object: &T) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(object)?;
    line.push(b'\n');
    Ok(line)
}

/// The value `"2.0"`, which every message must carry.
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
    fn a_response_is_a_result_or_an_error() {
        for (text, response) in [
            (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, Response::success(Id::Number(1), Value::Null)),
            (
                r#"{"jsonrpc":"2.0","id":"a","result":{"ok":true}}"#,
                Response::success(Id::Text("a".into()), json!({"ok": true})),
            ),
            (
                r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"no JSON"}}"#,
                Response::failure(None, RpcError::new(RpcError::PARSE, "no JSON")),
            ),
        ] {
            assert_eq!(serde_json::from_str::<Response>(text).unwrap(), response);
            assert_eq!(serde_json::to_string(&response).unwrap(), text);
        }
    }

    #[test]
    fn anything_else_is_not_a_response() {
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
        let request: Request = serde_json::from_str(r#"{"jsonrpc":"2.0","id":null,"method":"x"}"#).unwrap();
        assert_eq!(request.id, Some(Id::Null), "a null is an ID");
        let answer = serde_json::to_value(Response::success(Id::Null, Value::Bool(true))).unwrap();
        assert_eq!(answer["id"], Value::Null);
    }
}
