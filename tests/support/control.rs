//! A control API over a real registry, whose agents the test sets.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;

use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::control::{
    ControlApi, Declined, HeartbeatSender, LoopCounts, Order, ReloadRefused, ScrapeTarget,
};
use ops_agent::testing::daemon::effects::Description;
use ops_agent::testing::daemon::processes::{LogPosition, NamedSignal, NewOutput};
use ops_agent::testing::daemon::registry::{
    AgentId, DesiredAgent, HeartbeatFacts, Notification, Proof, Registry, Rejected,
};
use ops_protocol::heartbeat::ReceivedHeartbeat;
use ops_protocol::views::{
    AgentView, DaemonHealth, HookFailureView, HooksView, LastReload, RefusedReload, ReloadView, StateName,
};
use ops_protocol::{Command, Timestamp};
use ops_runtime::clock::{Clock, SystemClock};
use statemachine::supervision::{BootId, Exit, Identity, Input, Policy, State};

/// The pid of `agent-0`. The other agents follow in order.
pub(crate) const FIRST_PID: u32 = 1000;

/// The control API that the test controls.
pub(crate) struct FakeControl {
    registry: RefCell<Registry>,
    commands: Sender<(String, Command)>,
    refused_reload: RefCell<Option<RefusedReload>>,
    failed_reload: RefCell<Option<ReloadRefused>>,
    faults: RefCell<Vec<String>>,
    /// The commands that do not fit the present state.
    refused: RefCell<Vec<Command>>,
}

impl FakeControl {
    /// With this number of agents, `agent-0` and so on, whose processes have just started.
    pub(crate) fn new(agents: u32, commands: Sender<(String, Command)>) -> Self {
        let now = SystemClock.now();
        let mut registry = Registry::open(now, boot(), (0..agents).map(desired).collect(), None, &[]);
        for n in 0..agents {
            let id = format!("agent-{n}");
            registry.found(now, &id, None).expect("it is known");
            registry.handle(now, &id, Input::Spawned(process(n))).expect("it is known");
        }
        Self {
            registry: RefCell::new(registry),
            commands,
            refused_reload: RefCell::default(),
            failed_reload: RefCell::default(),
            faults: RefCell::default(),
            refused: RefCell::new(vec![Command::Start]),
        }
    }

    /// A reload is refused.
    pub(crate) fn refuse_reload(&self, reason: &str) {
        let refused = RefusedReload { at: Timestamp(SystemClock.now().wall), reason: reason.to_owned() };
        *self.refused_reload.borrow_mut() = Some(refused);
    }

    /// A reload fails for a reason that is not in the configuration.
    pub(crate) fn fail_reload(&self, reason: ReloadRefused) {
        *self.failed_reload.borrow_mut() = Some(reason);
    }

    /// These commands do not fit the present state.
    pub(crate) fn refuse(&self, commands: &[Command]) {
        *self.refused.borrow_mut() = commands.to_vec();
    }

    /// The daemon cannot do its work, and a hook has failed.
    pub(crate) fn set_fault(&self, fault: &str) {
        *self.faults.borrow_mut() = vec![fault.to_owned()];
    }

    /// Reports the exit of an agent's process.
    pub(crate) fn end(&self, n: u32) {
        self.tell(n, Input::Exited(process(n), Exit::Signal(9)));
    }

    /// A reload removes the last agent.
    pub(crate) fn remove_last(&self) {
        let mut registry = self.registry.borrow_mut();
        let agents = u32::try_from(registry.iter().len()).expect("few agents");
        registry.reload(SystemClock.now(), (0..agents - 1).map(desired).collect());
        let last = format!("agent-{}", agents - 1);
        registry.handle(SystemClock.now(), &last, Input::Exited(process(agents - 1), Exit::Code(0))).expect("known");
        assert!(registry.get(&last).is_none(), "it is gone once its process is");
    }

    /// The last output of the process of an agent is known.
    pub(crate) fn set_output(&self, n: u32, line: &str) {
        self.registry.borrow_mut().set_last_output(&format!("agent-{n}"), process(n), vec![line.to_owned()]);
    }

    /// Applies an input to an agent.
    pub(crate) fn tell(&self, n: u32, input: Input) {
        self.registry.borrow_mut().handle(SystemClock.now(), &format!("agent-{n}"), input).expect("it is known");
    }

    /// How many heartbeats were accepted.
    pub(crate) fn accepted(&self) -> u64 {
        self.registry.borrow().iter().map(|(_, entry)| entry.heartbeats).sum()
    }
}

