//! The run of one seed: an agent is started, disturbed, reloaded, killed and stopped, and checked after every step.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use ops_agent::testing::agent::effects::Settings;
use ops_agent::testing::agent::event_loop::{EventLoop, EventLoopConfig, LoopEvent};
use ops_agent::testing::agent::heartbeat::scheduler::HeartbeatScheduler;
use ops_agent::testing::agent::metrics::AgentMetrics;
use ops_agent::testing::agent::reload::{ReloadRequest, ReloadResult};
use ops_agent::testing::agent::snapshot::{HeartbeatView, Published, Snapshot, Usage};
use ops_runtime::clock::Clock as _;
use smol::channel::{Receiver, Sender};
use smol::{LocalExecutor, Task};
use statemachine::lifecycle::{ExitKind, FaultName, Limits, Machine, Part, State};

use super::effects::{Daemon, Disk, FakeEffects, File, Outside, any_settings};
use super::time::VirtualClock;

/// The longest stop, with its last write.
pub(super) const LONGEST_STOP: Duration = Duration::from_secs(10);

pub(super) struct Life {
    pub(super) rng: Rng,
    pub(super) clock: VirtualClock,
    pub(super) outside: Rc<RefCell<Outside>>,
    pub(super) run: Option<Run>,
    pub(super) latest: (u64, u64),
    /// Since when the disk has had no fault.
    pub(super) good_disk_since: Duration,
}

/// One process: the state that `kill -9` destroys.
pub(super) struct Run {
    pub(super) executor: Rc<LocalExecutor<'static>>,
    pub(super) system: Rc<FakeEffects>,
    pub(super) published: Published,
    pub(super) outbox: Sender<LoopEvent>,
    pub(super) task: Task<ExitKind>,
    pub(super) stop_by: Option<Duration>,
    pub(super) reloads: Vec<(Receiver<ReloadResult>, Duration)>,
    /// The configuration in force, and since when.
    pub(super) settings: (Settings, Duration),
    /// Since when the failure threshold has been reached while Running is still published.
    pub(super) running_without_daemon: Option<Duration>,
    /// Whether the snapshot before had the fault `status_file`.
    pub(super) disk_fault: bool,
}

impl Life {
    pub(super) fn new(seed: u64) -> Self {
        let clock = VirtualClock::new();
        Self {
            rng: Rng::with_seed(seed),
            good_disk_since: clock.now().monotonic,
            clock,
            outside: Rc::default(),
            run: None,
            latest: (0, 0),
        }
    }

    pub(super) fn live(mut self, steps: u64) {
        for _ in 0..steps {
            match &self.run {
                None => self.start(),
                Some(_) => self.act(),
            }
            self.settle();
            self.check();
        }
        self.recover_and_stop();
    }

    /// A disk that always takes longer than the agent waits is one fault that lasts, not one that comes and goes.
    pub(super) fn live_with_a_late_disk(mut self) {
        let degraded = |life: &Self| {
            let shown = life.run.as_ref().expect("a process").published.get();
            let times = shown.lifecycle.history().filter(|moved| moved.to == State::Degraded).count();
            (times, shown.lifecycle.state() == State::Degraded)
        };
        while self.run.as_ref().is_none_or(|run| run.stop_by.is_some()) {
            self.wait(LONGEST_STOP);
            self.start();
            self.settle();
        }
        self.wait(Duration::from_secs(10));
        let (before, _) = degraded(&self);
        if let Some(run) = &self.run {
            run.system.disk.set(Disk::Late);
        }
        self.wait(Duration::from_secs(60));
        for _ in 0..60 {
            self.wait(Duration::from_secs(1));
            assert_eq!(degraded(&self), (before + 1, true));
        }
    }

