//! What the man pages say beyond the definition of the command line. `PROGRAM` stands for the name of the program.

/// The facts about one command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    pub(super) description: &'static [&'static str],
    /// Exit codes and their meanings.
    pub(super) exit: &'static [(&'static str, &'static str)],
    pub(super) files: &'static [(&'static str, &'static str)],
    /// What an example does, and its command line.
    pub(super) examples: &'static [(&'static str, &'static str)],
}

const DONE: (&str, &str) = ("0", "It is done.");
const USAGE: (&str, &str) = ("64", "The command line is wrong.");
const CONFIG: (&str, &str) = ("78", "The configuration is wrong. Every problem is printed.");
const NOT_RUNNING: (&str, &str) = ("3", "No daemon is running.");
const UNKNOWN: (&str, &str) = ("4", "It cannot be found out, for example because this user may not open the socket.");
const PRINTED: &[(&str, &str)] = &[DONE, ("1", "The output cannot be written."), USAGE];
const COMMANDED: &[(&str, &str)] =
    &[DONE, ("1", "It failed, or is not done in time, for at least one agent."), NOT_RUNNING, UNKNOWN, USAGE];

const AGENT_CONFIG: (&str, &str) = (
    "./configs/agent.yaml, /etc/ops-agent/agent.yaml",
    "The configuration, if --config names none. The first that exists.",
);
const DAEMON_CONFIG: (&str, &str) = (
    "./configs/daemon.yaml, /etc/ops-agent/daemon.yaml",
    "The configuration, if --config names none. The first that exists.",
);
const STATUS_FILE: (&str, &str) = (
    "state/ID.ron, /var/lib/ops-agent/NAME/ID.ron",
    "The status file, without and with the unit ops-agent@NAME.service.",
);
const SOCKET: (&str, &str) = (
    "state/daemon.sock, /var/lib/ops-daemon/daemon.sock",
    "The socket of the daemon, as `daemon.socket_path` sets it. Commands read only this key and `daemon.work_dir`, so the rest of the file may be wrong.",
);
const WORK_DIR: (&str, &str) =
    ("WORK_DIR/agents/ID/logs/agent.log", "The output of an agent. Copies of earlier output are beside it.");

const NOTHING: Facts = Facts { description: &[], exit: &[], files: &[], examples: &[] };

const AGENT_RUN: Facts = Facts {
    description: &[
        "Without --config and without a file at the default places, the agent runs standalone with embedded defaults. An option takes precedence over the environment, in which AGENT_HTTP_PORT sets `http.port` and so on for every key. The environment takes precedence over the file.",
        "SIGTERM and SIGINT stop the agent, a second one at once. SIGHUP reads the configuration again.",
    ],
    exit: &[("0", "It stopped cleanly."), ("1", "It failed, or was forced to stop."), USAGE, CONFIG],
    files: &[AGENT_CONFIG, STATUS_FILE],
    examples: &[
        ("Run with a configuration", "PROGRAM run --config agent.yaml"),
        ("Run on another port, with more in the log", "PROGRAM run --http-port 8085 --log-level debug"),
    ],
};

const AGENT_CHECK: Facts = Facts {
    description: &[
        "The line ends in figures for a monitoring system: the age of the status file in seconds, the age for a warning, the age for critical, and the least age. A wrong command line is UNKNOWN, on standard output.",
    ],
    exit: &[
        ("0", "OK: the agent is Running. With --live also: it is Degraded."),
        ("1", "WARNING: it is Degraded, starting or stopping, or the file is older than --warning."),
        ("2", "CRITICAL: it is stopped, dead or stuck."),
        ("3", "UNKNOWN: there is no readable file, or the command line is wrong."),
    ],
    files: &[STATUS_FILE, AGENT_CONFIG],
    examples: &[
        (
            "For a monitoring system, with limits of one and two minutes",
            "PROGRAM check --state-file /var/lib/ops-agent/web/web.ron -w 60 -c 120",
        ),
        ("For the health check of a container", "PROGRAM check --config /etc/ops-agent/agent.yaml --live"),
    ],
};

