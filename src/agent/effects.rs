//! The effects that the event loop needs: a parameter, so that a test can simulate a full disk or a failing daemon.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use super::heartbeat::scheduler::{DeliveryResult, HeartbeatPolicy};
use super::reload::ReloadError;
use super::snapshot::{Snapshot, Usage};
use super::status_file::WriteError;
use super::usage::UsageError;
use ops_protocol::heartbeat::Heartbeat;

/// Performs what the event loop decides. It decides nothing, and it never blocks the loop.
pub trait Effects: 'static {
    /// Writes the status file. Resolves when the file is durable, or with the error.
    fn persist(self: Rc<Self>, snapshot: Rc<Snapshot>) -> impl Future<Output = Result<(), WriteError>>;
    /// Makes one attempt to deliver a heartbeat within `limit`. Its own timeout error is more precise than the loop's.
    fn send(self: Rc<Self>, heartbeat: Heartbeat, limit: Duration) -> impl Future<Output = DeliveryResult>;
    /// The present destination of heartbeats, without credentials. `None`: standalone.
    fn endpoint(&self) -> Option<String>;
    /// Reads the configuration again and applies all of it, or changes nothing.
    fn reload(self: Rc<Self>) -> impl Future<Output = Result<Settings, ReloadError>>;
    /// Stops accepting requests and finishes those in flight.
    fn drain(self: Rc<Self>) -> impl Future<Output = ()>;
    /// Samples the CPU and memory of this process.
    fn sample(&self) -> Result<Usage, UsageError>;
    /// Notifies the service manager.
    fn notify(&self, notice: Notice<'_>);
}

/// A notification to the service manager.
#[derive(Debug, Clone, Copy)]
pub enum Notice<'a> {
    /// The published state.
    State(&'a Snapshot),
    /// A reload begins.
    Reloading,
    /// The loop is alive.
    Alive,
}

/// What a reload can change in the event loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The settings of heartbeats. `None`: standalone.
    pub policy: Option<HeartbeatPolicy>,
    /// Whether the destination of heartbeats has changed.
    pub endpoint_changed: bool,
    /// The refresh interval of the status file.
    pub refresh: Duration,
}
