//! A process of its own that writes the log file.
//!
//! A thread that waits for a disk that hangs cannot be ended, not even by SIGKILL, and as long as it is there the process cannot
//! end either. So a program with a log file starts itself again as its log writer, and gives it each line over a socket. If the
//! disk hangs, only the writer waits for it. It ends when its socket is closed.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};

use super::sink::LogFile;
use crate::orphans;

/// The argument that makes a program a log writer. It is not for users, so it is in no help.
const ARGUMENT: &str = "log-writer";

/// How long the file may take to be opened.
const OPEN_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a writer whose socket was closed may take to end.
const END_TIMEOUT: Duration = Duration::from_millis(200);

/// The size limit of what is written at once, in bytes: more than all lines that can wait.
const MAX_BYTES: u32 = 4 << 20;

/// Whether the executable of this process can be its log writer.
static IS_AVAILABLE: AtomicBool = AtomicBool::new(false);

/// Becomes the log writer, if the arguments say so. Otherwise log files are written by a process that runs with such
/// arguments. Has to be called first in `main`.
#[must_use]
pub fn become_writer(args: &[OsString]) -> Option<ExitCode> {
    match args {
        [_, argument, path] if argument == OsStr::new(ARGUMENT) && is_socket() => Some(main(Path::new(path))),
        _ => {
            IS_AVAILABLE.store(true, Ordering::Relaxed);
            None
        }
    }
}

fn is_socket() -> bool {
    let kind = |stat: Stat| FileType::from_raw_mode(stat.st_mode);
    fstat(rustix::stdio::stdin()).is_ok_and(|stat| kind(stat) == FileType::Socket)
}

/// The writer. A stop is meant for the program, which has more to log, so signals do not end it.
fn main(path: &Path) -> ExitCode {
    let caught = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ] {
        // Without the handler, a signal ends the writer, and the next line starts another.
        let _ = signal_hook::flag::register(signal, Arc::clone(&caught));
    }
    match rustix::stdio::stdin().as_fd().try_clone_to_owned() {
        Ok(socket) => {
            // An error means that the program has ended, or has opened the file again.
            let _ = serve(UnixStream::from(socket), path);
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(mut program: UnixStream, path: &Path) -> io::Result<()> {
    let mut file = match LogFile::open(path) {
        Ok(file) => file,
        Err(error) => return answer(&mut program, 0, Err(error)),
    };
    answer(&mut program, 0, Ok(()))?;
    let mut bytes = Vec::new();
    loop {
        let mut length = [0; 4];
        program.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length > MAX_BYTES {
            return Err(io::ErrorKind::InvalidData.into());
        }
        bytes.resize(length as usize, 0);
        program.read_exact(&mut bytes)?;
        let (left, result) = file.write(&bytes);
        answer(&mut program, left, result)?;
    }
}

/// Sends the number of bytes that were not written, and the error, 0 for none. A failure without a number is `EIO`.
fn answer(program: &mut UnixStream, left: usize, result: io::Result<()>) -> io::Result<()> {
    let number = |error: io::Error| error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
    let errno = result.map_or_else(number, |()| 0);
    let left = u32::try_from(left).unwrap_or(u32::MAX);
    program.write_all(&[left.to_le_bytes(), errno.to_le_bytes()].concat())
}

/// The writer, as the program sees it.
#[derive(Debug)]
pub(super) struct LogWriter {
    path: PathBuf,
    /// `None`: it has ended, and the next line starts another.
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    socket: UnixStream,
    child: Child,
}

impl LogWriter {
    /// Starts a writer that has opened the file. `None`: the system starts none, so this process has to write.
    ///
    /// # Errors
    ///
    /// The file cannot be opened.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        if !IS_AVAILABLE.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let Ok(mut running) = Running::start(path) else { return Ok(None) };
        match running.opened() {
            Ok(Some(Ok(()))) => Ok(Some(Self { path: path.to_owned(), running: Some(running) })),
            Ok(Some(Err(error))) => Err(error),
            Ok(None) => Err(io::Error::new(io::ErrorKind::TimedOut, "the disk does not answer")),
            // Something else runs instead, as under valgrind.
            Err(_) => Ok(None),
        }
    }

    /// Writes all bytes. Returns how many are not written, and the error.
    pub(super) fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match self.try_write(bytes) {
            Ok((left, result)) => (left as usize, result),
            Err(error) => {
                self.running = None;
                (bytes.len(), Err(error))
            }
        }
    }

    fn try_write(&mut self, bytes: &[u8]) -> io::Result<(u32, io::Result<()>)> {
        let running = match &mut self.running {
            Some(running) => running,
            ended => {
                let mut running = Running::start(&self.path)?;
                running.opened()?.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
                ended.insert(running)
            }
        };
        let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= MAX_BYTES);
        let length = length.ok_or(io::ErrorKind::InvalidInput)?;
        running.socket.write_all(&length.to_le_bytes())?;
        running.socket.write_all(bytes)?;
        running.answer()
    }
}

impl Running {
    fn start(path: &Path) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(ARGUMENT).arg(path).env_clear();
        command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: orphans::spawn(&mut command)?, socket })
    }

    /// Waits for the answer to the start. `None`: there is none in time.
    fn opened(&mut self) -> io::Result<Option<io::Result<()>>> {
        self.socket.set_read_timeout(Some(OPEN_TIMEOUT))?;
        let opened = match self.answer() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            answer => answer?.1,
        };
        self.socket.set_read_timeout(None)?;
        Ok(Some(opened))
    }

    fn answer(&mut self) -> io::Result<(u32, io::Result<()>)> {
        let mut bytes = [0; 8];
        self.socket.read_exact(&mut bytes)?;
        let [a, b, c, d, e, f, g, h] = bytes;
        let (left, errno) = (u32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]));
        Ok((left, if errno == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(errno)) }))
    }
}

impl Drop for Running {
    /// Lets it end, and reaps it. One that waits for its disk is left to the end of this process.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        let pid = self.child.id();
        let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
        if let Some(pidfd) = raw.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
            let limit = Timespec { tv_sec: 0, tv_nsec: END_TIMEOUT.subsec_nanos().into() };
            let _ = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit));
        }
        let _ = self.child.try_wait();
        orphans::release(pid);
    }
}
