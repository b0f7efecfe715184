//! Parents that leave their settings to the daemon.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketType};

use crate::support::daemon::DaemonDir;
use crate::support::programs;

/// What a parent does to a daemon.
pub(super) struct Hostile {
    pub(super) name: &'static str,
    /// Programs that it needs.
    pub(super) tools: &'static [&'static str],
    /// Opens the descriptors that the daemon inherits.
    pub(super) descriptors: fn(&Path) -> Vec<OwnedFd>,
    /// Shell commands before the daemon is executed.
    shell: &'static str,
    /// A command that runs the shell with these commands.
    within: Within,
    has_variables: bool,
    /// Whether the agents cannot be freed of three signals that are ignored.
    pub(super) ignores_faults: bool,
}

#[derive(PartialEq)]
enum Within {
    Nothing,
    /// `env` with signals that are blocked and ignored.
    Signals(&'static str),
    Terminal,
}

/// Blocks and ignores every signal but SIGKILL, SIGSTOP, SIGILL, SIGFPE and SIGSEGV.
const SIGNALS: &str = "HUP,INT,QUIT,TRAP,ABRT,BUS,USR1,USR2,PIPE,ALRM,TERM,STKFLT,CHLD,CONT,TSTP,TTIN,TTOU,URG,XCPU,XFSZ,\
     VTALRM,PROF,WINCH,POLL,PWR,SYS,RTMIN,RTMIN+1,RTMAX-1,RTMAX";

/// The limits are first set soft and then hard, because a soft limit cannot exceed a hard one.
const LOW_LIMITS: &str =
    "ulimit -S -n 150; ulimit -H -n 400; ulimit -S -c 0; ulimit -S -f 1000000; ulimit -S -s 4096; umask 0;";
const HIGH_LIMITS: &str = "ulimit -S -n $(ulimit -H -n); ulimit -S -c $(ulimit -H -c); umask 0377;";

const NONE: Hostile = Hostile {
    name: "a parent that leaves nothing",
    tools: &[],
    descriptors: |_| Vec::new(),
    shell: "",
    within: Within::Nothing,
    has_variables: false,
    ignores_faults: false,
};

/// All of them.
pub(super) const HOSTILE: &[Hostile] = &[
    NONE,
    Hostile { name: "60 descriptors", descriptors: open_many, ..NONE },
    Hostile { name: "signals that are blocked and ignored", within: Within::Signals(SIGNALS), ..NONE },
    Hostile {
        name: "SIGILL, SIGFPE and SIGSEGV that are ignored",
        within: Within::Signals("ILL,FPE,SEGV"),
        ignores_faults: true,
        ..NONE
    },
    Hostile { name: "low limits and no umask", shell: LOW_LIMITS, ..NONE },
    Hostile { name: "high limits and a umask that lets only the owner read", shell: HIGH_LIMITS, ..NONE },
    Hostile { name: "a terminal", tools: &["script"], within: Within::Terminal, ..NONE },
    Hostile { name: "variables of a service manager and of the two programs", has_variables: true, ..NONE },
    Hostile {
        name: "all of it",
        descriptors: open_many,
        shell: LOW_LIMITS,
        within: Within::Signals(SIGNALS),
        has_variables: true,
        ..NONE
    },
];

/// Variables that an agent must not get.
const DROPPED: [(&str, &str); 12] = [
    ("STATE_DIRECTORY", "/var/lib/of-the-daemon"),
    ("RUNTIME_DIRECTORY", "/run/of-the-daemon"),
    ("CONFIGURATION_DIRECTORY", "/etc/of-the-daemon"),
    ("CREDENTIALS_DIRECTORY", "/run/credentials/of-the-daemon"),
    ("NOTIFY_SOCKET", "@torture-notify"),
    ("LISTEN_FDS", "1"),
    ("LISTEN_PID", "1"),
    ("INVOCATION_ID", "0123456789abcdef0123456789abcdef"),
    ("JOURNAL_STREAM", "8:1"),
    ("AGENT_HTTP_PORT", "1"),
    ("OPS_AGENT_SUPERVISED_AS", "outer@/outer"),
    ("OPS_AGENT_START_SECRET", "0123456789abcdef.fedcba9876543210"),
];

impl Hostile {
    /// The variables of the daemon.
    pub(super) fn variables(&self) -> Vec<(OsString, OsString)> {
        let mut variables = self.passed_on();
        if self.has_variables {
            variables.extend(DROPPED.map(|(name, value)| (name.into(), value.into())));
        }
        variables
    }

    /// Those that the agents get too.
    pub(super) fn passed_on(&self) -> Vec<(OsString, OsString)> {
        let mut passed = vec![("PATH".into(), std::env::var_os("PATH").unwrap_or_default())];
        if self.has_variables {
            let odd = OsString::from_vec(b"two\nlines and \xff".to_vec());
            passed.extend([("AGENT_OF_ANOTHER_PROGRAM".into(), "kept".into()), ("ODD".into(), odd)]);
        }
        passed
    }

    /// The shell command that becomes the daemon. Before that, it writes its own settings to `limits` and `status`.
    pub(super) fn shell(&self, dir: &DaemonDir) -> String {
        let Self { shell, within, .. } = self;
        let record = "cat /proc/$$/limits >limits; cat /proc/$$/status >status; cat /proc/$$/stat >stat;";
        // The shell adds variables of its own.
        let without = "env -u PWD -u OLDPWD -u SHLVL -u _";
        let daemon = format!("{record} exec {without} {} run --config daemon.yaml >/dev/null", programs::daemon());
        match within {
            Within::Nothing => format!("{shell} {daemon}"),
            Within::Signals(signals) => {
                format!("{shell} exec env --block-signal={signals} --ignore-signal={signals} sh -c '{daemon}'")
            }
            Within::Terminal => format!("exec script -qec '{daemon}' {}", dir.path().join("typescript").display()),
        }
    }
}

/// Descriptors of files, pipes and sockets that are not close-on-exec.
fn open_many(directory: &Path) -> Vec<OwnedFd> {
    let file = directory.join("inherited");
    drop(File::create(&file));
    let mut open = Vec::new();
    for _ in 0..20 {
        open.extend(rustix::fs::open(&file, OFlags::RDWR, Mode::empty()).ok());
        open.extend(rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).ok());
        open.extend(rustix::pipe::pipe().ok().map(|(reader, _)| reader));
    }
    open
}
