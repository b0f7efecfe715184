//! What the configuration says of each agent, in the words of those who start, watch and judge it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::daemon::checks::{HttpCheck, StatusFileCheck};
use crate::daemon::processes::{Launch, SupervisionTag, home};
use crate::daemon::registry::{AgentId, DesiredAgent};
use crate::daemon::verdict::CheckLimits;
use ops_config::daemon::{AgentSpec, DaemonConfig};
use ops_http::tls::Material;

/// All agents of a configuration.
#[derive(Debug)]
pub(super) struct Agents {
    place: BaseDirs,
    by_id: HashMap<AgentId, Rc<Agent>>,
}

/// Where the daemon is, which does not change while it runs.
#[derive(Debug, Clone)]
pub(super) struct BaseDirs {
    /// Where relative paths start: the daemon's own directory, wherever an agent works.
    base: PathBuf,
    /// Its work directory, as marks have it.
    home: PathBuf,
}

/// One agent. There may be thousands, of which most do nothing most of the time: what is needed only to start one is made then.
#[derive(Debug)]
pub(super) struct Agent {
    spec: AgentSpec,
    /// Boxed, since it is large, and many have none.
    pub(super) http: Option<Box<HttpCheck>>,
    pub(super) status_file: Option<StatusFileCheck>,
}

impl BaseDirs {
    /// Looks where it is. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// If that cannot be told: the fact, and what to do.
    pub(super) fn look(work_dir: &Path) -> Result<Self, String> {
        let base = std::env::current_dir().map_err(|error| {
            format!("the current directory is gone ({error}): start the daemon in one that is there")
        })?;
        Ok(Self { base, home: home(work_dir) })
    }
}

impl Agents {
    /// Takes them out of a configuration.
    ///
    /// # Errors
    ///
    /// What no agent can be looked at with: the fact, and what to do.
    pub(super) fn take_from(config: &mut DaemonConfig, place: BaseDirs, tls: &Material) -> Result<Self, String> {
        // Copied, since what was read lies scattered over the memory that reading it took, and would keep all of it.
        let one =
            |spec: &AgentSpec| Ok((spec.id.as_str().into(), Rc::new(Agent::new(spec.clone(), tls, &place.base)?)));
        let by_id = std::mem::take(&mut config.agents).iter().map(one).collect::<Result<_, String>>()?;
        Ok(Self { place, by_id })
    }

    /// Where they are the agents of.
    pub(super) const fn place(&self) -> &BaseDirs {
        &self.place
    }

    pub(super) fn get(&self, id: &str) -> Option<&Rc<Agent>> {
        self.by_id.get(id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&AgentId, &Rc<Agent>)> {
        self.by_id.iter()
    }

    /// The configuration's own words.
    pub(super) fn specs(&self) -> impl Iterator<Item = &AgentSpec> {
        self.by_id.values().map(|agent| &agent.spec)
    }

    /// What the core has to know.
    pub(super) fn wanted(&self) -> Vec<DesiredAgent> {
        self.by_id.iter().map(|(id, agent)| self.wanted_of(id, agent)).collect()
    }

    /// What an agent's processes are known again by.
    pub(super) fn mark(&self, id: &str) -> SupervisionTag {
        SupervisionTag::new(&self.place.home, id)
    }

    pub(super) fn launch(&self, agent: &Agent) -> Launch {
        let spec = &agent.spec;
        Launch {
            binary: spec.binary_path.clone(),
            args: spec.arguments(&self.place.base),
            work_dir: self.work_dir(agent),
            mark: self.mark(&spec.id),
        }
    }

    pub(super) fn work_dir(&self, agent: &Agent) -> PathBuf {
        self.place.base.join(&agent.spec.work_dir)
    }

    fn wanted_of(&self, id: &AgentId, agent: &Agent) -> DesiredAgent {
        let (spec, launch) = (&agent.spec, self.launch(agent));
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
        DesiredAgent {
            id: AgentId::clone(id),
            enabled: spec.enabled,
            policy: spec.restart,
            limits,
            fingerprint: fnv(text.as_bytes()),
        }
    }
}

impl Agent {
    fn new(spec: AgentSpec, tls: &Material, base: &Path) -> Result<Self, String> {
        let health = &spec.health_check;
        let secure = spec.secure().and_then(|files| tls.client(files)).cloned();
        let http = health.http_endpoint.as_ref().map(|endpoint| HttpCheck::secured(endpoint.as_str(), secure));
        let http = http.transpose().map_err(|error| format!("agent {}: {error}", spec.id))?.map(Box::new);
        let status_file = health.state_file.as_deref().map(|path| StatusFileCheck::new(base.join(path)));
        Ok(Self { spec, http, status_file })
    }

    /// What is asked by GET.
    pub(super) fn endpoint(&self) -> Option<String> {
        self.spec.health_check.http_endpoint.as_ref().map(ToString::to_string)
    }
}

/// FNV-1a: the same in every build, as one daemon's has to be known to the next. std's hashers promise no such thing.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
