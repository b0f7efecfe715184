//! The simulated disk, daemon and configuration, with faults chosen by the seed.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use ops_agent::testing::agent::effects::{Effects, Notice, Settings};
use ops_agent::testing::agent::heartbeat::scheduler::{DeliveryResult, HeartbeatPolicy};
use ops_agent::testing::agent::reload::ReloadError;
use ops_agent::testing::agent::snapshot::{Snapshot, Usage};
use ops_agent::testing::agent::status_file::WriteError;
use ops_agent::testing::agent::usage::UsageError;
use ops_protocol::heartbeat::Heartbeat;
use ops_runtime::clock::Clock as _;
use ops_runtime::durable::Step;

use super::time::VirtualClock;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disk {
    Good,
    /// Takes up to three seconds.
    Slow,
    /// Takes longer than the agent waits.
    Late,
    Full,
    /// The new file is in place, but the write returns an error.
    Torn,
    /// Does not answer until the fault changes.
    Hung,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Daemon {
    Good,
    Slow,
    Down,
    Refusing,
    Overloaded,
    NotHttp,
    Hung,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum File {
    Good,
    Bad,
    Hung,
}

/// What outlives the process: the file on disk, and the heartbeats that the daemon has received.
#[derive(Debug, Default)]
pub(super) struct Outside {
    pub(super) on_disk: Option<Snapshot>,
    /// The file's time, on the monotonic clock.
    pub(super) on_disk_at: Duration,
    pub(super) received: Option<Heartbeat>,
    pub(super) received_count: u64,
    pub(super) attempts: u64,
}

#[derive(Debug)]
pub(super) struct FakeEffects {
    pub(super) clock: VirtualClock,
    pub(super) rng: RefCell<Rng>,
    pub(super) disk: Cell<Disk>,
    pub(super) daemon: Cell<Daemon>,
    pub(super) file: Cell<File>,
    pub(super) drains: Cell<bool>,
    pub(super) probes: Cell<bool>,
    pub(super) settings: Cell<Settings>,
    pub(super) outside: Rc<RefCell<Outside>>,
    /// How long the last successful write took, apart from suspends.
    pub(super) last_write: Cell<Duration>,
    /// How long the host was suspended.
    pub(super) suspended: Cell<Duration>,
    writing: Cell<bool>,
    sending: Cell<bool>,
}

impl FakeEffects {
    pub(super) fn new(clock: VirtualClock, rng: Rng, settings: Settings, outside: Rc<RefCell<Outside>>) -> Self {
        Self {
            clock,
            rng: RefCell::new(rng),
            disk: Cell::new(Disk::Good),
            daemon: Cell::new(Daemon::Good),
            file: Cell::new(File::Good),
            drains: Cell::new(true),
            probes: Cell::new(true),
            settings: Cell::new(settings),
            outside,
            last_write: Cell::default(),
            suspended: Cell::default(),
            writing: Cell::new(false),
            sending: Cell::new(false),
        }
    }

    pub(super) fn heal(&self) {
        self.disk.set(Disk::Good);
        self.daemon.set(Daemon::Good);
        self.file.set(File::Good);
        self.drains.set(true);
        self.probes.set(true);
    }

    fn within(&self, millis: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.borrow_mut().u64(millis))
    }

    async fn sleep(&self, pause: Duration) {
        self.clock.sleep_until(self.clock.now().monotonic + pause).await;
    }
}

/// Sets a flag until dropped, and asserts that the flag was not set.
struct ExclusiveUse<'a>(&'a Cell<bool>);

impl<'a> ExclusiveUse<'a> {
    fn new(flag: &'a Cell<bool>, what: &str) -> Self {
        assert!(!flag.replace(true), "two {what} at once");
        Self(flag)
    }
}

impl Drop for ExclusiveUse<'_> {
    fn drop(&mut self) {
        self.0.set(false);
    }
}

fn write_error(cause: &str) -> WriteError {
    WriteError { step: Step::Write, path: "agent.ron".into(), source: io::Error::other(cause) }
}

