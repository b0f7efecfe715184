//! The socket file. A lock ensures that only one daemon uses it.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::User;
use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Uid, flock};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::sockopt::{set_socket_passcred, socket_peercred};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with};

use ops_config::daemon::find_user;
use ops_runtime::errno::{is_shortage, remedy};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A bound socket. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    socket: OwnedFd,
    kind: SocketType,
    /// The file that the socket is bound to: device and inode.
    bound: (u64, u64),
    /// The user that the file is given to. `None`: it stays that of the daemon.
    user: Option<String>,
    /// Held while this daemon uses the socket. The kernel releases it when the process ends.
    lock: File,
}

/// A new socket at the same path.
pub(super) struct Rebound {
    socket: OwnedFd,
    bound: (u64, u64),
}

impl SocketFile {
    /// Binds `path` with mode 0600, for a user other than that of the daemon if one is given. Replaces the socket of a daemon that
    /// has ended, and never that of a running one.
    ///
    /// # Errors
    ///
    /// [`SocketError`] with the path and what to do.
    pub fn bind(path: &Path, user: Option<&str>) -> Result<Self, SocketError> {
        Self::bind_as(SocketType::STREAM, path, user)
    }

    /// The same for datagrams, with the credentials of their senders. Makes the directory, which others may pass and not list.
    pub(super) fn bind_datagram(path: &Path, user: Option<&str>) -> Result<Self, SocketError> {
        if let Some(directory) = path.parent() {
            let made = DirBuilder::new().mode(0o711).create(directory);
            made.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
                .map_err(|error| SocketError { path: path.to_owned(), reason: Reason::Bind(error) })?;
        }
        Self::bind_as(SocketType::DGRAM, path, user)
    }

    fn bind_as(kind: SocketType, path: &Path, user: Option<&str>) -> Result<Self, SocketError> {
        let fail = |reason| SocketError { path: path.to_owned(), reason };
        // The lock comes first. Otherwise, of two daemons that find an unused socket, one could remove the other's
        // new one.
        let lock = lock(path).map_err(fail)?;
        clear(path, kind).map_err(fail)?;
        let (socket, bound) = open(path, kind, user).map_err(fail)?;
        Ok(Self { path: path.to_owned(), socket, kind, bound, user: user.map(str::to_owned), lock })
    }

    /// Asks whether the path still leads to this socket. A cleaner of temporary files may have removed it. The question blocks
    /// on the disk.
    pub(super) fn is_in_place(&self) -> impl FnOnce() -> bool + Send + 'static {
        let (path, bound) = (self.path.clone(), self.bound);
        move || identity(&path).is_ok_and(|found| found == bound)
    }

    /// Binds the path again, after its file was removed. Connections to the old file stay. Blocks on the disk.
    pub(super) fn bind_again(&self) -> impl FnOnce() -> Result<Rebound, SocketError> + Send + 'static {
        let (path, kind, user) = (self.path.clone(), self.kind, self.user.clone());
        move || {
            let fail = |reason| SocketError { path: path.clone(), reason };
            clear(&path, kind).map_err(fail)?;
            let (socket, bound) = open(&path, kind, user.as_deref()).map_err(fail)?;
            Ok(Rebound { socket, bound })
        }
    }

    /// Takes what [`bind_again`](Self::bind_again) bound.
    pub(super) fn replace(&mut self, rebound: Rebound) {
        (self.socket, self.bound) = (rebound.socket, rebound.bound);
    }

    /// The path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        Ok(self.socket.try_clone()?.into())
    }

    pub(super) fn datagrams(&self) -> io::Result<UnixDatagram> {
        Ok(self.socket.try_clone()?.into())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // If the removal fails, the next daemon finds an unused socket and replaces it.
        if self.is_in_place()() {
            let _ = fs::remove_file(&self.path);
        }
        // Closing the file is not enough, because a child between fork and exec shares it.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

fn lock(path: &Path) -> Result<File, Reason> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let lock = retry_on_intr(|| rustix::fs::open(&name, flags, Mode::RUSR | Mode::WUSR));
    let lock = lock.map_err(|error| Reason::Bind(error.into()))?;
    match retry_on_intr(|| flock(&lock, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(lock.into()),
        Err(Errno::WOULDBLOCK) => Err(Reason::Taken(listener_of(path))),
        Err(error) => Err(Reason::Bind(error.into())),
    }
}

/// Removes the socket of a daemon that has ended.
fn clear(path: &Path, kind: SocketType) -> Result<(), Reason> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Reason::Bind(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(Reason::NoSocket),
        Ok(_) => {}
    }
    let connected = match kind {
        SocketType::DGRAM => UnixDatagram::unbound().and_then(|socket| socket.connect(path)).map(|()| None),
        _ => UnixStream::connect(path).map(Some),
    };
    match connected {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(Reason::Bind),
        // A full queue, or a socket of another user, may belong to a running daemon.
        Ok(stream) => Err(Reason::Taken(stream.as_ref().and_then(pid_of_peer))),
        Err(_) => Err(Reason::Taken(None)),
    }
}

