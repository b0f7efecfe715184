//! `daemon reload`.

use std::process::ExitCode;

use serde_json::json;

use super::SocketArgs;
use super::request::{RELOAD_TIMEOUT, RequestError, request_within};
use crate::cli::exit_code::BAD_CONFIG;
use crate::cli::output::{fail, print};
use crate::daemon::client::ClientError;
use ops_protocol::ErrorCode;
use ops_protocol::printable::on_one_line as line;
use ops_protocol::views::ReloadView;

/// Makes the daemon read its configuration again, and prints what was changed.
pub(super) fn run(args: &SocketArgs) -> ExitCode {
    let socket = match args.path() {
        Ok(socket) => socket,
        Err(code) => return code,
    };
    match request_within(RELOAD_TIMEOUT, &socket, "reload", json!({})) {
        Ok(applied) => print(&text(&applied)),
        Err(RequestError::Client(ClientError::Declined(error))) if error.has_code(ErrorCode::ConfigError) => {
            fail(&format!("nothing was changed:\n{}", error.message), None, BAD_CONFIG)
        }
        Err(error) => error.report(),
    }
}

fn text(applied: &ReloadView) -> String {
    let mut text = format!("{}\n", line(&applied.message));
    for (name, list) in applied.lists() {
        if !list.is_empty() {
            let list: Vec<String> = list.iter().map(|id| line(id)).collect();
            text.push_str(&format!("  {name:<18}  {}\n", list.join(", ")));
        }
    }
    for warning in &applied.warnings {
        text.push_str(&format!("warning: {}\n", line(warning)));
    }
    text
}
