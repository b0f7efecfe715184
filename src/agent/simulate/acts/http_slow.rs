//! `http_slow`.

use std::io;
use std::time::Duration;

use async_io::Timer;
use serde::{Deserialize, Serialize};

use super::behaviour::{HttpAct, Local};
use super::{ActInfo, Behaviour, Parameter, Timing};
use crate::agent::simulate::front::Exchange;
use crate::agent::simulate::values;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_slow",
    sentence: "Each answer comes late.",
    parameters: &[Parameter { name: "after", values: "a duration", default: "" }],
    timing: Timing::Lasts,
};

/// Each answer comes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSlow {
    /// How late.
    #[serde(with = "values::duration")]
    pub after: Duration,
}

impl Behaviour for HttpSlow {
    fn http(&self) -> Option<&dyn HttpAct> {
        Some(self)
    }
}

impl HttpAct for HttpSlow {
    fn answer<'a>(&'a self, mut exchange: Exchange<'a>) -> Local<'a, io::Result<()>> {
        Box::pin(async move {
            Timer::after(self.after).await;
            let answer = exchange.true_answer().await?;
            exchange.send(&answer).await
        })
    }
}
