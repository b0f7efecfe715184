//! `http_error`.

use std::io;

use serde::{Deserialize, Serialize};

use super::behaviour::{HttpAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::front::Exchange;
use crate::agent::simulate::values::Within;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_error",
    sentence: "Each request is answered with an error status.",
    parameters: &[Parameter { name: "status", values: "300 to 599", default: "500" }],
    timing: Timing::Lasts,
};

/// Each request is answered with an error status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpError {
    /// The status.
    pub status: Within<300, 599>,
}

impl Default for HttpError {
    fn default() -> Self {
        Self { status: Within::nearest(500) }
    }
}

impl Behaviour for HttpError {
    fn http(&self) -> Option<&dyn HttpAct> {
        Some(self)
    }
}

impl HttpAct for HttpError {
    fn answer<'a>(&'a self, exchange: Exchange<'a>) -> Local<'a, io::Result<()>> {
        let body = r#"{"error":"simulated","code":"SIMULATED"}"#;
        let (status, length) = (self.status.get(), body.len());
        let head =
            format!("HTTP/1.1 {status} Simulated\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
        Box::pin(async move { exchange.send(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await })
    }
}
