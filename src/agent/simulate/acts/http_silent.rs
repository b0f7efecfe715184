//! `http_silent`.

use std::future::pending;
use std::io;

use serde::{Deserialize, Serialize};

use super::behaviour::{HttpAct, Local};
use super::{ActInfo, Behaviour, Timing};
use crate::agent::simulate::front::Exchange;

pub(super) const INFO: ActInfo = ActInfo {
    name: "http_silent",
    sentence: "Connections are accepted, and no request is answered.",
    parameters: &[],
    timing: Timing::Lasts,
};

/// Connections are accepted, and no request is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpSilent {}

impl Behaviour for HttpSilent {
    fn http(&self) -> Option<&dyn HttpAct> {
        Some(self)
    }
}

impl HttpAct for HttpSilent {
    fn answer<'a>(&'a self, _: Exchange<'a>) -> Local<'a, io::Result<()>> {
        Box::pin(pending())
    }
}
