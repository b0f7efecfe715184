//! Replaces the configuration while the daemon runs. Everything that can fail comes before the first change.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::Duration;

use smol::channel::{Receiver, bounded};
use smol::lock::Semaphore;

use super::specs::Agents;
use super::system_effects::SystemEffects;
use crate::daemon::effects::{ReloadError, Reloaded};
use crate::daemon::registry::DesiredAgent;
use ops_config::daemon::DaemonConfig;
use ops_config::{DaemonChanges, Loaded, diff_daemon};
use ops_http::Token;
use ops_http::tls::Material;
use ops_runtime::blocking;
use ops_runtime::clock::within;
use ops_runtime::logging::{self, PreparedLog};

/// The time limit of a reload. The configuration may be on a network drive that does not answer.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a reload waits until the sockets of agents are bound.
const SOCKETS: Duration = Duration::from_secs(5);

/// A new configuration that is ready to be applied.
struct Prepared {
    config: DaemonConfig,
    agents: Agents,
    tls: Material,
    token: Option<Token>,
    log: PreparedLog,
    changes: DaemonChanges,
}

impl SystemEffects {
    /// Reads the configuration and applies it as a whole, or changes nothing.
    pub(super) async fn reload_config(&self) -> Result<Reloaded, ReloadError> {
        let source = self.source.clone();
        let read = async {
            // Before the configuration is judged: a wrong one must not keep a rotated log file in use.
            logging::reopen();
            let mut loaded = blocking(move || source.load().map_err(ReloadError::Invalid)).await?;
            let notes = std::mem::take(&mut loaded.notes);
            Ok::<_, ReloadError>((self.prepare(loaded).await?, notes))
        };
        let (prepared, notes) = within(RELOAD_TIMEOUT, read).await.ok_or(ReloadError::TimedOut(RELOAD_TIMEOUT))??;
        let (desired, changes, opened) = self.apply(prepared);
        // The agents that are started next may use them at once.
        let _ = within(SOCKETS, opened.recv()).await;
        for note in &notes {
            tracing::warn!("{note}");
        }
        Ok(Reloaded { desired, changes, notes })
    }

    /// Prepares a configuration. Nothing is changed yet.
    async fn prepare(&self, loaded: Loaded<DaemonConfig>) -> Result<Prepared, ReloadError> {
        if let Some(problems) = loaded.refusal(&self.tls.borrow()) {
            return Err(ReloadError::Invalid(problems));
        }
        let Loaded { mut config, tls, token, .. } = loaded;
        let changes = diff_daemon(&self.config.borrow(), self.agents.borrow().specs(), &config);
        if !changes.needs_restart.is_empty() {
            let keys = changes.needs_restart;
            return Err(ReloadError::NeedsRestart(keys));
        }
        let base_dirs = self.agents.borrow().base_dirs().clone();
        let agents = Agents::take_from(&mut config, base_dirs, &tls)?;
        let log = config.log.clone();
        let log = blocking(move || logging::prepare(&log).map_err(ReloadError::Log)).await?;
        Ok(Prepared { config, agents, tls, token, log, changes })
    }

    /// The receiver is closed when the sockets of agents are as wanted.
    fn apply(&self, prepared: Prepared) -> (Vec<DesiredAgent>, DaemonChanges, Receiver<Infallible>) {
        let Prepared { config, agents, tls, token, log, changes } = prepared;
        logging::apply(log);
        let (added, removed) = (changes.added.join(" "), changes.removed.join(" "));
        let (changed, adjusted) = (changes.changed.join(" "), changes.adjusted.join(" "));
        let unchanged = changes.unchanged.len();
        tracing::info!(added, removed, changed, adjusted, unchanged, "configuration applied");
        let desired = agents.desired();
        // Replaces those of an earlier reload that were not opened yet.
        let (done, opened) = bounded(1);
        let _ = self.sockets.0.force_send((agents.sockets(), done));
        if let (Some(certificate), Some(server)) = (&self.certificate, tls.server()) {
            certificate.replace(server.clone());
        }
        if let (Some(current), Some(token)) = (&self.token, token)
            && current.replace(&token)
        {
            tracing::info!("the token was replaced");
        }
        if self.config.borrow().start_limit != config.start_limit {
            *self.start_permits.borrow_mut() = Rc::new(Semaphore::new(config.start_limit));
        }
        self.hooks.replace(&config.hooks, &tls);
        *self.tls.borrow_mut() = tls;
        *self.agents.borrow_mut() = agents;
        *self.config.borrow_mut() = config;
        // One request serves several reloads.
        let _ = self.looks.0.try_send(());
        (desired, changes, opened)
    }
}

/// Runs blocking work beside the loop.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ReloadError> + Send + 'static,
) -> Result<T, ReloadError> {
    blocking::unblock(work).await.map_err(ReloadError::Thread)?
}
