//! Looks after the agents' log files: their sizes, and whether they are still there.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use super::system_effects::SystemEffects;
use crate::daemon::processes::{LogState, Rotation, rotate};
use crate::daemon::registry::AgentId;

/// The interval at which the sizes of the agents' logs are checked.
const ROTATION_INTERVAL: Duration = Duration::from_secs(15);

impl SystemEffects {
    /// Rotates the agents' logs, for as long as the daemon runs.
    pub(super) async fn rotate_for_ever(self: Rc<Self>) {
        let (mut failing, mut missing) = (HashSet::new(), HashSet::new());
        loop {
            async_io::Timer::after(ROTATION_INTERVAL).await;
            for (id, work_dir) in self.work_dirs() {
                match rotate(&work_dir, Rotation::default()).await {
                    Ok(state) => {
                        failing.remove(&id);
                        let is_lost = state == LogState::Missing && self.output_from.borrow().contains_key(&id);
                        if !is_lost {
                            missing.remove(&id);
                        } else if missing.insert(AgentId::clone(&id)) {
                            tracing::warn!(
                                agent_id = %id,
                                directory = %work_dir.join("logs").display(),
                                "the log of the agent was removed: restart the agent, which still writes to the removed file"
                            );
                        }
                    }
                    Err(error) => {
                        if failing.insert(AgentId::clone(&id)) {
                            tracing::warn!(agent_id = %id, %error, "the log of the agent cannot be rotated and keeps growing");
                        }
                    }
                }
            }
        }
    }
}
