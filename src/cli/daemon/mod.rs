//! The command line of `daemon`.

pub(crate) mod control;
pub(crate) mod hook;
pub(crate) mod ids;
pub(crate) mod logs;
pub(crate) mod operate;
pub(crate) mod order;
pub(crate) mod page;
pub(crate) mod reload;
pub(crate) mod request;
pub(crate) mod run;
pub(crate) mod shutdown;
pub(crate) mod status;
pub(crate) mod watch;
pub(crate) mod why;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use statemachine::supervision::Supervision;

use self::control::{ControlArgs, StopArgs};
use self::logs::LogsArgs;
use self::operate::{HoldArgs, SignalArgs};
use super::config_args::{ConfigArgs, ValidateArgs, long_form};
use super::output::{parse, usage};
use super::{completions, lifecycle, man, schema};
use crate::daemon::app::ConfigSource;
use crate::daemon::processes::launcher;
use ops_config::Program;
use ops_protocol::Command;
use ops_runtime::logging::become_writer;
use ops_runtime::program;

/// The daemon is not running: 3, as in LSB init scripts.
const NOT_RUNNING: u8 = 3;
/// The state of the daemon or of its agents is unknown: 4, as in LSB init scripts.
const UNKNOWN: u8 = 4;

/// Starts agents, supervises them and reports their state.
#[derive(Debug, Parser)]
#[command(name = NAME, version, args_conflicts_with_subcommands = true)]
struct Cli {
    /// The command. The default is `run`.
    #[command(subcommand)]
    command: Option<CliCommand>,
    #[command(flatten)]
    run: ConfigArgs,
}

/// The name that the build gives to the program.
const NAME: &str = "daemon";

/// `DAEMON` stands for the name that the program was started with.
const AFTER_HELP: &str = "\
Without --config, the daemon reads ./configs/daemon.yaml, or else /etc/ops-agent/daemon.yaml. The commands for a \
running daemon find its socket in the same file, unless --socket gives it.

Signals: TERM ends the daemon and leaves its agents running; the next daemon adopts them. INT (Ctrl-C, or `DAEMON \
shutdown`) first stops all agents, each before those that it depends on, for up to 15 s beyond the longest \
`stop_timeout` or chain of them. A second TERM or INT ends the daemon at once. HUP, or `DAEMON reload`, reloads the \
configuration: new agents start, removed agents stop, agents with changed process settings restart, and the others \
keep running. An invalid file changes nothing.

Exit codes: 0 success, 1 failure or an unhealthy agent, 3 no daemon is running, 4 unknown, 64 wrong usage, 78 invalid \
configuration.

To begin: `DAEMON validate`, then `DAEMON run`. In another terminal: `DAEMON status` and `DAEMON why ID`.";

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Run in the foreground until a signal stops it
    Run(ConfigArgs),
    /// Check a configuration as `run` and a reload do, and print all its problems
    Validate(ValidateArgs),
    /// Show the state of each agent, one line each, the worst first
    Status(status::Args),
    /// Show the checks of an agent, and explain its state
    Why(WhyArgs),
    /// Start agents, also after they failed
    Start(ControlArgs),
    /// Stop agents; they stay stopped until they are started, also if the daemon restarts
    Stop(StopArgs),
    /// Stop agents and start them again
    Restart(ControlArgs),
    /// Read the configuration again, and print what it changes
    Reload(SocketArgs),
    /// Send a signal to the main process of an agent
    Signal(SignalArgs),
    /// Suspend the restarts of agents for bad checks, to look into them; exits still restart them
    Hold(HoldArgs),
    /// End what `hold` began
    Release(HoldArgs),
    /// Print the last output lines of an agent
    Logs(LogsArgs),
    /// Run hooks with an example
    #[command(subcommand)]
    Hook(hook::HookCommand),
    /// Stop all agents, then the daemon
    Shutdown(SocketArgs),
    /// Print every key of the configuration file, as a JSON Schema, an example or tables
    Schema(schema::Args),
    /// Print the state machine of a supervised agent
    Lifecycle(lifecycle::Args),
    /// Print the completions for a shell
    Completions(completions::Args),
    /// Print the man page of the program or of a command
    Man(man::Args),
}

/// The options that identify a running daemon.
#[derive(Debug, Clone, Args)]
struct SocketArgs {
    /// The socket of the daemon
    #[arg(short, long, value_name = "PATH", conflicts_with = "config")]
    socket: Option<PathBuf>,
    /// The configuration file that gives the socket
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// The arguments of `why`.
#[derive(Debug, Args)]
struct WhyArgs {
    /// The ID of the agent
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    socket: SocketArgs,
}

/// Runs a command line, and returns its exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    // Before anything that costs time, because every start of an agent comes this way.
    if let Some(role) = launcher::role(&args) {
        return launcher::prepare::main(role);
    }
    if let Some(code) = become_writer(&args) {
        return code;
    }
    if let Some(code) = ids::answer(&args) {
        return code;
    }
    let name = program::started_as(&args, NAME);
    let command = || Cli::command().name(name).bin_name(name).after_help(AFTER_HELP.replace("DAEMON", name));
    let cli: Cli = match parse(command(), args.into_iter().map(long_form)) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command.unwrap_or(CliCommand::Run(cli.run)) {
        CliCommand::Run(args) => run::run(source(&args)),
        CliCommand::Validate(args) => run::validate(&source(&args.config())),
        CliCommand::Status(args) => status::run(&args),
        CliCommand::Why(args) => why::run(&args),
        CliCommand::Start(args) => control::run(Command::Start, &args),
        CliCommand::Stop(args) => control::stop(&args),
        CliCommand::Restart(args) => control::run(Command::Restart, &args),
        CliCommand::Reload(args) => reload::run(&args),
        CliCommand::Signal(args) => operate::signal(&args),
        CliCommand::Hold(args) => operate::hold(Command::Hold, args),
        CliCommand::Release(args) => operate::hold(Command::Release, args),
        CliCommand::Logs(args) => logs::run(&args),
        CliCommand::Hook(command) => hook::run(&command),
        CliCommand::Shutdown(args) => shutdown::run(&args),
        CliCommand::Schema(args) => schema::run(Program::Daemon, &args),
        CliCommand::Lifecycle(args) => lifecycle::run::<Supervision>(&args),
        CliCommand::Completions(args) => completions::run(command(), &args),
        CliCommand::Man(args) => man::run(command(), NAME, &args),
    }
}

fn source(args: &ConfigArgs) -> ConfigSource {
    ConfigSource { file: args.config.clone(), read_once: false, overrides: args.overrides() }
}
