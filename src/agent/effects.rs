//! The world as the driver sees it: a parameter, so that a test can bring one whose disk fills and whose daemon lies.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::heartbeat::scheduler::{DeliveryResult, HeartbeatPolicy};
use super::reload::ReloadError;
use super::snapshot::{Snapshot, Usage};
use ops_protocol::heartbeat::Heartbeat;

/// Carries out what the driver decides. Nothing here decides anything itself, and nothing here blocks the loop.
pub trait Effects: 'static {
    /// Writes the status file. Resolves when it is on disk for good, or with what went wrong.
    fn persist(self: Rc<Self>, snapshot: Rc<Snapshot>) -> impl Future<Output = Result<(), String>>;
    /// Makes one attempt at a heartbeat, and answers within `limit`: by then it knows best how far the attempt came.
    fn send(self: Rc<Self>, heartbeat: Heartbeat, limit: Duration) -> impl Future<Output = DeliveryResult>;
    /// Where heartbeats go now, without credentials. `None`: standalone.
    fn endpoint(&self) -> Option<String>;
    /// Reads the configuration again and applies it as a whole, or changes nothing.
    fn reload(self: Rc<Self>) -> impl Future<Output = Result<Settings, ReloadError>>;
    /// Stops accepting requests and finishes those in flight.
    fn drain(self: Rc<Self>) -> impl Future<Output = ()>;
    /// Samples what the process uses.
    fn sample(&self) -> Result<Usage, String>;
    /// Tells the service manager what everybody may see now.
    fn notify(&self, notice: Notice<'_>);
}

/// What the service manager is told.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// The published state.
    State(&'a Snapshot),
    /// A reload begins.
    Reloading,
    /// The loop still turns.
    Alive,
}

/// What a reload may change in the driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The cadence of heartbeats. `None`: standalone.
    pub policy: Option<HeartbeatPolicy>,
    /// Whether heartbeats go somewhere else than before.
    pub endpoint_changed: bool,
    /// The longest age of the status file.
    pub refresh: Duration,
}
