//! Looks after the agents' log files: their sizes, and whether another program has changed them.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use smol::channel::Sender;
use statemachine::supervision::Identity;

use super::system_effects::SystemEffects;
use crate::daemon::event_loop::LoopEvent;
use crate::daemon::processes::{LogFile, LogState, rotate_all};
use crate::daemon::registry::AgentId;

/// The interval at which the agents' logs are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(15);

/// What another program has done to a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Removed,
    Replaced,
    Shortened,
}

impl Change {
    /// The fact, and what to do.
    const fn text(self) -> &'static str {
        match self {
            Self::Removed => "the log was removed: restart the agent, which still writes to the removed file",
            Self::Replaced => {
                "the log was replaced: restart the agent, which still writes to the earlier file, or rotate by copy and truncation"
            }
            Self::Shortened => {
                "another program has shortened the log since the start of the agent: earlier output is only in the copies that it made"
            }
        }
    }
}

/// What is known of the log of one agent.
#[derive(Debug)]
struct WatchedLog {
    /// The process that the daemon has started, which holds the log.
    holder: Option<Identity>,
    /// The file that it holds. `None`: the file that the next look finds.
    held: Option<(u64, u64)>,
    /// The size at the last look.
    length: u64,
    change: Option<Change>,
    /// Why it cannot be rotated.
    is_failing: bool,
}

impl WatchedLog {
    /// The log that a process was started with, or that of a process of an earlier daemon.
    fn new(started: Option<(Identity, LogFile)>) -> Self {
        let (holder, log) = started.unzip();
        let (held, length) = (log.map(|log| log.id), log.map_or(0, |log| log.length));
        Self { holder, held, length, change: None, is_failing: false }
    }

    /// Takes a look. Returns whether the change is another one than before.
    fn see(&mut self, found: LogState) -> bool {
        let before = self.change;
        match found {
            LogState::Missing if self.held.is_some() => self.change = Some(Change::Removed),
            LogState::Missing => {}
            LogState::Small(log) | LogState::Rotated(log) => {
                let is_held = *self.held.get_or_insert(log.id) == log.id;
                let is_shorter = matches!(found, LogState::Small(_)) && log.length < self.length;
                self.change = match before {
                    _ if !is_held => Some(Change::Replaced),
                    _ if is_shorter => Some(Change::Shortened),
                    // That stays true until the next start.
                    Some(Change::Shortened) => before,
                    Some(Change::Removed | Change::Replaced) | None => None,
                };
                self.length = log.length;
            }
        }
        self.change != before
    }
}

impl SystemEffects {
    /// Looks after the agents' logs, for as long as the daemon runs.
    pub(super) async fn watch_logs(self: Rc<Self>, outbox: Sender<LoopEvent>) {
        let mut logs: HashMap<AgentId, WatchedLog> = HashMap::new();
        loop {
            // A reload may have changed the sizes.
            let reloaded = async {
                let _ = self.looks.1.recv().await;
            };
            let in_time = async {
                async_io::Timer::after(LOOK_INTERVAL).await;
            };
            reloaded.or(in_time).await;
            let found = match rotate_all(self.log_rotations()).await {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "the agents' logs cannot be looked at: trying again");
                    continue;
                }
            };
            let mut known = std::mem::take(&mut logs);
            for (id, found) in found {
                let started = self.log_before.borrow().get(&id).copied();
                let mut log = known.remove(&id).unwrap_or_else(|| WatchedLog::new(started));
                if log.holder != started.map(|(main, _)| main) {
                    log = WatchedLog { is_failing: log.is_failing, ..WatchedLog::new(started) };
                    let _ = outbox.try_send(LoopEvent::LogChanged(AgentId::clone(&id), None));
                }
                match found {
                    Ok(found) => {
                        log.is_failing = false;
                        if log.see(found) {
                            let text = log.change.map(Change::text);
                            let _ = outbox.try_send(LoopEvent::LogChanged(AgentId::clone(&id), text));
                        }
                    }
                    Err(error) => {
                        if !std::mem::replace(&mut log.is_failing, true) {
                            tracing::warn!(agent_id = %id, %error, "the log of the agent cannot be rotated and keeps growing");
                        }
                    }
                }
                logs.insert(id, log);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn small(inode: u64, length: u64) -> LogState {
        LogState::Small(LogFile { id: (1, inode), length })
    }

    fn started() -> WatchedLog {
        let main = Identity { pid: 5, start_ticks: 7, boot: "00000000-0000-0000-0000-000000000001".parse().unwrap() };
        WatchedLog::new(Some((main, LogFile { id: (1, 10), length: 50 })))
    }

    #[test]
    fn what_another_program_does_to_a_log_is_told_once_and_ends_when_it_is_undone() {
        let mut log = started();
        let mut see = |found| (log.see(found), log.change);
        assert_eq!(see(small(10, 60)), (false, None));
        assert_eq!(see(LogState::Missing), (true, Some(Change::Removed)));
        assert_eq!(see(LogState::Missing), (false, Some(Change::Removed)));
        assert_eq!(see(small(11, 0)), (true, Some(Change::Replaced)));
        assert_eq!(see(small(10, 70)), (true, None), "the file is back in its place");
        assert_eq!(see(small(10, 69)), (true, Some(Change::Shortened)));
        assert_eq!(see(small(10, 90)), (false, Some(Change::Shortened)), "what is lost stays lost");
    }

    #[test]
    fn a_rotation_by_the_daemon_is_no_change() {
        let mut log = started();
        let rotated = LogState::Rotated(LogFile { id: (1, 10), length: 0 });
        assert!(!log.see(rotated) && !log.see(small(10, 1)));
        assert!(log.see(small(10, 0)));
    }

    #[test]
    fn the_log_of_an_adopted_process_is_the_one_that_is_found_first() {
        let mut log = WatchedLog::new(None);
        assert!(!log.see(LogState::Missing) && !log.see(small(20, 5)));
        assert!(log.see(small(21, 5)));
        assert_eq!(log.change, Some(Change::Replaced));
    }
}
