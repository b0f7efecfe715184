//! `http_trickle`.

use std::io;
use std::time::Duration;

use async_io::Timer;
use serde::{Deserialize, Serialize};

use super::behaviour::{HttpAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::front::Exchange;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_trickle",
    sentence: "The true answer is sent at one byte per second.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// The true answer is sent at one byte per second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpTrickle {}

impl Behaviour for HttpTrickle {
    fn http(&self) -> Option<&dyn HttpAct> {
        Some(self)
    }
}

impl HttpAct for HttpTrickle {
    fn answer<'a>(&'a self, mut exchange: Exchange<'a>) -> Local<'a, io::Result<()>> {
        Box::pin(async move {
            let answer = exchange.true_answer().await?;
            for byte in answer.chunks(1) {
                exchange.send(byte).await?;
                Timer::after(Duration::from_secs(1)).await;
            }
            Ok(())
        })
    }
}