    fn start(&mut self) {
        let settings = any_settings(&mut self.rng);
        let now = self.clock.now();
        let (incarnation, sequence) = self
            .outside
            .borrow()
            .on_disk
            .as_ref()
            .map_or((0, 0), |found| (found.lifecycle.incarnation(), found.lifecycle.sequence()));
        let limits =
            Limits { start: Duration::from_secs(30), grace: Duration::from_secs(8), refresh: settings.refresh };
        let machine = Machine::new(now, incarnation + 1, sequence, limits);
        let executor = Rc::new(LocalExecutor::new());
        let system = Rc::new(FakeEffects::new(self.clock.clone(), self.rng.fork(), settings, Rc::clone(&self.outside)));
        let published = Published::new(Snapshot {
            agent_id: Arc::from("simulated"),
            pid: 1,
            lifecycle: Arc::new(machine.clone()),
            heartbeat: HeartbeatView::default(),
            usage: Usage::default(),
            http: None,
            https: false,
        });
        let (event_loop, outbox) = EventLoop::new(EventLoopConfig {
            clock: self.clock.clone(),
            system: Rc::clone(&system),
            executor: Rc::clone(&executor),
            scheduler: settings.policy.map(|policy| HeartbeatScheduler::new(policy, now.monotonic, self.rng.fork())),
            machine,
            published: published.clone(),
            metrics: AgentMetrics::new().expect("metrics"),
            watchdog: self.rng.bool().then_some(Duration::from_secs(15)),
            rng: self.rng.fork(),
        });
        let task = executor.spawn(event_loop.run());
        let fails = self.rng.u8(..) <= 5;
        if !fails {
            outbox.try_send(LoopEvent::Proved(Part::Api)).expect("driver");
        } else {
            outbox.try_send(LoopEvent::StartFailed("port 8081 is taken".to_owned())).expect("driver");
        }
        self.good_disk_since = now.monotonic;
        self.run = Some(Run {
            executor,
            system,
            published,
            outbox,
            task,
            stop_by: fails.then_some(now.monotonic + LONGEST_STOP),
            reloads: Vec::new(),
            settings: (settings, now.monotonic),
            running_without_daemon: None,
            disk_fault: false,
        });
    }

    /// Applies one random event.
    fn act(&mut self) {
        let now = self.clock.now().monotonic;
        let Some(run) = &mut self.run else { return };
        match self.rng.u8(0..100) {
            0..8 => {
                let disk = [Disk::Good, Disk::Good, Disk::Slow, Disk::Full, Disk::Torn, Disk::Hung];
                run.system.disk.set(disk[self.rng.usize(..disk.len())]);
                self.good_disk_since = now;
            }
            8..16 => {
                use Daemon::{Down, Good, Hung, NotHttp, Overloaded, Refusing, Slow};
                let daemon = [Good, Good, Slow, Down, Refusing, Overloaded, NotHttp, Hung];
                run.system.daemon.set(daemon[self.rng.usize(..daemon.len())]);
            }
            16..18 => run.system.probes.set(self.rng.u8(..) > 60),
            18..20 => run.system.drains.set(self.rng.u8(..) > 60),
            20..22 => run.system.file.set([File::Good, File::Bad, File::Hung][self.rng.usize(..3)]),
            22..26 => {
                let (reply, result) = smol::channel::bounded(1);
                let request = ReloadRequest { by: "test".to_owned(), reply: Some(reply) };
                let _ = run.outbox.try_send(LoopEvent::ReloadRequested(request));
                run.reloads.push((result, now));
            }
            26..29 => {
                let report = if self.rng.bool() {
                    LoopEvent::Raised(FaultName::Http, "too many open files".to_owned())
                } else {
                    LoopEvent::Cleared(FaultName::Http)
                };
                let _ = run.outbox.try_send(report);
            }
            29..30 => {
                let _ = run.outbox.try_send(LoopEvent::StopRequested("SIGTERM".to_owned()));
                run.stop_by.get_or_insert(now + LONGEST_STOP);
            }
            30..31 if self.rng.u8(..) > 200 => self.kill(),
            31..32 => self.clock.set_wall(SystemTime::UNIX_EPOCH + Duration::from_secs(self.rng.u64(..1 << 34))),
            32..33 => self.suspend(),
            33..50 => self.pass(100),
            _ => self.pass(4000),
        }
    }

