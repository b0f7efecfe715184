//! `http_garbage`.

use std::io;

use serde::{Deserialize, Serialize};

use super::behaviour::{HttpAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::front::Exchange;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_garbage",
    sentence: "Each request is answered with bytes that are not HTTP.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Each request is answered with bytes that are not HTTP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGarbage {}

impl Behaviour for HttpGarbage {
    fn http(&self) -> Option<&dyn HttpAct> {
        Some(self)
    }
}

impl HttpAct for HttpGarbage {
    fn answer<'a>(&'a self, exchange: Exchange<'a>) -> Local<'a, io::Result<()>> {
        Box::pin(async move { exchange.send(b"\x00\xff\x16 this is not HTTP \r\r\n\n\x80").await })
    }
}
