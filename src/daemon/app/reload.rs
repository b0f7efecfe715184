//! A configuration that replaces another one while the daemon runs: all that can fail comes before the first change.

use std::time::Duration;

use super::specs::Agents;
use super::system_effects::SystemEffects;
use crate::daemon::registry::DesiredAgent;
use ops_config::daemon::DaemonConfig;
use ops_config::{DaemonChanges, Loaded, diff_daemon};
use ops_http::tls::Material;
use ops_runtime::blocking;
use ops_runtime::clock::within;
use ops_runtime::logging::{self, Prepared};

/// How long a reload may take, a configuration on a dead network drive included.
const RELOAD: Duration = Duration::from_secs(10);

/// What a reload has made ready.
struct Next {
    config: DaemonConfig,
    agents: Agents,
    tls: Material,
    log: Prepared,
    changes: DaemonChanges,
}

impl SystemEffects {
    /// Reads the configuration, and puts it in force as a whole or not at all.
    pub(super) async fn read_again(&self) -> Result<Vec<DesiredAgent>, String> {
        let source = self.source.clone();
        let read = async {
            let mut loaded = blocking(move || source.load().map_err(|problems| problems.to_string())).await?;
            let notes = std::mem::take(&mut loaded.notes);
            Ok((self.prepare(loaded).await?, notes))
        };
        let too_slow = || Err(format!("it could not be read within {RELOAD:?}: is its disk or network drive there?"));
        let (next, notes) = within(RELOAD, read).await.unwrap_or_else(too_slow)?;
        let wanted = self.take_over(next);
        for note in notes {
            tracing::warn!("{note}");
        }
        Ok(wanted)
    }

    /// What is to be in force from now on, with the agents of a configuration. Nothing is changed yet.
    async fn prepare(&self, loaded: Loaded<DaemonConfig>) -> Result<Next, String> {
        if let Some(problems) = loaded.refusal(&self.tls.borrow()) {
            return Err(problems.to_string());
        }
        let Loaded { mut config, tls, .. } = loaded;
        let changes = diff_daemon(&self.config.borrow(), self.agents.borrow().specs(), &config);
        if !changes.needs_restart.is_empty() {
            let keys = changes.needs_restart.join(", ");
            return Err(format!("{keys}: only a restart of the daemon can change that; its agents go on meanwhile"));
        }
        let place = self.agents.borrow().place().clone();
        let agents = Agents::take_from(&mut config, place, &tls)?;
        // Opened anew though nothing in it changed, which is what log rotation wants of a reload.
        let log = config.log.clone();
        let log = blocking(move || logging::prepare(&log).map_err(|error| error.to_string())).await?;
        Ok(Next { config, agents, tls, log, changes })
    }

    fn take_over(&self, next: Next) -> Vec<DesiredAgent> {
        let Next { config, agents, tls, log, changes } = next;
        logging::apply(log);
        let (added, removed) = (changes.added.join(" "), changes.removed.join(" "));
        tracing::info!(added, removed, changed = changes.changed.join(" "), "configuration read again");
        let wanted = agents.wanted();
        if let (Some(proof), Some(server)) = (&self.proof, tls.server()) {
            proof.replace(server.clone());
        }
        *self.tls.borrow_mut() = tls;
        *self.agents.borrow_mut() = agents;
        *self.config.borrow_mut() = config;
        wanted
    }
}

/// What a disk may keep waiting, done beside the loop.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    let done = blocking::unblock(work).await;
    done.unwrap_or_else(|error| Err(format!("there is no thread for it: raise the limit on processes: {error}")))
}
