//! The effects on the real host: disk, daemon, service manager, configuration file.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use smol::lock::Mutex;

use super::{ConfigSource, policy};
use crate::agent::effects::{Effects, Notice, Settings};
use crate::agent::heartbeat::scheduler::DeliveryResult;
use crate::agent::heartbeat::{Failure, Sender, StartSecret};
use crate::agent::reload::ReloadError;
use crate::agent::service_manager;
use crate::agent::snapshot::{Snapshot, Usage};
use crate::agent::status_file::{Context, StatusWriter, WriteError, access, record};
use crate::agent::usage::{UsageError, UsageSampler};
use ops_config::Loaded;
use ops_config::agent::{AgentConfig, HeartbeatConfig};
use ops_http::Token;
use ops_http::server::{Server, ServerIdentity};
use ops_http::tls::Material;
use ops_protocol::heartbeat::Heartbeat;
use ops_protocol::status_file::{Previous, StatusFile};
use ops_runtime::blocking;
use ops_runtime::causes::with_causes;
use ops_runtime::clock;
use ops_runtime::logging;
use ops_runtime::observe::ProcessIdentity;

/// The limit for requests in flight to finish. The machine's grace period ends the wait in any case.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The parts of [`SystemEffects`].
pub(super) struct SystemEffectsConfig {
    pub(super) config: AgentConfig,
    pub(super) source: ConfigSource,
    pub(super) writer: StatusWriter,
    pub(super) previous: Option<Previous>,
    pub(super) tls: Material,
    pub(super) token: Option<Token>,
}

pub(crate) struct SystemEffects {
    identity: ProcessIdentity,
    previous: Option<Previous>,
    writer: StatusWriter,
    refresh: Cell<Duration>,
    sender: RefCell<Option<Rc<HeartbeatSender>>>,
    server: RefCell<Option<Server>>,
    usage_sampler: UsageSampler,
    source: ConfigSource,
    config: RefCell<AgentConfig>,
    tls: RefCell<Material>,
    /// The certificate of the server, which a reload replaces.
    certificate: RefCell<Option<ServerIdentity>>,
    /// The token of the server. A reload replaces its text.
    token: Option<Token>,
}

/// Sends heartbeats. A reload replaces it as a whole, so an attempt in progress keeps the old one.
struct HeartbeatSender {
    sender: Mutex<Sender>,
    endpoint: RefCell<String>,
}

impl HeartbeatSender {
    fn new(config: &HeartbeatConfig, tls: &Material) -> Self {
        let sender = Sender::new(config, tls.client(&config.tls).cloned(), StartSecret::of_this_process());
        let endpoint = RefCell::new(sender.endpoint().to_owned());
        Self { sender: Mutex::new(sender), endpoint }
    }

    async fn send(&self, heartbeat: &Heartbeat, limit: Duration) -> DeliveryResult {
        let mut sender = self.sender.lock().await;
        let result = sender.send(heartbeat, limit).await;
        sender.endpoint().clone_into(&mut self.endpoint.borrow_mut());
        match result {
            Ok(_) => DeliveryResult::Delivered,
            Err(failure) => failed(&failure),
        }
    }
}

impl SystemEffects {
    pub(super) fn new(parts: SystemEffectsConfig) -> Self {
        let SystemEffectsConfig { config, source, writer, previous, tls, token } = parts;
        Self {
            identity: ProcessIdentity::own(),
            previous,
            writer,
            refresh: Cell::new(config.state.refresh),
            sender: RefCell::new(sender(&config, &tls)),
            server: RefCell::new(None),
            usage_sampler: UsageSampler::new(),
            source,
            config: RefCell::new(config),
            tls: RefCell::new(tls),
            certificate: RefCell::new(None),
            token,
        }
    }

    /// Keeps the server for the drain, and its certificate for a reload.
    pub(super) fn serve(&self, server: Server, certificate: Option<ServerIdentity>) {
        *self.server.borrow_mut() = Some(server);
        *self.certificate.borrow_mut() = certificate;
    }

    /// The record of a snapshot, at this time.
    pub(crate) fn record(&self, snapshot: &Snapshot) -> StatusFile {
        let context = Context {
            identity: &self.identity,
            previous: self.previous,
            refresh: self.refresh.get(),
            wall: clock::wall(),
            boottime: clock::boottime(),
        };
        record(snapshot, &context)
    }

    /// Writes a record. Resolves when it is durable.
    #[cfg(feature = "simulate")]
    pub(crate) async fn write(&self, record: StatusFile) -> Result<(), WriteError> {
        self.writer.write(record).await
    }

    /// The absolute path of the status file.
    #[cfg(feature = "simulate")]
    pub(crate) fn status_path(&self) -> &std::path::Path {
        self.writer.path()
    }

    /// Where heartbeats go, and when.
    #[cfg(feature = "simulate")]
    pub(crate) fn heartbeat_config(&self) -> Option<HeartbeatConfig> {
        self.config.borrow().heartbeat.clone()
    }

