//! What the configuration says of each agent, in the words of those who start, watch and judge it.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;

use crate::config::daemon::{AgentSpec, DaemonConfig};
use crate::daemon::checks::{HttpCheck, StatusFileCheck};
use crate::daemon::processes::{Launch, Mark};
use crate::daemon::registry::{AgentId, Wanted};
use crate::daemon::verdict::CheckLimits;
use crate::net::tls::Material;

/// All agents of a configuration.
pub(super) type Agents = HashMap<AgentId, Rc<Agent>>;

/// One agent, ready to be started and looked at.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) wanted: Wanted,
    pub(super) launch: Launch,
    pub(super) endpoint: Option<String>,
    pub(super) http: Option<HttpCheck>,
    pub(super) status_file: Option<StatusFileCheck>,
}

/// Takes a configuration apart. A relative path in it starts at the daemon's own directory, wherever an agent works.
///
/// # Errors
///
/// What no agent can be looked at with: the fact, and what to do.
pub(super) fn agents(config: &DaemonConfig, tls: &Material) -> Result<Agents, String> {
    let base = std::env::current_dir()
        .map_err(|error| format!("the current directory is gone ({error}): start the daemon in one that is there"))?;
    let one = |spec: &AgentSpec| Ok((AgentId::from(spec.id.as_str()), Rc::new(agent(config, spec, tls, &base)?)));
    config.agents.iter().map(one).collect()
}

fn agent(config: &DaemonConfig, spec: &AgentSpec, tls: &Material, base: &Path) -> Result<Agent, String> {
    let health = &spec.health_check;
    let endpoint = health.http_endpoint.as_ref().map(ToString::to_string);
    let secure = spec.secure().and_then(|files| tls.client(files)).cloned();
    let http = endpoint.as_deref().map(|endpoint| HttpCheck::secured(endpoint, secure)).transpose();
    let http = http.map_err(|error| format!("agent {}: {error}", spec.id))?;
    let status_file = health.state_file.as_deref().map(|path| StatusFileCheck::new(base.join(path)));
    let launch = Launch {
        binary: spec.binary_path.clone(),
        args: spec.arguments(base),
        work_dir: base.join(&spec.work_dir),
        mark: Mark::new(&config.work_dir, &spec.id),
    };
    Ok(Agent { wanted: wanted(spec, &launch), launch, endpoint, http, status_file })
}

fn wanted(spec: &AgentSpec, launch: &Launch) -> Wanted {
    let health = &spec.health_check;
    let limits = CheckLimits {
        interval: health.interval,
        start_grace: health.start_grace,
        heartbeat_timeout: health.heartbeat_timeout,
        http: health.http_endpoint.is_some(),
        state_max_age: health.state_file.as_ref().map(|_| health.state_max_age),
        cpu_percent: health.cpu_threshold,
        memory_bytes: health.memory_threshold,
        threshold_duration: health.threshold_duration,
    };
    // What it is called and whether it is to run are no part of it: neither changes the process that is there.
    let text = format!("{:?} {:?} {:?} {health:?} {:?}", launch.binary, launch.args, launch.work_dir, spec.restart);
    Wanted {
        id: AgentId::from(spec.id.as_str()),
        enabled: spec.enabled,
        policy: spec.restart,
        limits,
        fingerprint: fnv(text.as_bytes()),
    }
}

/// FNV-1a: the same in every build, as one daemon's has to be known to the next. std's hashers promise no such thing.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
