//! What must be true of the simulated agent after every step and after its end.

use std::time::Duration;

use ops_agent::testing::agent::reload::ReloadError;
use ops_agent::testing::agent::snapshot::Snapshot;
use ops_agent::testing::agent::write_barrier::WRITE_TIMEOUT;
use ops_runtime::clock::Clock as _;
use statemachine::lifecycle::{ExitKind, FaultName, State};

use super::effects::Disk;
use super::life::{LONGEST_STOP, Life};

impl Life {
    pub(super) fn ended(&mut self) {
        let Some(run) = self.run.take() else { return };
        let outcome = smol::block_on(run.task);
        let shown = run.published.get();
        assert_eq!(shown.lifecycle.state(), State::Stopped, "ended with {outcome:?}");
        assert!(
            outcome == ExitKind::Failed || run.stop_by.is_some(),
            "ended with {outcome:?}, without a request to stop"
        );
        if !shown.lifecycle.faults().contains(FaultName::StatusFile) {
            let outside = self.outside.borrow();
            let found = outside.on_disk.as_ref().expect("a file");
            assert_eq!(found.lifecycle.state(), State::Stopped, "the file does not show Stopped");
        }
    }

    pub(super) fn check(&mut self) {
        let now = self.clock.now().monotonic;
        let outside = self.outside.borrow();
        let on_disk = outside.on_disk.as_ref().map_or((0, 0), number);
        assert!(on_disk >= self.latest, "the file went back from {:?} to {on_disk:?}", self.latest);
        self.latest = on_disk;
        let Some(run) = &mut self.run else { return };
        let shown = run.published.get();
        let life = &shown.lifecycle;
        let excused = life.faults().contains(FaultName::StatusFile);
        let just_begun = life.state() == State::Starting && life.history().len() == 0;
        if std::mem::replace(&mut run.disk_fault, excused) && !excused {
            let took = run.system.last_write.get();
            assert!(took < 2 * WRITE_TIMEOUT, "a write of {took:?} shows that the disk works again");
        }
        let durable = number(&shown) <= on_disk;
        assert!(durable || excused || just_begun, "shown {:?}, on disk {on_disk:?}", number(&shown));
        assert_eq!(
            life.state() == State::Degraded,
            !life.faults().is_empty() && life.state().sends_heartbeats(),
            "{life:?}"
        );
        let threshold = run.system.settings.get().policy.map_or(u32::MAX, |policy| policy.failure_threshold);
        if life.state() == State::Running && shown.heartbeat.consecutive_failures >= threshold {
            // Degraded is published once it is on disk, or once the write has been given up.
            let since = *run.running_without_daemon.get_or_insert(now);
            assert!(now <= since + 2 * WRITE_TIMEOUT, "Running after {threshold} failed heartbeats");
        } else {
            run.running_without_daemon = None;
        }
        if let Some(by) = run.stop_by {
            assert!(now <= by, "not stopped {LONGEST_STOP:?} after the request");
        }
        run.reloads.retain(|(result, since)| {
            let open = result.is_empty() && !result.is_closed();
            assert!(!open || now < *since + Duration::from_secs(25), "a reload without a result");
            if let Ok(Err(error)) = result.try_recv() {
                let expected = [ReloadError::NotNow, ReloadError::TooSlow(Duration::from_secs(10))];
                assert!(expected.contains(&error) || matches!(error, ReloadError::Invalid(_)), "{error}");
            }
            open
        });
        let settings = run.system.settings.get();
        if run.settings.0 != settings {
            run.settings = (settings, now);
        }
        // The longest refresh that may have been in force before counts until it is over.
        let quiet = self.good_disk_since.max(run.settings.1) + Duration::from_secs(24);
        if run.system.disk.get() == Disk::Good && now > quiet {
            let age = now - outside.on_disk_at;
            assert!(age <= settings.refresh, "the file is {age:?} old, promised were {:?}", settings.refresh);
        }
    }
}

fn number(snapshot: &Snapshot) -> (u64, u64) {
    (snapshot.lifecycle.incarnation(), snapshot.lifecycle.sequence())
}
