//! Builds the daemon from its configuration, runs it, and reports how it ended.
//!
//! The order matters. Signal handlers come first. The lock ensures that there is one daemon. Then running agents are found and
//! the listeners are opened. Agents start last, so their first heartbeat is received.

mod log_files;
pub(crate) mod reload;
mod search;
pub(crate) mod setup;
pub(crate) mod specs;
pub(crate) mod system_effects;

pub(crate) use setup::{ConfigSource, StartError};

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use smol::channel::Sender;
use smol::{LocalExecutor, Task};

use self::setup::Setup;
use self::specs::Agents;
use self::system_effects::{SystemEffects, SystemEffectsConfig};
use super::api::http::{ControlAuth, Http};
use super::api::socket::AgentSockets;
use super::api::{DaemonMetrics, TurnTimes, socket};
use super::control::ControlApi;
use super::event_loop::{End, EventLoop, EventLoopConfig, LoopEvent, ReloadRequest, Stop};
use super::hooks::runner as hooks;
use super::registry::Registry;
use ops_config::daemon::DaemonConfig;
use ops_http::Token;
use ops_http::server::{ListenerState, ServerIdentity, TlsAccept, listen_on, serve};
use ops_http::tls::TlsServer;
use ops_runtime::blocking;
use ops_runtime::clock::{Clock as _, SystemClock, within};
use ops_runtime::executor;
use ops_runtime::orphans;
use ops_runtime::own_process;
use ops_runtime::paths::absolute;
use ops_runtime::service_manager;
use ops_runtime::signals::{Handlers, SignalQueue, SignalRequest, StopSignal};

/// The time that requests in flight have to finish when the daemon ends.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the daemon until it ends. `None`: it was stopped during the set-up.
///
/// # Errors
///
/// [`StartError`] if the loop was not reached. Then no agent was started.
pub(crate) fn run(handlers: Handlers, source: ConfigSource) -> Result<Option<End>, StartError> {
    let executor = Rc::new(LocalExecutor::new());
    let turn_times = TurnTimes::new().map_err(StartError::Metrics)?;
    executor::run_observed(&executor, |cpu_time| turn_times.observe(cpu_time), async {
        let mut signals = handlers.listen(&executor);
        adopt_orphans(&executor).map_err(StartError::Listener)?;
        let setup = async { Some(blocking::unblock(move || Setup::begin(source)).await) };
        let stopped = async {
            signals.stop().await;
            None
        };
        match setup.or(stopped).await {
            Some(setup) => live(setup.map_err(StartError::Thread)??, &executor, signals, &turn_times).await.map(Some),
            None => Ok(None),
        }
    })
}

/// Becomes the parent of agents' descendants that lose theirs, so that they are found and reaped.
fn adopt_orphans(executor: &LocalExecutor<'static>) -> io::Result<()> {
    // A kernel that refuses leaves them to the first process, and agents are then found by their secrets alone.
    let _ = orphans::adopt();
    orphans::reap_in_background(executor)
}

