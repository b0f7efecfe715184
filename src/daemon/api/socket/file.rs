//! The socket file. A lock ensures that only one daemon uses it.

use std::fmt;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};

use ops_runtime::errno::{is_shortage, remedy};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A bound socket. Dropping it removes the file.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    listener: UnixListener,
    /// The file that the listener is bound to: device and inode.
    bound: (u64, u64),
    /// Held while this daemon uses the socket. The kernel releases it when the process ends.
    lock: File,
}

/// A new socket at the same path.
pub(super) struct Rebound {
    listener: UnixListener,
    bound: (u64, u64),
}

impl SocketFile {
    /// Binds `path` with mode 0600. Replaces the socket of a daemon that has ended, and never that of a running one.
    ///
    /// # Errors
    ///
    /// [`SocketError`] with the path and what to do.
    pub fn bind(path: &Path) -> Result<Self, SocketError> {
        let fail = |reason| SocketError { path: path.to_owned(), reason };
        // The lock comes first. Otherwise, of two daemons that find an unused socket, one could remove the other's
        // new one.
        let lock = lock(path).map_err(fail)?;
        clear(path).map_err(fail)?;
        let (listener, bound) = open(path).map_err(|source| fail(Reason::Bind(source)))?;
        Ok(Self { path: path.to_owned(), listener, bound, lock })
    }

    /// Asks whether the path still leads to this socket. A cleaner of temporary files may have removed it. The question blocks
    /// on the disk.
    pub(super) fn is_in_place(&self) -> impl FnOnce() -> bool + Send + 'static {
        let (path, bound) = (self.path.clone(), self.bound);
        move || identity(&path).is_ok_and(|found| found == bound)
    }

    /// Binds the path again, after its file was removed. Connections to the old file stay. Blocks on the disk.
    pub(super) fn bind_again(&self) -> impl FnOnce() -> Result<Rebound, SocketError> + Send + 'static {
        let path = self.path.clone();
        move || {
            let fail = |reason| SocketError { path: path.clone(), reason };
            clear(&path).map_err(fail)?;
            let (listener, bound) = open(&path).map_err(|source| fail(Reason::Bind(source)))?;
            Ok(Rebound { listener, bound })
        }
    }

    /// Takes what [`bind_again`](Self::bind_again) bound.
    pub(super) fn replace(&mut self, rebound: Rebound) {
        (self.listener, self.bound) = (rebound.listener, rebound.bound);
    }

    /// The path of the socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
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
        Err(Errno::WOULDBLOCK) => Err(Reason::Taken),
        Err(error) => Err(Reason::Bind(error.into())),
    }
}

/// Removes the socket of a daemon that has ended.
fn clear(path: &Path) -> Result<(), Reason> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Reason::Bind(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(Reason::NoSocket),
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(Reason::Bind),
        // A full queue, or a socket of another user, may belong to a running daemon.
        Ok(_) | Err(_) => Err(Reason::Taken),
    }
}

/// Sets the mode between bind and listen, before a connection is possible. The mode does not depend on the umask,
/// because the umask applies to the whole process.
fn open(path: &Path) -> io::Result<(UnixListener, (u64, u64))> {
    let address = SocketAddrUnix::new(path)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(socket.as_fd(), &address)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    listen(socket.as_fd(), BACKLOG)?;
    Ok((socket.into(), identity(path)?))
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
    Taken,
    NoSocket,
    Bind(io::Error),
}

impl fmt::Display for SocketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.reason {
            Reason::Taken => write!(f, "another daemon listens at {path}: stop it, or set another `socket_path`"),
            Reason::NoSocket => write!(f, "{path} exists and is not a socket: move it, or set another `socket_path`"),
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
            Reason::Taken | Reason::NoSocket => None,
        }
    }
}
