//! `daemon hook`.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use smol::LocalExecutor;

use crate::cli::config_args::ConfigArgs;
use crate::cli::exit_code::FAILED;
use crate::cli::output::{fail, fail_config, print};
use crate::daemon::effects::Description;
use crate::daemon::hooks::facts::{HookFacts, Message};
use crate::daemon::hooks::target::{Hook, Surroundings, Told};
use ops_config::daemon::{AgentSpec, DaemonConfig, HookEvent};
use ops_runtime::clock::{self, Clock as _, SystemClock};
use ops_runtime::executor;
use ops_runtime::paths::absolute;

/// The commands about hooks.
#[derive(Debug, Subcommand)]
pub(super) enum HookCommand {
    /// Run the hooks of a configuration once each with an example, as this user, and print how they went
    Test(TestArgs),
}

/// The arguments of `hook test`.
#[derive(Debug, Args)]
pub(super) struct TestArgs {
    /// Only the hooks that are told of this event; by default all, each with its first event
    #[arg(value_enum, value_name = "EVENT")]
    event: Option<Event>,
    /// Only the hooks that are told of this agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// An event, as the command line has it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Event {
    Failed,
    Unhealthy,
    Recovered,
    Restarted,
    Held,
}

impl From<Event> for HookEvent {
    fn from(event: Event) -> Self {
        match event {
            Event::Failed => Self::Failed,
            Event::Unhealthy => Self::Unhealthy,
            Event::Recovered => Self::Recovered,
            Event::Restarted => Self::Restarted,
            Event::Held => Self::Held,
        }
    }
}

/// The ID in an example, if the configuration has no agent.
const EXAMPLE_ID: &str = "agent-001";

/// Runs a command.
pub(super) fn run(command: &HookCommand) -> ExitCode {
    match command {
        HookCommand::Test(args) => test(args),
    }
}

fn test(args: &TestArgs) -> ExitCode {
    let loaded = match super::source(&args.config).load() {
        Ok(loaded) => loaded,
        Err(problems) => return fail_config(&problems),
    };
    let config = &loaded.config;
    if let Some(id) = args.agent.as_deref().filter(|id| !config.agents.iter().any(|agent| agent.id == *id)) {
        return fail(&format!("there is no agent {id:?} in the configuration: correct `--agent`"), None, FAILED);
    }
    let event = args.event.map(HookEvent::from);
    let concerned = |hook: &Hook| {
        let event = event.or_else(|| hook.spec().on.first().copied())?;
        hook.concerns(event, args.agent.as_deref()).then_some(event)
    };
    let hooks = Hook::all(&config.hooks, &loaded.tls);
    let chosen: Vec<(&Hook, HookEvent)> = hooks.iter().filter_map(|hook| Some((hook, concerned(hook)?))).collect();
    if chosen.is_empty() {
        return fail("no hook of the configuration is told of this: correct `hooks`, or the arguments", None, FAILED);
    }
    // Before its first start a daemon has no work directory.
    let work_dir = Some(absolute(&config.work_dir)).filter(|path| path.is_dir()).unwrap_or_else(|| "/".into());
    let surroundings = Surroundings { work_dir, overrides: ops_config::override_variables() };
    let mut is_good = true;
    for (hook, event) in chosen {
        let message = message(config, hook, event, args.agent.as_deref());
        let began = clock::monotonic();
        let told = executor::run(&LocalExecutor::new(), hook.tell(&message, &surroundings));
        is_good &= told.result.is_ok();
        let code = print(&report(hook, event, &told, clock::monotonic().saturating_sub(began)));
        if code != ExitCode::SUCCESS {
            return code;
        }
    }
    if is_good { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// The example that a hook is told.
fn message(config: &DaemonConfig, hook: &Hook, event: HookEvent, agent: Option<&str>) -> Message {
    let first = || hook.spec().agents.first().or_else(|| config.agents.first().map(|agent| &agent.id));
    let id = agent.or_else(|| first().map(String::as_str)).unwrap_or(EXAMPLE_ID);
    let spec = config.agents.iter().find(|agent| agent.id == id);
    let description = spec.map(|AgentSpec { name, kind, labels, .. }| Description {
        name: name.clone(),
        kind: kind.as_str(),
        labels: labels.clone(),
        metrics_url: None,
    });
    let mut message = Message::new(&HookFacts::example(event, id, SystemClock.now()), description);
    message.test = true;
    if hook.spec().include_output {
        message.output = Some(vec!["an example of a line of output".to_owned()]);
    }
    message
}

fn report(hook: &Hook, event: HookEvent, told: &Told, taken: Duration) -> String {
    let (verdict, how) = match &told.result {
        Ok(how) => ("ok", how),
        Err(why) => ("FAILED", why),
    };
    let mut text =
        format!("{verdict}  {}, on `{}`: {how}, after {:.1} s\n", hook.name(), event.as_str(), taken.as_secs_f64());
    for line in &told.output {
        text.push_str(&format!("    {line}\n"));
    }
    text
}