fn failed(detail: &str, unreachable: bool, retry_after: Option<Duration>) -> DeliveryResult {
    DeliveryResult::Failed { detail: detail.to_owned(), unreachable, retry_after }
}

impl Effects for FakeEffects {
    async fn persist(self: Rc<Self>, snapshot: Rc<Snapshot>) -> Result<(), WriteError> {
        let _exclusive = ExclusiveUse::new(&self.writing, "writes of the status file");
        let (taken_at, suspended) = (self.clock.now().monotonic, self.suspended.get());
        while self.disk.get() == Disk::Hung {
            self.sleep(Duration::from_millis(100)).await;
        }
        let disk = self.disk.get();
        let takes = match disk {
            Disk::Slow => self.within(100..3000),
            Disk::Late => self.within(1500..3000),
            Disk::Good | Disk::Full | Disk::Torn | Disk::Hung => self.within(0..5),
        };
        self.sleep(takes).await;
        if disk == Disk::Full {
            return Err(write_error("no space left on device"));
        }
        let mut outside = self.outside.borrow_mut();
        outside.on_disk = Some((*snapshot).clone());
        outside.on_disk_at = taken_at;
        self.last_write.set(self.clock.now().monotonic - taken_at - (self.suspended.get() - suspended));
        if disk == Disk::Torn { Err(write_error("the directory could not be synced")) } else { Ok(()) }
    }

    async fn send(self: Rc<Self>, heartbeat: Heartbeat, _: Duration) -> DeliveryResult {
        let _exclusive = ExclusiveUse::new(&self.sending, "heartbeats");
        self.outside.borrow_mut().attempts += 1;
        let daemon = self.daemon.get();
        let takes = if daemon == Daemon::Slow { self.within(500..8000) } else { self.within(0..3) };
        self.sleep(takes).await;
        match daemon {
            Daemon::Good | Daemon::Slow => {
                let mut outside = self.outside.borrow_mut();
                outside.received = Some(heartbeat);
                outside.received_count += 1;
                DeliveryResult::Delivered
            }
            Daemon::Down => failed("connection refused", true, None),
            Daemon::Refusing => failed("400 invalid agent_id", false, None),
            Daemon::Overloaded => failed("503", false, Some(self.within(0..20_000))),
            Daemon::NotHttp => failed("not HTTP", false, None),
            Daemon::Hung => std::future::pending().await,
        }
    }

    fn endpoint(&self) -> Option<String> {
        self.settings.get().policy.map(|_| "http://daemon/heartbeat".to_owned())
    }

    async fn reload(self: Rc<Self>) -> Result<Settings, ReloadError> {
        let takes = self.within(0..50);
        self.sleep(takes).await;
        match self.file.get() {
            File::Good => {
                let settings = any_settings(&mut self.rng.borrow_mut());
                self.settings.set(settings);
                Ok(settings)
            }
            File::Bad => Err(ReloadError::Invalid("`heartbeat.interval` is 30".to_owned())),
            File::Hung => std::future::pending().await,
        }
    }

    async fn drain(self: Rc<Self>) {
        if !self.drains.get() {
            std::future::pending::<()>().await;
        }
        let takes = self.within(0..500);
        self.sleep(takes).await;
    }

    fn sample(&self) -> Result<Usage, UsageError> {
        let usage = Usage { cpu_percent: self.rng.borrow_mut().f64() * 100.0, memory_bytes: 3 << 20 };
        if self.probes.get() { Ok(usage) } else { Err(UsageError::Process) }
    }

    fn notify(&self, _: Notice<'_>) {}
}

pub(super) fn any_settings(rng: &mut Rng) -> Settings {
    let policy = HeartbeatPolicy {
        interval: Duration::from_millis(rng.u64(100..40_000)),
        timeout: Duration::from_millis(rng.u64(100..6000)),
        failure_threshold: rng.u32(1..5),
        recovery_threshold: rng.u32(1..4),
    };
    Settings {
        policy: (rng.u8(..) > 40).then_some(policy),
        endpoint_changed: rng.bool(),
        refresh: Duration::from_millis(rng.u64(500..20_000)),
    }
}
