//! The command line of `agent`.

use std::ffi::OsString;
#[cfg(feature = "simulate")]
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Arg, Args, CommandFactory as _, Parser, Subcommand};
use statemachine::lifecycle::Lifecycle;

use super::config_args::{ConfigArgs, ValidateArgs, long_form};
use super::output::{parse, usage};
#[cfg(feature = "simulate")]
use super::simulate;
use super::{check, completions, lifecycle, man, run, schema, status, validate};
use crate::agent::app::ConfigSource;
#[cfg(feature = "simulate")]
use crate::agent::simulate::child::become_child;
use ops_config::{Environment, Overrides, Program};
use ops_runtime::logging::become_writer;
use ops_runtime::program;

/// A host agent that never lies about its state.
#[derive(Debug, Parser)]
#[command(name = NAME, version = VERSION, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
struct Cli {
    /// The command. The default is `run`.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

/// The version. A build that can be simulated says so.
#[cfg(not(feature = "simulate"))]
const VERSION: &str = env!("CARGO_PKG_VERSION");
#[cfg(feature = "simulate")]
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (can be simulated: not for use)");

/// The name that the build gives to the program.
const NAME: &str = "agent";

const AFTER_HELP: &str = "\
Without --config, the agent reads ./configs/agent.yaml, then /etc/ops-agent/agent.yaml. If neither exists, it runs \
standalone with embedded defaults. A flag takes precedence over the environment (AGENT_HTTP_PORT sets http.port, and so \
on for every key). The environment takes precedence over the file.

Signals: TERM and INT stop the agent, a second one at once. HUP reads the configuration again.

Exit codes: 0 stopped cleanly, 1 forced or failed, 64 wrong usage, 78 wrong configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground until stopped
    Run(RunArgs),
    /// Check a configuration as `run` and a reload do, and print every problem
    Validate(AgentValidateArgs),
    /// Judge an agent by its status file alone: one line, and an exit code for Nagios
    Check(check::Args),
    /// Show the status file in readable form
    Status(status::Args),
    /// Print every key of the configuration file, as a JSON Schema, an example or tables
    Schema(schema::Args),
    /// Print the state machine
    Lifecycle(lifecycle::Args),
    /// Print the completions for a shell
    Completions(completions::Args),
    /// Print the man page of the program or of a command
    Man(man::Args),
}

/// The options of `run`.
#[derive(Debug, Clone, Args)]
struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Listen on this port; 0 takes any free one. Short for --set http.port=PORT
    #[arg(long, value_name = "PORT")]
    http_port: Option<String>,
    /// Log from this level on: debug, info, warn, error. Short for --set log.level=LEVEL
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Misbehave as this plan says: for the trial of a supervisor, never for use
    #[cfg(feature = "simulate")]
    #[arg(long, value_name = "PLAN")]
    simulate: Option<PathBuf>,
}

/// The options of `validate`.
#[derive(Debug, Clone, Args)]
struct AgentValidateArgs {
    #[command(flatten)]
    config: ValidateArgs,
    /// Check this plan of a simulated agent too
    #[cfg(feature = "simulate")]
    #[arg(long, value_name = "PLAN")]
    simulate: Option<PathBuf>,
}

impl RunArgs {
    fn source(&self) -> ConfigSource {
        let flags = [("--http-port", "http.port", &self.http_port), ("--log-level", "log.level", &self.log_level)];
        let set = |overrides: Overrides, (flag, key, value): (&'static str, &'static str, &Option<String>)| match value
        {
            Some(value) => overrides.set(flag, key, value),
            None => overrides,
        };
        source(&self.config, flags.into_iter().fold(self.config.overrides(), set))
    }
}

fn source(args: &ConfigArgs, overrides: Overrides) -> ConfigSource {
    ConfigSource { file: args.config.clone(), read_once: false, environment: Environment::of_this_process(), overrides }
}

/// Runs the command, and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(code) = become_writer(&args) {
        return code;
    }
    #[cfg(feature = "simulate")]
    if let Some(code) = become_child(&args) {
        return code;
    }
    let args: Vec<OsString> = args.into_iter().map(long_form).collect();
    let name = program::started_as(&args, NAME);
    // In `check`, -c is the critical age, as in monitoring plugins.
    let no_short = |arg: Arg| arg.short(None);
    let command =
        || Cli::command().name(name).bin_name(name).mut_subcommand("check", |check| check.mut_arg("config", no_short));
    let cli: Cli = match parse(command(), args.clone()) {
        Ok(cli) => cli,
        Err(error) => return check::usage(&args, &error).unwrap_or_else(|| usage(&error)),
    };
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => {
            #[cfg(feature = "simulate")]
            if let Some(plan) = &args.simulate {
                return simulate::run(plan, args.source());
            }
            run::run(args.source())
        }
        Command::Validate(args) => {
            #[cfg(feature = "simulate")]
            if let Some(code) = args.simulate.as_deref().and_then(simulate::check) {
                return code;
            }
            let args = args.config.config();
            validate::run(&source(&args, args.overrides()))
        }
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Schema(args) => schema::run(Program::Agent, &args),
        Command::Lifecycle(args) => lifecycle::run::<Lifecycle>(&args),
        Command::Completions(args) => completions::run(command(), &args),
        Command::Man(args) => man::run(command(), NAME, &args),
    }
}
