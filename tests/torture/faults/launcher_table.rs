//! The calls of the launcher, their possible errors, and how the daemon has to report them.

/// A call of the launcher in a trace.
#[derive(Debug, Clone)]
pub(super) struct CallOfLauncher {
    pub(super) name: String,
    /// Its number among the calls of this name in the process, from 1.
    pub(super) number: u64,
    pub(super) line: String,
}

/// A kind of call and what may become of it.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) call: &'static str,
    /// A text in its line of the trace, such as a path.
    pub(super) line_has: &'static str,
    /// The possible errors, the most likely one first.
    pub(super) errors: &'static [&'static str],
    /// The daemon reports one of these texts.
    pub(super) reported_as: &'static [&'static str],
    /// Whether the program may be started all the same.
    pub(super) may_be_harmless: bool,
    /// Whether a launcher may have no such call.
    pub(super) is_optional: bool,
}

const fn row(
    call: &'static str,
    line_has: &'static str,
    errors: &'static [&'static str],
    report: &'static [&'static str],
) -> Row {
    Row { call, line_has, errors, reported_as: report, may_be_harmless: false, is_optional: false }
}

/// A call of a library, whose failure the library may hide.
const fn of_library(call: &'static str, errors: &'static [&'static str], report: &'static [&'static str]) -> Row {
    Row { may_be_harmless: true, is_optional: true, ..row(call, "", errors, report) }
}

/// A call as another user, which is there only for root.
const fn as_root(
    call: &'static str,
    line_has: &'static str,
    errors: &'static [&'static str],
    report: &'static [&'static str],
) -> Row {
    Row { is_optional: true, ..row(call, line_has, errors, report) }
}

/// A call that gives a hook its input.
const fn of_hook(call: &'static str, line_has: &'static str, errors: &'static [&'static str]) -> Row {
    Row { is_optional: true, ..row(call, line_has, errors, &["give the program its input"]) }
}

const OF_CHECK: &[&str] = &["cannot be started", "it cannot be told how its program ended"];
const ORDERS: &[&str] = &["read the orders"];
const DESCRIPTORS: &[&str] = &["close the descriptors"];
const LIBRARY: &[&str] =
    &["look up `user`", "look up `group`", "does not exist", "give the work directory", "close the descriptors"];
const BECOME: &[&str] = &["become `user` and `group`"];
const GIVE: &[&str] = &["give the work directory"];

