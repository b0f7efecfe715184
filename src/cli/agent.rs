//! The command line of `agent`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use statemachine::lifecycle::Lifecycle;

use super::{check, generate, lifecycle, run, status, usage, validate};

/// A host agent that never lies about its state.
#[derive(Debug, Parser)]
#[command(name = "agent", version, args_conflicts_with_subcommands = true, after_help = AFTER_HELP)]
pub(super) struct Cli {
    /// What to do. Without it, `run` is meant.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
}

const AFTER_HELP: &str = "\
Without --config, ./configs/agent.yaml is read, then /etc/ops-agent/agent.yaml; if neither is there, the agent runs \
standalone with its embedded defaults. A flag beats the environment (AGENT_HTTP_PORT sets http.port, and so on for \
every key), which beats the file.

Signals: TERM and INT stop it, a second one at once; HUP reads the configuration again.

Exit codes: 0 stopped cleanly, 1 forced or failed, 64 wrong usage, 78 wrong configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run in the foreground until told to stop
    Run(RunArgs),
    /// Check a configuration as `run` and a reload would, and print all that is wrong with it
    Validate(ConfigArgs),
    /// Judge an agent by its status file alone: one line, and an exit code as Nagios wants it
    Check(check::Args),
    /// Show what the status file says, for people
    Status(status::Args),
    /// Print the state machine
    Lifecycle(lifecycle::Args),
    /// Print the completions for a shell
    Completions(generate::CompletionArgs),
    /// Print the man page
    Man,
}

/// Where the configuration comes from.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file
    #[arg(short, long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Set one key, whatever environment and file say; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(super) set: Vec<(String, String)>,
}

/// What `run` takes.
#[derive(Debug, Clone, Args)]
pub(super) struct RunArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Listen on this port; 0 takes any free one. As --set http.port=PORT
    #[arg(long, value_name = "PORT")]
    http_port: Option<String>,
    /// Log from this level on: debug, info, warn, error. As --set log.level=LEVEL
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Runs what the command line asks for, and gives its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(args.into_iter().map(long_form)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command.unwrap_or(Command::Run(cli.run)) {
        Command::Run(args) => {
            let shorthands =
                [("--http-port", "http.port", args.http_port), ("--log-level", "log.level", args.log_level)];
            let set = shorthands.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?)));
            run::run(&args.config, set)
        }
        Command::Validate(args) => validate::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Lifecycle(args) => lifecycle::run::<Lifecycle>(&args),
        Command::Completions(args) => generate::completions(&mut Cli::command(), &args),
        Command::Man => generate::man(Cli::command()),
    }
}

/// Existing daemons spawn their agents with `-config FILE`, one dash.
fn long_form(argument: OsString) -> OsString {
    match argument.to_str() {
        Some("-config") => "--config".into(),
        Some(text) => {
            text.strip_prefix("-config=").map_or_else(|| text.into(), |file| format!("--config={file}").into())
        }
        None => argument,
    }
}

pub(super) fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE, such as http.port=8081")?;
    Ok((key.to_owned(), value.to_owned()))
}
