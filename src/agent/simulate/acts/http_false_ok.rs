//! `http_false_ok`.

use std::io;

use serde::{Deserialize, Serialize};

use super::behaviour::{HttpAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::front::Exchange;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_false_ok",
    sentence: "The status of each answer is 200, also while the agent is Degraded. The body is the true one.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The status of each answer is 200, also while the agent is Degraded. The body is the true one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFalseOk {}

impl Behaviour for HttpFalseOk {
    fn http(&self) -> Option<&dyn HttpAct> {
        Some(self)
    }
}

impl HttpAct for HttpFalseOk {
    fn answer<'a>(&'a self, mut exchange: Exchange<'a>) -> Local<'a, io::Result<()>> {
        Box::pin(async move {
            let answer = exchange.true_answer().await?;
            let end = answer.windows(2).position(|window| window == b"\r\n").unwrap_or_default();
            let rest = answer.get(end..).unwrap_or_default();
            exchange.send(&[b"HTTP/1.1 200 OK", rest].concat()).await
        })
    }
}
