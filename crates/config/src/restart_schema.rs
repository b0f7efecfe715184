//! The keys that say when and how an agent is restarted and stopped.

use std::time::Duration;

use statemachine::supervision::{ExitCodes, Policy, RestartWhen, StopScope, StopSettings};

use super::daemon_schema::Context;
use super::key::Reload::Live;
use super::key::{Key, key};
use super::numbers::{Time, Whole};
use super::process_values::{ExitCodeList, SignalName};
use super::raw::ValueError;
use super::reader::Sourced;
use super::scope::Scope;
use super::values::{Choice, DAY, HOUR, SHORTEST};

const POLICIES: Choice<RestartWhen> =
    Choice(&[("always", RestartWhen::Always), ("on-failure", RestartWhen::OnFailure), ("never", RestartWhen::Never)]);

const SCOPES: Choice<StopScope> = Choice(&[("tree", StopScope::Tree), ("group", StopScope::Group)]);

const HUNG_STOP_TIMEOUT: Key<Time> = key(
    "hung_stop_timeout",
    Time(Duration::ZERO, HOUR),
    Live,
    "The same for an agent that hangs: of its checks of heartbeat, HTTP, TCP, program and status file, all that are on are \
     bad.",
);

/// Reads the keys of an agent.
pub(super) fn restart(item: &Scope<'_>, context: &Context<'_, '_>) -> Policy {
    let stop = stop(item);
    let restart = restart_section(item);
    let policy = RestartKeys::read(&restart.over(&restart_section(context.defaults))).policy(&restart);
    Policy { stop, ..policy }
}

/// Checks the defaults, even if there is no agent.
pub(super) fn check_restart_defaults(defaults: &Scope<'_>) {
    RestartKeys::read(&restart_section(defaults));
}

fn stop(item: &Scope<'_>) -> StopSettings {
    let default = StopSettings::default();
    let signal = key("stop_signal", SignalName, Live, "The signal that asks the program to end. SIGCONT follows it.");
    let timeout = key(
        "stop_timeout",
        Time(Duration::ZERO, HOUR),
        Live,
        "The time that a stop may take. Then what is left is killed by SIGKILL.",
    );
    let scope = key(
        "stop_scope",
        SCOPES,
        Live,
        "`tree`: all processes that the program has started are stopped. `group`: only those in the session of the \
         main process, so that logins of a program like sshd stay.",
    );
    let timeout = item.sourced(&timeout, default.timeout);
    let hung = item.sourced(&HUNG_STOP_TIMEOUT, default.hung_timeout);
    if hung.is_given() && hung.value > timeout.value {
        let remedy = "set it to at most `stop_timeout`, whose default is 30s".to_owned();
        item.warn(&hung, HUNG_STOP_TIMEOUT.name, "is longer than `stop_timeout`, and has no effect", remedy);
    }
    StopSettings {
        signal: item.value(&signal, default.signal),
        timeout: timeout.value,
        hung_timeout: hung.value,
        scope: item.value(&scope, default.scope),
    }
}

fn restart_section<'r>(parent: &Scope<'r>) -> Scope<'r> {
    parent.section("restart", "Whether and when an agent is restarted.")
}

/// The restart policy, with the sources of its waits.
struct RestartKeys {
    when: RestartWhen,
    max_retries: u32,
    backoff_base: Sourced<Duration>,
    backoff_max: Sourced<Duration>,
    stable_after: Duration,
    success_exit_codes: ExitCodes,
    no_restart_exit_codes: ExitCodes,
}

impl RestartKeys {
    fn read(scope: &Scope<'_>) -> Self {
        let default = Policy::default();
        let retries = "How many restarts in a row before the agent is Failed and waits for the command `start`.";
        let base = "The unit of the waits before restarts: 0, then 1, 1, 3 and 3 times this, then `backoff_max`.";
        let max = "The longest wait before a restart.";
        let stable = "The time of health after which earlier restarts are forgotten.";
        let success = "The exit codes that mean success: after them, the policy `on-failure` does not restart.";
        let no_restart = "The exit codes after which a restart cannot help: the agent is Failed at once.";
        let success = key("success_exit_codes", ExitCodeList, Live, success);
        let no_restart = key("no_restart_exit_codes", ExitCodeList, Live, no_restart);
        Self {
            when: scope.value(&key("policy", POLICIES, Live, "When an agent that ended is restarted."), default.when),
            max_retries: scope.value(&key("max_retries", Whole(0, 1_000_000), Live, retries), default.max_retries),
            backoff_base: scope.sourced(&key("backoff_base", Time(SHORTEST, HOUR), Live, base), default.backoff_base),
            backoff_max: scope.sourced(&key("backoff_max", Time(SHORTEST, DAY), Live, max), default.backoff_max),
            stable_after: scope.value(&key("stable_after", Time(SHORTEST, DAY), Live, stable), default.stable_after),
            success_exit_codes: scope.value(&success, default.success_exit_codes),
            no_restart_exit_codes: scope.value(&no_restart, default.no_restart_exit_codes),
        }
    }

    fn policy(self, scope: &Scope<'_>) -> Policy {
        let (base, max) = (&self.backoff_base, &self.backoff_max);
        if base.value > max.value {
            let given = if base.is_given() { base } else { max };
            let fact = "makes `backoff_base` greater than `backoff_max`".to_owned();
            let remedy = "set `backoff_base` to at most `backoff_max`, whose default is 1m".to_owned();
            scope.report(given, "backoff_base", ValueError { fact, remedy });
        }
        Policy {
            when: self.when,
            max_retries: self.max_retries,
            backoff_base: base.value,
            backoff_max: max.value,
            stable_after: self.stable_after,
            success_exit_codes: self.success_exit_codes,
            no_restart_exit_codes: self.no_restart_exit_codes,
            stop: StopSettings::default(),
        }
    }
}
