//! The possible errors of each call: those that the manual page allows and that can really occur.

/// A system call and its possible errors.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) call: &'static str,
    /// Errors due to disk, quota, mount or permissions. They are injected only on the program's own files, because the
    /// same calls on a timerfd or an eventfd never have these errors.
    pub(super) disk: &'static [&'static str],
    /// Errors of every call: lack of resources, interruption, the network.
    pub(super) any: &'static [&'static str],
}

const fn disk(call: &'static str, disk: &'static [&'static str], any: &'static [&'static str]) -> Row {
    Row { call, disk, any }
}

const fn any(call: &'static str, any: &'static [&'static str]) -> Row {
    Row { call, disk: &[], any }
}

/// Every call of agent or daemon on files, sockets and processes.
pub(super) const ROWS: &[Row] = &[
    // Files
    disk("openat", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOENT", "ESTALE", "EINTR"], OPEN),
    disk("open", &["EIO", "EACCES", "EPERM", "ENOENT", "ESTALE", "EINTR"], OPEN),
    disk("read", &["EIO", "EINTR", "ESTALE"], &[]),
    disk("pread64", &["EIO", "EINTR", "ESTALE"], &[]),
    disk("write", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR", "ESTALE", "EPIPE"], &[]),
    disk("pwrite64", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"], &[]),
    disk("fsync", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"], &[]),
    disk("fdatasync", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EINTR"], &[]),
    disk("ftruncate", &["EIO", "EPERM", "EINTR"], &[]),
    disk("copy_file_range", &["EIO", "ENOSPC", "ENOMEM"], &[]),
    disk("close", &["EIO", "ENOSPC", "EDQUOT", "EINTR"], &[]),
    disk("renameat", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "ENOENT", "EINTR"], &["ENOMEM"]),
    disk("rename", &["EIO", "ENOSPC", "EDQUOT", "EROFS", "EACCES", "ENOENT"], &["ENOMEM"]),
    disk("unlinkat", &["EIO", "EROFS", "EACCES", "EBUSY"], &["ENOMEM"]),
    disk("unlink", &["EIO", "EROFS", "EACCES", "EBUSY"], &["ENOMEM"]),
    disk("mkdir", &["EACCES", "EIO", "ENOSPC", "EDQUOT", "EROFS"], &["ENOMEM"]),
    disk("rmdir", &["EACCES", "EBUSY", "EROFS"], &["ENOMEM"]),
    disk("chmod", &["EIO", "EPERM", "EROFS"], &["ENOMEM"]),
    any("fchmod", &["EPERM", "ENOMEM"]),
    any("getxattr", &["ENODATA", "ENOMEM", "EOPNOTSUPP"]),
    disk("newfstatat", &["EIO", "EACCES", "ENOENT", "ESTALE"], &["ENOMEM"]),
    disk("statx", &["EIO", "EACCES", "ESTALE"], &["ENOMEM"]),
    disk("fstat", &["EIO", "ESTALE"], &["ENOMEM"]),
    disk("flock", &["EAGAIN", "EINTR", "ENOLCK"], &[]),
    any("getdents64", &["ENOENT"]),
    any("getcwd", &["ENOENT", "ENOMEM"]),
    any("readlinkat", &["EACCES", "ENOMEM"]),
    any("readlink", &["EACCES", "ENOMEM"]),
    // Sockets
    any("socket", &["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EACCES"]),
    any("socketpair", &["EMFILE", "ENFILE", "ENOMEM"]),
    any("bind", &["EACCES", "EADDRINUSE", "ENOMEM"]),
    any("listen", &["EADDRINUSE"]),
    any(
        "accept4",
        &["ECONNABORTED", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EPERM", "EAGAIN", "EINTR", "ENETUNREACH"],
    ),
    any("connect", CONNECT),
    any("sendto", &["ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM", "EAGAIN", "EINTR"]),
    any("sendmsg", &["ECONNRESET", "EPIPE", "ENOBUFS", "ENOMEM", "EINTR"]),
    any("sendmmsg", &["ENOBUFS", "ENOMEM", "EINTR"]),
    any("recvfrom", &["ECONNRESET", "ETIMEDOUT", "ENOMEM", "EAGAIN", "EINTR"]),
    any("recvmsg", &["ENOMEM", "EINTR"]),
    any("getsockopt", &["ENOBUFS", "ENOMEM"]),
    any("setsockopt", &["ENOBUFS", "ENOMEM"]),
    any("getsockname", &["ENOBUFS"]),
    any("getpeername", &["ENOBUFS", "ENOTCONN"]),
    any("shutdown", &["ENOTCONN"]),
    // Descriptors and waiting
    any("epoll_create1", &["EMFILE", "ENFILE", "ENOMEM"]),
    any("eventfd2", &["EMFILE", "ENFILE", "ENOMEM"]),
    any("timerfd_create", &["EMFILE", "ENFILE", "ENOMEM"]),
    any("epoll_ctl", &["ENOMEM", "ENOSPC"]),
    any("epoll_pwait", &["EINTR"]),
    any("poll", &["EINTR", "ENOMEM"]),
    any("ppoll", &["EINTR", "ENOMEM"]),
    any("fcntl", &["EMFILE"]),
    any("pipe2", &["EMFILE", "ENFILE"]),
    any("dup2", &["EMFILE"]),
    // Processes and threads
    any("clone3", &["EAGAIN", "ENOMEM"]),
    any("clone", &["EAGAIN", "ENOMEM"]),
    any("vfork", &["EAGAIN", "ENOMEM"]),
    any("waitid", &["ECHILD", "EINTR"]),
    any("wait4", &["EINTR"]),
    any("kill", &["EPERM", "ESRCH"]),
    any("pidfd_open", &["EMFILE", "ENFILE", "ENOMEM", "ESRCH"]),
    any("pidfd_send_signal", &["EPERM", "ESRCH"]),
    any("execve", &["EACCES", "EAGAIN", "EIO", "EMFILE", "ENFILE", "ENOENT", "ENOMEM", "EPERM"]),
    any("prlimit64", &["EPERM"]),
];

const OPEN: &[&str] = &["EMFILE", "ENFILE", "ENOMEM"];

const CONNECT: &[&str] = &[
    "ECONNREFUSED",
    "ECONNRESET",
    "ETIMEDOUT",
    "EHOSTUNREACH",
    "ENETUNREACH",
    "EADDRNOTAVAIL",
    "EACCES",
    "EPERM",
    "ENOENT",
    "EINTR",
    "EAGAIN",
];

/// Calls without injected faults, with the reason.
pub(super) const NOT_INJECTED: &[(&str, &[&str])] = &[
    (
        "memory: Rust ends the process if an allocation fails; the section `resources` tests memory limits of the whole process",
        &["mmap", "munmap", "mprotect", "mremap", "madvise", "brk"],
    ),
    (
        "calls of libc and Rust's runtime for each thread: their arguments are valid, and a failure ends the process",
        &[
            "arch_prctl",
            "set_tid_address",
            "set_robust_list",
            "rseq",
            "sigaltstack",
            "rt_sigprocmask",
            "rt_sigaction",
            "rt_sigreturn",
            "prctl",
            "sched_getaffinity",
            "sched_yield",
            "futex",
            "getrandom",
            "restart_syscall",
            "clock_nanosleep",
        ],
    ),
    ("calls that always succeed", &["getpid", "gettid", "getppid", "geteuid", "getuid", "exit", "exit_group", "uname"]),
    (
        "it fails only for the CPU clock of a process that is gone, which a test of `cpu_time_of` has; its other clocks always work",
        &["clock_gettime"],
    ),
    (
        "a query with a default: after an error, the loader preloads nothing, and the allocator uses one memory node",
        &["access"],
    ),
    (
        "calls that fail only for invalid arguments, but have constant ones (a seek to 0, a timer in the future, FIONBIO)",
        &["lseek", "timerfd_settime", "ioctl", "close_range"],
    ),
];

/// Calls that can fail, or fail with this error, only in one operation. strace cannot select the operation, so the
/// position comes from a trace. If strace hits another operation, the trial is not valid.
const ONLY_IN_OPERATION: &[(&str, Option<&str>, &str)] = &[
    ("epoll_ctl", None, "EPOLL_CTL_ADD"),
    ("fcntl", None, "F_DUPFD"),
    // A Unix socket has a file, which may be missing.
    ("connect", Some("ENOENT"), "AF_UNIX"),
    // A log file may be a pipe.
    ("write", Some("EPIPE"), ".log>"),
    // SIGTERM goes to an existing process. It may be gone when SIGCONT follows.
    ("kill", Some("ESRCH"), "SIGCONT"),
    ("pidfd_send_signal", Some("ESRCH"), "SIGCONT"),
];

/// Whether the call in this line of a trace can fail with this error.
pub(super) fn is_possible(line: &str, errno: &str) -> bool {
    let is_of = |call: &str| line.split_once('(').is_some_and(|(head, _)| head.ends_with(&format!(" {call}")));
    let mut limits = ONLY_IN_OPERATION.iter().filter(|(call, of, _)| is_of(call) && of.is_none_or(|of| of == errno));
    limits.all(|(.., operation)| line.contains(operation))
}

/// Whether a call can fail with this error in all operations.
pub(super) fn always_possible(call: &str, errno: &str) -> bool {
    ONLY_IN_OPERATION.iter().all(|(other, of, _)| *other != call || of.is_some_and(|of| of != errno))
}

/// Calls of a child process before `execve`. strace counts per process, so a fault hits every start. Only lasting
/// faults are possible.
const CALLS_BEFORE_EXEC: &[&str] = &["dup2", "execve"];

/// Whether a single call can fail while the next one succeeds.
pub(super) fn can_fail_once(call: &str) -> bool {
    !CALLS_BEFORE_EXEC.contains(&call)
}

/// Whether the daemon makes this call only to stop an agent.
pub(super) fn is_of_a_stop(call: &str) -> bool {
    matches!(call, "kill" | "pidfd_send_signal")
}

/// Whether an error looks to the daemon like a failure of the agent, so that a restart is correct: the agent does not
/// listen or answer, it has no status file, or it is not a child process.
pub(super) fn is_agent_failure(call: &str, errno: &str) -> bool {
    match call {
        "connect" => matches!(errno, "ECONNREFUSED" | "ECONNRESET" | "ETIMEDOUT"),
        "sendto" | "recvfrom" => matches!(errno, "ECONNRESET" | "EPIPE" | "ETIMEDOUT"),
        "open" | "openat" => errno == "ENOENT",
        "waitid" => errno == "ECHILD",
        _ => false,
    }
}

/// The row of a call, or the reason why it has none. `Err(None)`: the call is not in this table.
pub(super) fn row(call: &str) -> Result<&'static Row, Option<&'static str>> {
    let reason = NOT_INJECTED.iter().find(|(_, calls)| calls.contains(&call)).map(|(reason, _)| *reason);
    ROWS.iter().find(|row| row.call == call).ok_or(reason)
}