    /// `kill -9`: only the state outside the process stays.
    fn kill(&mut self) {
        self.run = None;
    }

    /// The host is suspended for hours. The wake-up must not cause a burst of heartbeats.
    fn suspend(&mut self) {
        let attempts = self.outside.borrow().attempts;
        let hours = Duration::from_secs(self.rng.u64(3600..36_000));
        self.clock.advance_to(self.clock.now().monotonic + hours);
        if let Some(run) = &mut self.run {
            // The time in suspend does not count.
            run.system.suspended.set(run.system.suspended.get() + hours);
            run.stop_by = run.stop_by.map(|by| by + hours);
            run.reloads.iter_mut().for_each(|(_, since)| *since += hours);
        }
        self.settle();
        let burst = self.outside.borrow().attempts - attempts;
        assert!(burst <= 2, "{burst} heartbeats at once after a suspend");
        self.good_disk_since = self.clock.now().monotonic;
    }

    /// A random time of up to `max` milliseconds passes.
    fn pass(&mut self, millis: u64) {
        let span = Duration::from_millis(self.rng.u64(0..millis));
        self.wait(span);
    }

    /// Advances the time from timer to timer.
    fn wait(&mut self, span: Duration) {
        let end = self.clock.now().monotonic + span;
        while let Some(at) = self.clock.next_timer().filter(|at| *at <= end) {
            self.clock.advance_to(at);
            self.settle();
            self.check();
        }
        self.clock.advance_to(end);
    }

    /// Runs all tasks that can proceed without time passing.
    fn settle(&mut self) {
        let Some(run) = &self.run else { return };
        let mut turns = 0;
        while run.executor.try_tick() {
            turns += 1;
            assert!(turns < 10_000, "the agent spins without time passing");
        }
        if run.task.is_finished() {
            self.ended();
        }
    }

    /// Clears all faults. The agent has to be Running again, and to stop cleanly.
    fn recover_and_stop(mut self) {
        if self.run.as_ref().is_none_or(|run| run.stop_by.is_some()) {
            self.wait(LONGEST_STOP);
            assert!(self.run.is_none(), "not stopped in time");
            loop {
                self.start();
                self.settle();
                if self.run.as_ref().is_some_and(|run| run.stop_by.is_none()) {
                    break;
                }
                self.wait(LONGEST_STOP);
            }
        }
        let run = self.run.as_ref().expect("a run");
        run.system.heal();
        let _ = run.outbox.try_send(LoopEvent::Cleared(FaultName::Http));
        let _ = run.outbox.try_send(LoopEvent::Proved(Part::Api));
        self.good_disk_since = self.clock.now().monotonic;
        self.settle();
        // The longest interval, thrice for the recovery threshold, and a jitter on each.
        self.wait(Duration::from_secs(150));
        let run = self.run.as_mut().expect("it lives");
        let life = Arc::clone(&run.published.get().lifecycle);
        assert_eq!(life.state(), State::Running, "all is well, but {:?}", life.faults());
        let sends = run.system.settings.get().policy.is_some();
        let _ = run.outbox.try_send(LoopEvent::StopRequested("SIGTERM".to_owned()));
        run.stop_by = Some(self.clock.now().monotonic + LONGEST_STOP);
        self.settle();
        self.wait(LONGEST_STOP);
        assert!(self.run.is_none(), "not stopped in time");
        if sends {
            let outside = self.outside.borrow();
            assert_eq!(
                outside.received.as_ref().map(|heartbeat| heartbeat.state),
                Some(State::Stopping),
                "the last heartbeat"
            );
        }
    }
}