/// The pid of the process that listens at this path. Does not wait for a full queue.
fn listener_of(path: &Path) -> Option<i32> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
    connect(&socket, &SocketAddrUnix::new(path).ok()?).ok()?;
    pid_of_peer(&socket.into())
}

fn pid_of_peer(stream: &UnixStream) -> Option<i32> {
    Some(socket_peercred(stream).ok()?.pid.as_raw_nonzero().get())
}

/// Makes the socket. The file gets its mode from the descriptor, so that nothing that another user puts in its place gets it.
fn open(path: &Path, kind: SocketType, user: Option<&str>) -> Result<(OwnedFd, (u64, u64)), Reason> {
    let user = user.map(|name| find_user(name).ok().flatten().ok_or_else(|| Reason::NoUser(name.to_owned())));
    let user = user.transpose()?;
    let bound = || -> io::Result<_> {
        let address = SocketAddrUnix::new(path)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, kind, flags, None)?;
        rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(socket.as_fd(), &address)?;
        if let Some(user) = user {
            give(path, &user)?;
        }
        if kind == SocketType::DGRAM {
            set_socket_passcred(&socket, true)?;
        } else {
            listen(socket.as_fd(), BACKLOG)?;
        }
        Ok((socket, identity(path)?))
    };
    bound().map_err(Reason::Bind)
}

/// Gives the file to a user. The user may own the directory and put another file in its place, so only a socket with one name is
/// given away.
fn give(path: &Path, user: &User) -> io::Result<()> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket || stat.st_nlink != 1 {
        return Err(io::Error::other("another file was put in its place"));
    }
    let (owner, group) = (Uid::from_raw(user.uid.as_raw()), Gid::from_raw(user.gid.as_raw()));
    Ok(rustix::fs::chownat(&file, "", Some(owner), Some(group), AtFlags::EMPTY_PATH)?)
}

/// Device and inode of a path, of a link itself.
fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let found = fs::symlink_metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Why the socket cannot be bound.
#[derive(Debug)]
pub struct SocketError {
    path: PathBuf,
    reason: Reason,
}

#[derive(Debug)]
enum Reason {
    /// The pid of the process that listens there, if the kernel tells.
    Taken(Option<i32>),
    NoSocket,
    NoUser(String),
    Bind(io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Taken(pid) => {
                let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
                write!(f, "another daemon listens at {path}{pid}: stop it, or set another `socket_path`")
            }
            Reason::NoSocket => write!(f, "{path} exists and is not a socket: move it, or set another `socket_path`"),
            Reason::NoUser(name) => {
                write!(f, "the user {name} of {path} does not exist: create the user, or correct `user`")
            }
            Reason::Bind(_) if self.path.as_os_str().len() > 107 => {
                write!(f, "the path {path} is longer than the limit of 107 bytes: set a shorter `socket_path`")
            }
            Reason::Bind(error) if is_shortage(error) => write!(f, "cannot listen at {path}: {}", remedy(error)),
            Reason::Bind(_) => {
                write!(f, "cannot listen at {path}: make sure that its directory exists and is writable")
            }
        }
    }
}

impl std::error::Error for SocketError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Bind(source) => Some(source),
            Reason::Taken(_) | Reason::NoSocket | Reason::NoUser(_) => None,
        }
    }
}
