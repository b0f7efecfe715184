//! `hang_loop`.

use serde::{Deserialize, Serialize};

use super::{ActInfo, Behaviour, MainThread, Parameter, Timing};

pub(super) const INFO: ActInfo = ActInfo {
    name: "hang_loop",
    sentence: "The event loop hangs. With `silent`, the port accepts connections and HTTP is silent. With `answered`, \
               HTTP still answers.",
    parameters: &[Parameter { name: "http", values: "`silent`, `answered`", default: "`silent`" }],
    timing: Timing::Lasts,
};

/// The event loop hangs. With `silent`, the port accepts connections and HTTP is silent. With `answered`, HTTP
/// still answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HangLoop {
    /// What HTTP does meanwhile.
    #[serde(default)]
    pub http: HungHttp,
}

/// What HTTP does while the event loop hangs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HungHttp {
    /// The port accepts connections, and no request is answered.
    #[default]
    Silent,
    /// Requests are answered.
    Answered,
}

impl Behaviour for HangLoop {
    fn main_thread(&self) -> MainThread {
        match self.http {
            HungHttp::Silent => MainThread::Blocks,
            HungHttp::Answered => MainThread::HoldsLoop,
        }
    }
}
