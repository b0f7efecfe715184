//! `daemon status --watch` on a terminal.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

use super::page::{Space, overview};
use super::status::{Answer, Args, WATCH_INTERVAL};
use crate::cli::exit_code::FAILED;
use crate::cli::output::fail;
use crate::cli::screen::{Screen, Size, Wake};
use crate::cli::text::Line;
use ops_protocol::Timestamp;
use ops_runtime::clock;

/// The time limit of an answer, so that `q` is not ignored for long.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The rows that the time, or the message that the daemon is gone, may take.
const TITLE_ROWS: usize = 3;

/// Repaints the page until `q` is pressed or a signal ends the command.
pub(super) fn run(args: &Args, socket: &Path) -> ExitCode {
    let screen = match Screen::open() {
        Ok(screen) => screen,
        Err(error) => return fail("the terminal cannot be used: leave out --watch", Some(&error), FAILED),
    };
    let color = AutoStream::choice(&io::stdout()) != ColorChoice::Never;
    let mut seen = None;
    loop {
        let gone = match args.ask(socket, TIMEOUT) {
            Ok(answer) => {
                seen = Some(answer);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        let next = clock::monotonic() + WATCH_INTERVAL;
        loop {
            let lines = page(seen.as_ref(), gone.as_deref(), Screen::size());
            let plain = |line: String| if color { line } else { anstream::adapter::strip_str(&line).to_string() };
            if screen.paint(&lines.into_iter().map(plain).collect::<Vec<_>>()).is_err() {
                return ExitCode::SUCCESS;
            }
            match screen.wait(next.saturating_sub(clock::monotonic())) {
                Wake::Tick => break,
                Wake::Repaint => {}
                Wake::Quit => return ExitCode::SUCCESS,
            }
        }
    }
}

/// The lines of the page. What was last seen of a daemon that is gone stays, without colours.
fn page(seen: Option<&Answer>, gone: Option<&str>, Size { columns, rows }: Size) -> Vec<String> {
    let time = Timestamp(clock::wall()).to_string();
    let mut title = Line::plain(format!("{}  ", time.get(..19).unwrap_or(&time).replace('T', " ") + " UTC"));
    title = match (gone, seen) {
        (None, _) => title.then("every 1 s; q quits", Style::new().dimmed()),
        (Some(why), None) => title.then(why, AnsiColor::Red.on_default().bold()),
        (Some(why), Some(seen)) => {
            let at = seen.now.to_string();
            let at = at.get(11..19).unwrap_or_default();
            title.then(
                format!("the daemon is gone, below is its last answer, of {at}: {why}"),
                AnsiColor::Red.on_default().bold(),
            )
        }
    };
    let mut lines = title.wrapped(Some(columns), 2);
    lines.truncate(TITLE_ROWS);
    if let Some(Answer { daemon, agents, .. }) = seen {
        let space = Space { columns: Some(columns), rows: Some(rows.saturating_sub(lines.len())) };
        let page = overview(daemon, agents, space);
        let dim = Style::new().dimmed();
        let shown = |line: String| match gone {
            None => line,
            Some(_) => format!("{dim}{}{dim:#}", anstream::adapter::strip_str(&line)),
        };
        lines.extend(page.into_iter().map(shown));
    }
    lines.truncate(rows);
    lines
}