impl ControlApi for FakeControl {
    /// The pid alone proves a heartbeat: the processes of this control do not exist.
    fn heartbeat(&self, heartbeat: &ReceivedHeartbeat, _: &HeartbeatSender<'_>) -> Result<(), Rejected> {
        let mut registry = self.registry.borrow_mut();
        let by_pid = registry.by_pid(heartbeat.pid).map(|id| id.to_string());
        let id = heartbeat.agent_id.clone().or(by_pid).unwrap_or_default();
        let main = registry.get(&id).and_then(|entry| entry.machine().process());
        let is_main = main.is_some_and(|main| main.pid == heartbeat.pid);
        let proof = if is_main { Proof::Proved } else { Proof::Nothing };
        registry.on_heartbeat(SystemClock.now(), &id, &HeartbeatFacts::of(heartbeat, proof)).map(drop)
    }

    fn agent_ids(&self) -> Vec<AgentId> {
        let mut ids: Vec<AgentId> = self.registry.borrow().iter().map(|(id, _)| AgentId::clone(id)).collect();
        ids.sort_unstable();
        ids
    }

    fn agent(&self, id: &str) -> Option<AgentView> {
        self.registry.borrow().view(SystemClock.now(), id)
    }

    fn notify(&self, _: &str, _: u32, _: Notification) {}

    fn signal(&self, id: &str, _: NamedSignal, _: &str) -> Result<(), Declined> {
        Err(Declined::unknown(id))
    }

    fn control(&self, id: &str, Order { command, .. }: Order, _by: &str) -> Result<(), Declined> {
        if self.registry.borrow().get(id).is_none() {
            return Err(Declined::unknown(id));
        }
        if self.refused.borrow().contains(&command) {
            return Err(Declined::NotNow(format!("{id} runs already: restart it if you mean that")));
        }
        self.commands.send((id.to_owned(), command)).map_err(|_| Declined::Failed("the test is over".to_owned()))
    }

    fn scrape_target(&self, id: &str) -> Option<ScrapeTarget> {
        let state = self.registry.borrow().get(id)?.machine().state();
        let description = Description {
            name: "Agent 0".to_owned(),
            kind: "custom",
            labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
            metrics_url: Some("http://127.0.0.1:9100/metrics".to_owned()),
        };
        (id == "agent-0").then(|| ScrapeTarget { agent_id: id.to_owned(), state, description })
    }

    fn counts(&self) -> LoopCounts {
        LoopCounts { transitions: 1, refused_events: 2, saves: 3, failed_saves: 4 }
    }

    fn health(&self) -> DaemonHealth {
        DaemonHealth {
            healthy: self.faults.borrow().is_empty(),
            faults: self.faults.borrow().clone(),
            held: None,
            held_reason: None,
            held_agents: 0,
            agents: BTreeMap::from([(StateName(State::Running), self.registry.borrow().iter().len())]),
            strays: self.registry.borrow().strays(),
            uptime_s: 5,
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").into(),
            configured_at: None,
            hooks: self.faults.borrow().first().map(|reason| HooksView {
                pending: 0,
                ok: 1,
                failed: 1,
                dropped: 0,
                last_failure: Some(HookFailureView {
                    at: Timestamp(SystemClock.now().wall),
                    hook: "hooks[0]".to_owned(),
                    reason: reason.clone(),
                }),
            }),
            reload_refused: self.refused_reload.borrow().clone(),
            last_reload: self.refused_reload.borrow().as_ref().map(|refused| LastReload {
                at: refused.at,
                success: false,
                by: "SIGHUP".to_owned(),
                message: refused.reason.clone(),
            }),
        }
    }

    async fn reload(&self, by: &str) -> Result<ReloadView, ReloadRefused> {
        futures_lite::future::yield_now().await;
        if let Some(reason) = &*self.failed_reload.borrow() {
            return Err(reason.clone());
        }
        match &*self.refused_reload.borrow() {
            Some(refused) => Err(ReloadRefused::Config(refused.reason.clone())),
            None => Ok(ReloadView { success: true, message: by.to_owned(), ..ReloadView::default() }),
        }
    }

    async fn logs(&self, id: &str, lines: usize) -> Result<Vec<String>, Declined> {
        futures_lite::future::yield_now().await;
        self.agent(id).ok_or_else(|| Declined::unknown(id))?;
        // A real log is finite too.
        Ok((0..lines.min(1000)).map(|n| format!("{id} line {n}")).collect())
    }

    /// The same lines again and again.
    async fn new_output(&self, id: &str, position: Option<LogPosition>, lines: usize) -> Result<NewOutput, Declined> {
        Ok(NewOutput { lines: self.logs(id, lines).await?, skipped: false, next: position })
    }
}

fn boot() -> BootId {
    "0123456789abcdef0123456789abcdef".parse().expect("a boot id")
}

fn desired(n: u32) -> DesiredAgent {
    DesiredAgent {
        id: AgentId::from(format!("agent-{n}")),
        enabled: true,
        depends_on: Box::default(),
        policy: Policy::default(),
        // The process does not exist, so its usage cannot be measured.
        limits: CheckLimits { cpu_percent: None, memory_bytes: None, ..CheckLimits::default() },
        fingerprint: 1,
    }
}

fn process(n: u32) -> Identity {
    Identity { pid: FIRST_PID + n, start_ticks: 1, boot: boot() }
}