const AGENT_STATUS: Facts = Facts {
    description: &[
        "State and faults come first, then the details. With --watch a terminal is repainted, and another output gets each change.",
    ],
    exit: &[("0, 1, 2, 3", "As for the command check.")],
    files: &[STATUS_FILE, AGENT_CONFIG],
    examples: &[
        ("Show an agent until interrupted", "PROGRAM status --config agent.yaml --watch"),
        ("As JSON", "PROGRAM status --output json"),
    ],
};

const AGENT_VALIDATE: Facts = Facts {
    exit: &[("0", "The configuration is valid. There may be notes."), USAGE, CONFIG],
    files: &[AGENT_CONFIG],
    examples: &[("Check a file", "PROGRAM validate agent.yaml")],
    ..NOTHING
};

const DAEMON_RUN: Facts = Facts {
    description: &[
        "SIGTERM ends the daemon and leaves its agents running; the next daemon adopts them. SIGINT first stops all agents. A second SIGTERM or SIGINT ends the daemon at once. SIGHUP reloads the configuration, as `PROGRAM reload` does.",
        "To begin: `PROGRAM validate`, then `PROGRAM run`. In another terminal: `PROGRAM status` and `PROGRAM why ID`.",
    ],
    exit: &[("0", "It ended in order."), ("1", "It could not start, or could not stop all agents."), USAGE, CONFIG],
    files: &[DAEMON_CONFIG, SOCKET, WORK_DIR],
    examples: &[("Run with a configuration", "PROGRAM run --config daemon.yaml")],
};

const DAEMON_VALIDATE: Facts = Facts {
    exit: &[("0", "The configuration is valid. There may be notes."), USAGE, CONFIG],
    files: &[DAEMON_CONFIG],
    examples: &[("Check a file", "PROGRAM validate daemon.yaml")],
    ..NOTHING
};

const DAEMON_STATUS: Facts = Facts {
    description: &[
        "On a terminal the table fits its width: columns are shortened or left out. With --watch the summary and the first rows fit its height, and the others are counted.",
    ],
    exit: &[
        ("0", "Every agent that is shown is running, or stopped on purpose."),
        ("1", "Some are not, or there is no such agent."),
        NOT_RUNNING,
        UNKNOWN,
        USAGE,
    ],
    files: &[SOCKET, DAEMON_CONFIG],
    examples: &[
        ("Watch all agents, those with the most memory first", "PROGRAM status --watch --sort memory"),
        ("Judge two agents in a script", "PROGRAM status web db --output json"),
    ],
};

const DAEMON_WHY: Facts = Facts {
    description: &[
        "Shows the state with its reason, how the last process ended and what it printed last, and each check, the worst first.",
    ],
    exit: &[
        ("0", "The agent is running, or stopped on purpose."),
        ("1", "It is not, or there is no such agent."),
        NOT_RUNNING,
        UNKNOWN,
        USAGE,
    ],
    files: &[SOCKET, DAEMON_CONFIG],
    examples: &[("Explain the state of an agent", "PROGRAM why web")],
};

const COMMANDS: Facts = Facts {
    description: &[
        "A line for each agent tells the result, in the order of the IDs. --wait limits the time for all of them together.",
    ],
    exit: COMMANDED,
    files: &[SOCKET, DAEMON_CONFIG],
    ..NOTHING
};

const START: Facts = Facts {
    examples: &[
        ("Start two agents", "PROGRAM start web db"),
        ("Start all agents that are enabled", "PROGRAM start all"),
    ],
    ..COMMANDS
};

const STOP: Facts = Facts {
    examples: &[
        ("Stop an agent, without waiting", "PROGRAM stop web --wait 0s"),
        ("Stop all agents", "PROGRAM stop all"),
    ],
    ..COMMANDS
};

const RESTART: Facts =
    Facts { examples: &[("Restart an agent, for up to two minutes", "PROGRAM restart web --wait 2m")], ..COMMANDS };

const DAEMON_RELOAD: Facts = Facts {
    description: &[
        "New agents start, removed ones stop, and those whose process settings have changed restart. All other changes apply at once. A wrong file changes nothing.",
    ],
    exit: &[
        DONE,
        ("1", "The configuration could not be read or applied now."),
        NOT_RUNNING,
        UNKNOWN,
        USAGE,
        ("78", "The configuration is wrong, or changes a key that needs a restart. Nothing was changed."),
    ],
    files: &[DAEMON_CONFIG, SOCKET],
    examples: &[("Apply a changed configuration", "PROGRAM reload")],
};

