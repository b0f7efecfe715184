//! A terminal that a command repaints. Its mode is restored on every way out.

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH};
use signal_hook::flag::register_usize;
use signal_hook::low_level::{emulate_default_handler, pipe};

use ops_runtime::clock;

/// Shows the alternate screen without a cursor, so that the terminal's own lines stay.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// The size of a terminal that does not tell its own.
const USUAL: Size = Size { columns: 80, rows: 24 };

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// The size of the terminal that is standard output. `None`: it is none, or does not tell.
pub(super) fn size() -> Option<Size> {
    let stdout = io::stdout();
    let size = tcgetwinsize(stdout.as_fd()).ok().filter(|_| stdout.is_terminal())?;
    (size.ws_col > 0 && size.ws_row > 0).then(|| Size { columns: size.ws_col.into(), rows: size.ws_row.into() })
}

/// Why [`Screen::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wake {
    /// The time is over.
    Tick,
    /// The size has changed, or the command was in the background.
    Repaint,
    /// `q` was pressed, or the terminal is gone.
    Quit,
}

/// The terminal while a command repaints it.
#[derive(Debug)]
pub(super) struct Screen {
    /// The mode to restore. `None`: standard input is no terminal.
    mode: Option<Termios>,
    /// Readable after a signal.
    signals: UnixStream,
    /// The signal that ends the command.
    ended: Arc<AtomicUsize>,
    suspended: Arc<AtomicUsize>,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    ///
    /// If signals cannot be watched, or the terminal is gone.
    pub(super) fn open() -> io::Result<Self> {
        let (signals, sender) = UnixStream::pair()?;
        signals.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        let (ended, suspended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGQUIT] {
            register_usize(signal, Arc::clone(&ended), usize::try_from(signal).unwrap_or_default())?;
            pipe::register(signal, sender.try_clone()?)?;
        }
        register_usize(SIGTSTP, Arc::clone(&suspended), 1)?;
        pipe::register(SIGTSTP, sender.try_clone()?)?;
        pipe::register(SIGWINCH, sender)?;
        let mode = tcgetattr(io::stdin()).ok();
        let screen = Self { mode, signals, ended, suspended };
        screen.enter()?;
        Ok(screen)
    }

    /// Its size.
    pub(super) fn size() -> Size {
        size().unwrap_or(USUAL)
    }

    fn enter(&self) -> io::Result<()> {
        if let Some(mode) = &self.mode {
            let mut raw = mode.clone();
            // Ctrl-C and Ctrl-Z still send their signals.
            raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
            tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        }
        write(ENTER)
    }

    fn restore(&self) {
        let _ = write(LEAVE);
        if let Some(mode) = &self.mode {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, mode);
        }
    }

    /// Replaces what is shown. One write avoids flicker.
    ///
    /// # Errors
    ///
    /// If the terminal is gone.
    pub(super) fn paint(&self, lines: &[String]) -> io::Result<()> {
        write(&format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\n")))
    }

    /// Waits for the time or a key. A signal that ends the command ends the process here.
    pub(super) fn wait(&self, time: Duration) -> Wake {
        let deadline = clock::monotonic() + time;
        let mut has_input = self.mode.is_some();
        loop {
            let left = deadline.saturating_sub(clock::monotonic());
            let Ok(timeout) = Timespec::try_from(left) else { return Wake::Quit };
            let stdin = io::stdin();
            let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
            if has_input {
                watched.push(PollFd::new(&stdin, PollFlags::IN));
            }
            match poll(&mut watched, Some(&timeout)) {
                Ok(0) => return Wake::Tick,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return Wake::Quit,
            }
            let is_ready = |at: usize| watched.get(at).is_some_and(|fd| !fd.revents().is_empty());
            let (signalled, pressed) = (is_ready(0), is_ready(1));
            if signalled {
                return self.signalled();
            }
            if pressed {
                let mut keys = [0; 64];
                match rustix::io::read(&stdin, &mut keys) {
                    Ok(0) | Err(Errno::IO) => has_input = false,
                    Ok(read) if keys.iter().take(read).any(|key| matches!(key, b'q' | b'Q')) => return Wake::Quit,
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }

    fn signalled(&self) -> Wake {
        let mut bytes = [0; 64];
        while (&self.signals).read(&mut bytes).is_ok_and(|read| read > 0) {}
        let ended = self.ended.load(Ordering::Relaxed);
        if ended > 0 {
            self.restore();
            // The caller sees that the signal ended the process.
            let _ = emulate_default_handler(i32::try_from(ended).unwrap_or(SIGTERM));
            return Wake::Quit;
        }
        if self.suspended.swap(0, Ordering::Relaxed) > 0 {
            self.restore();
            let _ = kill_process(getpid(), Signal::STOP);
            if self.enter().is_err() {
                return Wake::Quit;
            }
        }
        Wake::Repaint
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.restore();
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
