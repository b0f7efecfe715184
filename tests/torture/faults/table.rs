//! Which calls may say what: the errors that their manual pages allow and that can really happen to them.

/// A system call and what it may say.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) call: &'static str,
    /// On the program's own files: what a disk, a quota, a mount or an administrator says. Given only on these, since on a
    /// timer or an eventfd, which are read and written too, the kernel never says so.
    pub(super) disk: &'static [&'static str],
    /// Wherever it is made: want of something, interruption, the network.
    pub(super) any: &'static [&'static str],
}

const fn disk(call: &'static str, disk: &'static [&'static str], any: &'static [&'static str]) -> Row {
    Row { call, disk, any }
}

const fn any(call: &'static str, any: &'static [&'static str]) -> Row {
    Row { call, disk: &[], any }
}

/// Every call that agent or daemon makes to files, sockets and processes.
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
    disk("chmod", &["EIO", "EPERM", "EROFS"], &["ENOMEM"]),
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
    any("setpgid", &["EACCES", "EPERM"]),
    any("chdir", &["EACCES", "EIO", "ENOENT", "ENOMEM"]),
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

/// Calls that are left alone, each with the reason.
pub(super) const LEFT_ALONE: &[(&str, &[&str])] = &[
    (
        "memory: when there is none, Rust's allocator ends the process, and no program can decide otherwise; what happens near \
         the limit is the matter of limits on the whole process, not of one call",
        &["mmap", "munmap", "mprotect", "mremap", "madvise", "brk"],
    ),
    (
        "what libc and Rust's runtime do for each thread, with arguments that cannot be wrong; they end the process if it fails",
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
    ("they always succeed", &["getpid", "gettid", "getppid", "geteuid", "getuid", "exit", "exit_group", "uname"]),
    (
        "it only asks, and any no will do: the loader then has nothing to preload, and the allocator one node of memory",
        &["access"],
    ),
    (
        "they fail only for arguments that are wrong, and these are constants (a seek to 0, a timer of the future, FIONBIO)",
        &["lseek", "timerfd_settime", "ioctl"],
    ),
];

/// Calls that can fail, or fail so, only in one of their operations, and which that is. strace cannot be told to wait for it;
/// so such a call is aimed at in a trace, and where another one is hit, the kernel would not have said so.
const ONLY_WHEN: &[(&str, Option<&str>, &str)] = &[
    ("epoll_ctl", None, "EPOLL_CTL_ADD"),
    ("fcntl", None, "F_DUPFD"),
    // A socket's file may be missing; an address has none.
    ("connect", Some("ENOENT"), "AF_UNIX"),
    // A log may be a pipe.
    ("write", Some("EPIPE"), ".log>"),
    // Of a group that is swept up everybody may be gone. One that is told to end is there.
    ("kill", Some("ESRCH"), "SIGKILL"),
];

/// Whether what was made to fail in this line of a trace can fail so.
pub(super) fn can_happen(line: &str, errno: &str) -> bool {
    let is_of = |call: &str| line.split_once('(').is_some_and(|(head, _)| head.ends_with(&format!(" {call}")));
    let mut limits = ONLY_WHEN.iter().filter(|(call, of, _)| is_of(call) && of.is_none_or(|of| of == errno));
    limits.all(|(.., operation)| line.contains(operation))
}

/// Whether a call can fail so in all of its operations.
pub(super) fn always_can(call: &str, errno: &str) -> bool {
    ONLY_WHEN.iter().all(|(other, of, _)| *other != call || of.is_some_and(|of| of != errno))
}

/// Calls of a process that is just being started. strace counts for each process, so to strike one of them is to strike
/// every start: they can only fail for a while.
const OF_STARTS: &[&str] = &["setpgid", "chdir", "dup2", "execve"];

/// Whether one of them can fail, and the next one not.
pub(super) fn can_fail_once(call: &str) -> bool {
    !OF_STARTS.contains(&call)
}

/// What only the agent can be blamed for, as far as the daemon can see: then it is right to restart it. Nobody listens or
/// answers, its file is not there, or it is no child any more.
pub(super) fn speaks_of_the_agent(call: &str, errno: &str) -> bool {
    match call {
        "connect" => matches!(errno, "ECONNREFUSED" | "ECONNRESET" | "ETIMEDOUT"),
        "sendto" | "recvfrom" => matches!(errno, "ECONNRESET" | "EPIPE" | "ETIMEDOUT"),
        "open" | "openat" => errno == "ENOENT",
        "waitid" => errno == "ECHILD",
        _ => false,
    }
}

/// The row of a call, or why it has none. `Err(None)`: nobody has thought of it.
pub(super) fn row(call: &str) -> Result<&'static Row, Option<&'static str>> {
    let left_alone = LEFT_ALONE.iter().find(|(_, calls)| calls.contains(&call)).map(|(reason, _)| *reason);
    ROWS.iter().find(|row| row.call == call).ok_or(left_alone)
}
