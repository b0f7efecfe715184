//! A program on a pseudo-terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::agent::wait_until;

/// What a page that is painted begins and ends with.
const PAGE: (&str, &str) = ("\x1b[H", "\x1b[J");

/// A program whose standard streams are a terminal. It is killed when dropped.
pub(crate) struct Terminal {
    master: File,
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub(crate) fn run(mut command: Command, columns: u16, rows: u16) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = File::from(rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap());
        let master = File::from(master);
        resize(&master, columns, rows);
        let stream = || Stdio::from(slave.try_clone().unwrap());
        let child = command.stdin(stream()).stdout(stream()).stderr(stream()).spawn().unwrap();
        let output = Arc::new(Mutex::new(Vec::new()));
        let (mut reader, read) = (master.try_clone().unwrap(), Arc::clone(&output));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // The read fails once no process has the terminal open.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                read.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Self { master, child, output }
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Changes the size, and tells the program as the kernel does for a controlling terminal.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        resize(&self.master, columns, rows);
        self.signal(Signal::WINCH);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal).unwrap();
    }

    /// Whether keys are shown and lines are edited, as a shell needs it.
    pub(crate) fn is_in_its_usual_mode(&self) -> bool {
        let mode = tcgetattr(self.master.as_fd()).unwrap();
        mode.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Everything that was printed.
    pub(crate) fn printed(&self) -> String {
        String::from_utf8_lossy(&self.output.lock().unwrap()).into_owned()
    }

    /// The lines of the last page, without escape sequences.
    pub(crate) fn page(&self) -> Vec<String> {
        let printed = self.printed();
        let whole = printed.rfind(PAGE.1).map_or("", |end| &printed[..end]);
        let page = whole.rfind(PAGE.0).map_or("", |begin| &whole[begin..]);
        plain(page).lines().map(str::to_owned).collect()
    }

    /// Waits for a page that fits.
    pub(crate) fn wait_for(&self, what: &str, fits: impl Fn(&[String]) -> bool) -> Vec<String> {
        wait_until(what, || fits(&self.page()));
        self.page()
    }

    /// Waits until the program has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn resize(master: &File, columns: u16, rows: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(master, size).unwrap();
}

/// The text without escape sequences and carriage returns.
pub(crate) fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\x1b[") {
        plain.push_str(before);
        rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, ';' | '?'));
        rest = rest.get(1..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain.replace('\r', "")
}