async fn live(
    setup: Setup,
    executor: &Rc<LocalExecutor<'static>>,
    signals: SignalQueue,
    turn_times: &TurnTimes,
) -> Result<End, StartError> {
    let Setup { mut config, base_dirs, source, store, saved, key, starts, cgroups, boot, listener, token, tls, socket } =
        setup;
    let address = listener.local_addr().map_err(StartError::Listener)?;
    let limits = config.http.limits.clone();
    let agents = Agents::take_from(&mut config, base_dirs, &tls).map_err(StartError::Check)?;
    let registry = Registry::open(SystemClock.now(), boot, agents.desired(), saved, &starts.stopped());
    let server = tls.server().cloned();
    if config.http.tls.is_some() && server.is_none() {
        // Never serve in plain HTTP what is configured for TLS.
        return Err(StartError::TlsNotRead);
    }
    let config_path = source.file.as_deref().map(|file| absolute(file).display().to_string());
    let certificate_until = server.as_ref().and_then(TlsServer::valid_until);
    let scheme = if server.is_some() { "https" } else { "http" };
    let control_auth = control_auth(&config, address, token.as_ref(), server.as_ref());
    let certificate = server.map(ServerIdentity::new);
    let system = Rc::new(SystemEffects::new(SystemEffectsConfig {
        source,
        config,
        agents,
        store,
        key,
        starts,
        cgroups,
        tls,
        certificate: certificate.clone(),
        token,
    }));
    let (found, unproved) = system.find_all(&registry).await;
    tracing::info!(agents = registry.iter().len(), running = found.len(), unproved = unproved.len(), "agents loaded");
    let (event_loop, outbox) = EventLoop::new(EventLoopConfig {
        clock: SystemClock,
        system: Rc::clone(&system),
        executor: Rc::clone(executor),
        registry,
        found,
        unproved,
        boot,
        watchdog: service_manager::watchdog(),
    });
    for (id, process) in system.starts.proved() {
        event_loop.shared_registry().change(|registry| registry.set_proved(&id, process));
    }
    signals.forward(executor, outbox.clone(), loop_event);
    executor.spawn(Rc::clone(&system).watch_logs(outbox.clone())).detach();
    for _ in 0..hooks::WORKERS {
        let system = Rc::clone(&system);
        executor.spawn(async move { system.hooks.work().await }).detach();
    }
    let metrics = DaemonMetrics::new().and_then(|metrics| metrics.with(turn_times)).map_err(StartError::Metrics)?;
    let http = Http::new(event_loop.shared_registry(), control_auth, metrics.clone(), config_path);
    let listener = listen_on(listener).map_err(StartError::Listener)?;
    let to_loop = outbox.clone();
    let server = serve(executor, TlsAccept::new(listener, certificate), limits, http, move |condition| {
        let detail = match condition {
            ListenerState::Accepting => None,
            ListenerState::Failing(error) => Some(format!("cannot accept connections: {error}")),
        };
        let _ = to_loop.try_send(LoopEvent::Fault("http", detail));
    });
    tracing::info!(address = %address, scheme, certificate_until, "listening");
    let path = socket.path().display().to_string();
    let sockets = agent_sockets(executor, &system, event_loop.shared_registry(), &metrics, outbox.clone()).await;
    let report = move |detail| drop(outbox.try_send(LoopEvent::Fault("socket", detail)));
    let socket =
        socket::serve(executor, socket, event_loop.shared_registry(), metrics, report).map_err(StartError::Listener)?;
    tracing::info!(socket = path, "listening");
    let end = event_loop.run().await;
    drop(socket);
    system.sockets.0.close();
    // A disk that hangs keeps the files, and the next daemon replaces them.
    let _ = within(DRAIN, sockets).await;
    server.drain(DRAIN).await;
    let left: Vec<&str> = end.left_running.iter().map(AsRef::as_ref).collect();
    tracing::info!(left_running = left.join(" "), in_order = end.in_order, "daemon ended");
    Ok(end)
}

/// Which requests may give commands and read output. Says once if all users of this host may.
fn control_auth(
    config: &DaemonConfig,
    address: SocketAddr,
    token: Option<&Token>,
    server: Option<&TlsServer>,
) -> ControlAuth {
    let verifies_clients = server.is_some_and(TlsServer::verifies_clients);
    if token.is_none() && address.ip().is_loopback() && !verifies_clients {
        tracing::info!("no `http.token_file`: every user of this host can read output and give commands over HTTP");
    }
    ControlAuth::of(address, token.cloned(), verifies_clients).with_names(config.http_names.clone())
}

/// Opens the sockets of agents, before the first of them is started.
async fn agent_sockets(
    executor: &Rc<LocalExecutor<'static>>,
    system: &SystemEffects,
    control: Rc<impl ControlApi>,
    metrics: &DaemonMetrics,
    outbox: Sender<LoopEvent>,
) -> Task<()> {
    let report = move |detail| drop(outbox.try_send(LoopEvent::Fault("agent_sockets", detail)));
    let mut sockets = AgentSockets::new(executor, control, metrics.clone(), report);
    let wanted = system.agents.borrow().sockets();
    sockets.set(wanted).await;
    executor.spawn(sockets.follow(system.sockets.1.clone()))
}

/// SIGINT stops the agents too. SIGTERM leaves them running, so that a service manager can restart the daemon alone. As PID 1 it
/// stops them in order, because the kernel kills them when PID 1 ends.
fn loop_event(signal: SignalRequest) -> LoopEvent {
    match signal {
        SignalRequest::Stop(signal) => {
            let stop = match signal {
                StopSignal::Interrupt => Stop::StopAgents,
                StopSignal::Terminate if own_process::is_init() => Stop::StopAgents,
                StopSignal::Terminate => Stop::LeaveAgents,
            };
            LoopEvent::StopRequested(stop, signal.as_str().to_owned())
        }
        SignalRequest::Reload => LoopEvent::ReloadRequested(ReloadRequest { by: "SIGHUP".to_owned(), reply: None }),
    }
}