const DAEMON_LOGS: Facts = Facts {
    description: &[
        "Each start of the agent is marked with its time. With --follow, lines that begin with two hyphens on standard error are of the command itself. The output may contain secrets, so only root and the user of the daemon get it.",
    ],
    exit: &[DONE, ("1", "There is no such agent, or its log cannot be read."), NOT_RUNNING, UNKNOWN, USAGE],
    files: &[WORK_DIR, SOCKET, DAEMON_CONFIG],
    examples: &[
        ("Show the last 200 lines", "PROGRAM logs web -n 200"),
        ("Print new lines until Ctrl-C", "PROGRAM logs web -f"),
    ],
};

const DAEMON_SIGNAL: Facts = Facts {
    description: &["The signal goes to the main process alone, and is recorded with its sender."],
    exit: COMMANDED,
    files: &[SOCKET, DAEMON_CONFIG],
    examples: &[("Make a program read its configuration again", "PROGRAM signal web HUP")],
};

const HOLDS: Facts = Facts {
    description: &[
        "While the restarts of an agent are held, a bad check is shown and does not restart it. An exit still does.",
    ],
    exit: COMMANDED,
    files: &[SOCKET, DAEMON_CONFIG],
    ..NOTHING
};

const HOLD: Facts = Facts { examples: &[("Look into a program that a check calls bad", "PROGRAM hold web")], ..HOLDS };

const RELEASE: Facts = Facts { examples: &[("End all holds", "PROGRAM release all")], ..HOLDS };

const DAEMON_HOOK: Facts = Facts {
    exit: &[DONE, ("1", "A hook failed."), USAGE, CONFIG],
    files: &[DAEMON_CONFIG],
    examples: &[("Run the hooks that are told of a failure", "PROGRAM hook test failed")],
    ..NOTHING
};

const DAEMON_SHUTDOWN: Facts = Facts {
    description: &["Sends SIGINT to the daemon, and waits until it has ended."],
    exit: &[DONE, ("1", "A process did not end, or the daemon cannot be signalled."), NOT_RUNNING, UNKNOWN, USAGE],
    files: &[SOCKET, DAEMON_CONFIG],
    examples: &[("Stop all agents and the daemon", "PROGRAM shutdown")],
};

/// The facts about a subcommand. An empty name is the program itself.
pub(super) fn facts(program: &str, command: &str) -> Facts {
    match (program, command) {
        ("agent", "" | "run") => AGENT_RUN,
        ("agent", "check") => AGENT_CHECK,
        ("agent", "status") => AGENT_STATUS,
        ("agent", "validate") => AGENT_VALIDATE,
        ("daemon", "" | "run") => DAEMON_RUN,
        ("daemon", "validate") => DAEMON_VALIDATE,
        ("daemon", "status") => DAEMON_STATUS,
        ("daemon", "why") => DAEMON_WHY,
        ("daemon", "start") => START,
        ("daemon", "stop") => STOP,
        ("daemon", "restart") => RESTART,
        ("daemon", "reload") => DAEMON_RELOAD,
        ("daemon", "logs") => DAEMON_LOGS,
        ("daemon", "signal") => DAEMON_SIGNAL,
        ("daemon", "hold") => HOLD,
        ("daemon", "release") => RELEASE,
        ("daemon", "hook") => DAEMON_HOOK,
        ("daemon", "shutdown") => DAEMON_SHUTDOWN,
        (_, command) => Facts { exit: PRINTED, examples: printing(command), ..NOTHING },
    }
}

/// Examples of the commands that only print.
fn printing(command: &str) -> &'static [(&'static str, &'static str)] {
    match command {
        "schema" => &[("Make a configuration file with every key", "PROGRAM schema --format example")],
        "lifecycle" => &[("Print the states as a diagram for Markdown", "PROGRAM lifecycle --format mermaid")],
        "completions" => &[("Print the completions for bash", "PROGRAM completions bash")],
        "man" => &[
            ("Print the page of a command", "PROGRAM man completions"),
            ("Write all pages to a directory", "PROGRAM man --directory ."),
        ],
        _ => &[],
    }
}