    /// Whether the TLS files of heartbeats have changed. Then the next heartbeat uses a new connection.
    fn tls_changed(&self, new: &AgentConfig, tls: &Material) -> bool {
        let files = new.heartbeat.as_ref().and_then(HeartbeatConfig::secure);
        files.is_some_and(|files| !tls.agrees_on_client(files, &self.tls.borrow()))
    }

    /// Applies a configuration. Every step that can fail comes before the first change.
    async fn apply(&self, loaded: Loaded<AgentConfig>) -> Result<Settings, ReloadError> {
        if let Some(problems) = loaded.refusal(&self.tls.borrow()) {
            return Err(ReloadError::Invalid(problems.to_string()));
        }
        let Loaded { config: new, tls, token, .. } = loaded;
        let changes = ops_config::diff(&self.config.borrow(), &new);
        if let Some(text) = changes.refusal() {
            return Err(ReloadError::NeedsRestart(text));
        }
        let log = new.log.clone();
        let log = blocking("open the log", move || logging::prepare(&log)).await?;
        logging::apply(log.map_err(|error| ReloadError::Log(with_causes(&error)))?);
        let endpoint_changed = self.config.borrow().heartbeat != new.heartbeat || self.tls_changed(&new, &tls);
        if endpoint_changed {
            *self.sender.borrow_mut() = sender(&new, &tls);
        }
        if let (Some(certificate), Some(server)) = (&*self.certificate.borrow(), tls.server()) {
            certificate.replace(server.clone());
        }
        if let (Some(current), Some(token)) = (&self.token, token)
            && current.replace(&token)
        {
            tracing::info!("the token was replaced");
        }
        *self.tls.borrow_mut() = tls;
        self.refresh.set(new.state.refresh);
        let settings =
            Settings { policy: new.heartbeat.as_ref().map(policy), endpoint_changed, refresh: new.state.refresh };
        *self.config.borrow_mut() = new;
        Ok(settings)
    }
}

/// Runs blocking work beside the loop. `name` describes it.
async fn blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ReloadError> {
    let no_thread = |error: io::Error| ReloadError::NoThread { work: name, error: error.to_string() };
    blocking::unblock(work).await.map_err(no_thread)
}

/// The sender of heartbeats. `None`: standalone.
fn sender(config: &AgentConfig, tls: &Material) -> Option<Rc<HeartbeatSender>> {
    config.heartbeat.as_ref().map(|heartbeat| Rc::new(HeartbeatSender::new(heartbeat, tls)))
}

impl Effects for SystemEffects {
    async fn persist(self: Rc<Self>, snapshot: Rc<Snapshot>) -> Result<(), WriteError> {
        let record = self.record(&snapshot);
        self.writer.write(record).await
    }

    async fn send(self: Rc<Self>, heartbeat: Heartbeat, limit: Duration) -> DeliveryResult {
        let sender = self.sender.borrow().clone();
        match sender {
            Some(sender) => sender.send(&heartbeat, limit).await,
            None => DeliveryResult::Delivered,
        }
    }

    fn endpoint(&self) -> Option<String> {
        self.sender.borrow().as_ref().map(|sender| sender.endpoint.borrow().clone())
    }

    async fn reload(self: Rc<Self>) -> Result<Settings, ReloadError> {
        // Before the configuration is judged: a wrong one must not keep a rotated log file in use.
        logging::reopen();
        let source = self.source.clone();
        let load = move || {
            let loaded = source.load().map_err(|problems| problems.to_string())?;
            let access = access(&loaded.config.state).map_err(|error| error.to_string())?;
            Ok((loaded, access))
        };
        let (mut loaded, access) = blocking("read the configuration", load).await?.map_err(ReloadError::Invalid)?;
        let notes = std::mem::take(&mut loaded.notes);
        let settings = self.apply(loaded).await?;
        self.writer.set_access(access);
        for note in notes {
            tracing::warn!("{note}");
        }
        Ok(settings)
    }

    async fn drain(self: Rc<Self>) {
        let server = self.server.borrow_mut().take();
        if let Some(server) = server {
            let aborted = server.drain(DRAIN_TIMEOUT).await;
            if aborted > 0 {
                tracing::warn!(requests = aborted, "requests aborted: they did not finish within {DRAIN_TIMEOUT:?}");
            }
        }
    }

    fn sample(&self) -> Result<Usage, UsageError> {
        self.usage_sampler.sample()
    }

    fn notify(&self, notice: Notice<'_>) {
        match notice {
            Notice::State(snapshot) => service_manager::notify(snapshot),
            Notice::Reloading => ops_runtime::service_manager::reloading(),
            Notice::Alive => ops_runtime::service_manager::alive(),
        }
    }
}

fn failed(failure: &Failure) -> DeliveryResult {
    DeliveryResult::Failed {
        detail: failure.explain(),
        unreachable: failure.is_unreachable(),
        retry_after: failure.retry_after(),
    }
}