/// All rows. The first one that fits a call counts.
pub(super) static ROWS: &[Row] = &[
    // The input of a hook.
    of_hook("memfd_create", "", &["EMFILE", "ENFILE", "ENOMEM"]),
    of_hook("write", "/memfd:input", &["ENOMEM", "ENOSPC"]),
    of_hook("lseek", "/memfd:input", &["EINVAL"]),
    of_hook("dup2", "/memfd:input", &["EMFILE"]),
    row("fcntl", "F_DUPFD", &["EMFILE"], DESCRIPTORS),
    row("open", "\"/dev/null\"", &["EMFILE", "ENFILE", "ENOMEM", "ENOENT", "EACCES"], DESCRIPTORS),
    row("dup2", "", &["EMFILE"], DESCRIPTORS),
    row("setsid", "", &["EPERM"], &["begin a session"]),
    row("recvfrom", "", &["EIO", "ECONNRESET", "ENOMEM"], ORDERS),
    row("openat", "\"/proc/self/status\"", &["EMFILE", "ENFILE", "ENOENT", "EACCES", "ENOMEM"], &["reset the signals"]),
    row("read", "/status>", &["EIO"], &["reset the signals"]),
    row("prctl", "PR_SET_CHILD_SUBREAPER", &["EINVAL"], &["become the reaper of orphans"]),
    row("prlimit64", "RLIMIT_NOFILE", &["EPERM"], &["set `limits.open_files`"]),
    row("prlimit64", "RLIMIT_NPROC", &["EPERM"], &["set `limits.processes`"]),
    row("prlimit64", "RLIMIT_CORE", &["EPERM"], &["set `limits.core`"]),
    row("prlimit64", "RLIMIT_AS", &["EPERM"], &["set `limits.address_space`"]),
    row("prlimit64", "RLIMIT_FSIZE", &["EPERM"], &["set `limits.file_size`"]),
    row("prlimit64", "RLIMIT_MEMLOCK", &["EPERM"], &["set `limits.locked_memory`"]),
    row("setpriority", "", &["EACCES", "EPERM"], &["set `nice`"]),
    row("openat", "oom_score_adj", &["EACCES", "EMFILE", "ENOENT"], &["set `oom_score_adj`"]),
    row("write", "oom_score_adj", &["EACCES", "EPERM"], &["set `oom_score_adj`"]),
    as_root("setgroups", "", &["EPERM", "ENOMEM"], BECOME),
    as_root("setresgid", "", &["EPERM", "EAGAIN"], BECOME),
    as_root("setresuid", "", &["EPERM", "EAGAIN"], BECOME),
    as_root("open", "/agents/b\"", &["EMFILE", "EACCES", "EIO"], GIVE),
    as_root("fchown", "", &["EPERM", "EIO", "EROFS"], GIVE),
    as_root("fchmod", "", &["EPERM", "EIO", "EROFS"], GIVE),
    row("chdir", "", &["ENOENT", "EACCES", "EIO", "ENOMEM"], &["work directory"]),
    row("sendto", "executing", &["EPIPE", "ECONNRESET"], ORDERS),
    row(
        "execve",
        "",
        &["ENOENT", "EACCES", "EAGAIN", "EIO", "EMFILE", "ENFILE", "ENOMEM", "ENOEXEC", "EPERM"],
        &[
            "interpreter of /bin/sleep",
            "/bin/sleep cannot be executed",
            "/bin/sleep is not a program",
            "/bin/sleep cannot be started",
        ],
    ),
    // The program of a check, and what it has left.
    of_library("clone3", &["EAGAIN", "ENOMEM"], OF_CHECK),
    of_library("clone", &["EAGAIN", "ENOMEM"], OF_CHECK),
    of_library("vfork", &["EAGAIN", "ENOMEM"], OF_CHECK),
    of_library("pidfd_open", &["EMFILE", "ENFILE", "ENOMEM"], OF_CHECK),
    of_library("ppoll", &["ENOMEM", "EINTR"], OF_CHECK),
    of_library("poll", &["ENOMEM", "EINTR"], OF_CHECK),
    of_library("waitid", &["EINTR"], OF_CHECK),
    of_library("sendto", &["EPIPE", "ECONNRESET"], OF_CHECK),
    of_library("shutdown", &["ENOTCONN"], OF_CHECK),
    of_library("getdents64", &["ENOENT"], OF_CHECK),
    of_library("kill", &["ESRCH", "EPERM"], OF_CHECK),
    // What follows belongs to libraries: the list of open descriptors, and users and groups.
    of_library("open", &["EMFILE", "ENFILE", "ENOENT", "EIO"], LIBRARY),
    of_library("openat", &["EMFILE", "ENFILE", "ENOENT", "EIO"], LIBRARY),
    of_library("read", &["EIO", "EINTR"], LIBRARY),
    of_library("socket", &["EMFILE", "ENFILE", "ENOMEM"], LIBRARY),
    of_library("connect", &["ENOENT", "ECONNREFUSED", "EACCES"], LIBRARY),
    of_library("newfstatat", &["EIO", "ENOMEM"], LIBRARY),
    of_library("fstat", &["EIO", "ENOMEM"], LIBRARY),
    of_library("statx", &["EIO", "ENOMEM"], LIBRARY),
    of_library("readlinkat", &["EACCES", "ENOMEM"], LIBRARY),
    of_library("lseek", &["EINVAL"], LIBRARY),
    of_library("close", &["EIO", "EINTR"], LIBRARY),
    of_library("close_range", &["EPERM", "EMFILE"], LIBRARY),
];

/// Calls without faults, with a text in their lines: they succeed with the arguments that they have, or they belong to the memory
/// of the process. A debug build asks whether a descriptor is open before it closes it.
const UNINJECTED: [(&str, &str); 21] = [
    ("exit_group", ""),
    ("mmap", ""),
    ("munmap", ""),
    ("mprotect", ""),
    ("mremap", ""),
    ("madvise", ""),
    ("brk", ""),
    ("rt_sigaction", ""),
    ("rt_sigprocmask", ""),
    ("sigaltstack", ""),
    ("futex", ""),
    ("getrandom", ""),
    ("getpid", ""),
    ("geteuid", ""),
    ("getuid", ""),
    ("getgid", ""),
    ("getegid", ""),
    ("umask", ""),
    ("uname", ""),
    ("fcntl", "F_GETFD"),
    ("prctl", "PR_CAPBSET_READ"),
];

impl Row {
    pub(super) fn is_of(&self, call: &CallOfLauncher) -> bool {
        call.name == self.call && call.line.contains(self.line_has)
    }
}

impl CallOfLauncher {
    /// Its row in the table.
    pub(super) fn row(&self) -> Option<&'static Row> {
        ROWS.iter().find(|row| row.is_of(self))
    }
}

/// Whether no fault is injected into this call.
pub(super) fn is_uninjected(call: &CallOfLauncher) -> bool {
    UNINJECTED.iter().any(|(name, line_has)| call.name == *name && call.line.contains(line_has))
}

/// The calls of a launcher from its first own one, which moves the socket away from standard input, to the program.
pub(super) fn calls_after_start(lines: &[String]) -> Vec<CallOfLauncher> {
    let mut numbers = std::collections::BTreeMap::new();
    let mut calls = Vec::new();
    let mut is_own = false;
    for line in lines {
        let Some((name, _)) = line.split_once('(') else { continue };
        let name = name.rsplit(' ').next().unwrap_or_default();
        let number = numbers.entry(name.to_owned()).or_insert(0);
        // strace does not count the execution with which it starts.
        *number += u64::from(!calls.is_empty() || name != "execve");
        is_own |= name == "fcntl" && line.contains("F_DUPFD");
        if is_own {
            calls.push(CallOfLauncher { name: name.to_owned(), number: *number, line: line.clone() });
        }
    }
    calls
}
