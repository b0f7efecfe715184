//! `http_stalled`.

use std::future::pending;
use std::io;

use serde::{Deserialize, Serialize};

use super::behaviour::{HttpAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::front::Exchange;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_stalled",
    sentence: "Each request is answered with 200 and the begin of a body that never ends.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Each request is answered with 200 and the begin of a body that never ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpStalled {}

impl Behaviour for HttpStalled {
    fn http(&self) -> Option<&dyn HttpAct> {
        Some(self)
    }
}

impl HttpAct for HttpStalled {
    fn answer<'a>(&'a self, exchange: Exchange<'a>) -> Local<'a, io::Result<()>> {
        Box::pin(async move {
            exchange
                .send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{\"status\":")
                .await?;
            pending().await
        })
    }
}
