//! What a line means, and what is answered.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::Host;
use crate::daemon::api::{RECEIVED, errors, hand_in};
use crate::daemon::control::{ControlApi, Declined};
use ops_protocol::heartbeat::{self, ReceivedHeartbeat};
use ops_protocol::jsonrpc::{Id, Response, RpcError};
use ops_protocol::views::{AgentView, AgentsView, LogsView, MessageView, WhyView};
use ops_protocol::{ApiError, Command, ErrorCode, Timestamp};
use ops_runtime::clock;

/// How many lines `logs` shows unless it is told.
const LOG_LINES: usize = 100;

/// Answers a line into `out`. What takes a while is handed back, to be waited for.
pub(super) fn answer<D: ControlApi>(host: &Host<D>, may_control: bool, line: &[u8], out: &mut Vec<u8>) -> Option<Slow> {
    if line.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let envelope = match serde_json::from_slice::<Envelope>(line) {
        Ok(envelope) => envelope,
        Err(error) => {
            failure(out, None, &unreadable(&error));
            return None;
        }
    };
    if !heartbeat::is_object(line) {
        let text = "not a request: send an object with named fields, one a line";
        failure(out, None, &RpcError::new(RpcError::INVALID_REQUEST, text));
        return None;
    }
    if envelope.is_bare() {
        bare(host, line);
        return None;
    }
    let call = Call { host, may_control, line, id: envelope.id.as_ref(), out };
    match (envelope.jsonrpc.as_deref(), envelope.method.as_deref()) {
        (Some("2.0"), Some(method)) => call.dispatch(method),
        _ => {
            let text = "not a request: send `\"jsonrpc\":\"2.0\"` and a `method`, or a heartbeat with its `pid`";
            call.fail(&RpcError::new(RpcError::INVALID_REQUEST, text));
            None
        }
    }
}

/// As much of a line as tells what it is.
#[derive(Deserialize)]
struct Envelope {
    jsonrpc: Option<String>,
    id: Option<Id>,
    method: Option<String>,
    pid: Option<IgnoredAny>,
}

impl Envelope {
    const fn is_bare(&self) -> bool {
        self.jsonrpc.is_none() && self.method.is_none() && self.pid.is_some()
    }
}

#[derive(Deserialize)]
struct Params<P> {
    params: P,
}

#[derive(Deserialize)]
struct Whom {
    agent_id: String,
}

#[derive(Deserialize)]
struct WhoseLogs {
    agent_id: String,
    lines: Option<usize>,
}

/// A heartbeat of an agent that expects no answer, not even a refusal: it would never read it.
fn bare<D: ControlApi>(host: &Host<D>, line: &[u8]) {
    let heard = &host.metrics.socket;
    match ReceivedHeartbeat::from_bare_line(line) {
        Ok(received) => {
            let _ = hand_in(&*host.control, heard, &received);
        }
        Err(_) => heard.invalid.inc(),
    }
}

/// One request.
struct Call<'a, D> {
    host: &'a Host<D>,
    may_control: bool,
    line: &'a [u8],
    /// `None`: a notification, which is never answered.
    id: Option<&'a Id>,
    out: &'a mut Vec<u8>,
}

impl<D: ControlApi> Call<'_, D> {
    fn dispatch(self, method: &str) -> Option<Slow> {
        let control = &self.host.control;
        match method {
            heartbeat::METHOD => {
                let outcome = self.heartbeat();
                self.finish(outcome);
            }
            "agents" => {
                let agents = AgentsView { now: Timestamp(clock::wall()), agents: control.agents() };
                self.finish(Ok(agents));
            }
            "health" => {
                let health = control.health();
                self.finish(Ok(health));
            }
            "agent" => {
                let view = self.view();
                self.finish(view);
            }
            "why" => {
                let view = self.view();
                self.finish(view.map(WhyView::from));
            }
            "logs" => return self.logs(),
            _ => match Command::named(method) {
                Some(command) => {
                    let outcome = self.control(command);
                    self.finish(outcome);
                }
                None => self.fail(&unknown_method(method)),
            },
        }
        None
    }

    fn heartbeat(&self) -> Result<MessageView, RpcError> {
        let heard = &self.host.metrics.socket;
        let received = self.params::<ReceivedHeartbeat>().and_then(|received| {
            received.checked().map_err(|invalid| RpcError::new(RpcError::INVALID_PARAMS, invalid.to_string()))
        });
        let received = received.inspect_err(|_| heard.invalid.inc())?;
        hand_in(&*self.host.control, heard, &received).map_err(|rejected| errors::rejected(&rejected))?;
        Ok(MessageView { message: RECEIVED.into() })
    }

    fn view(&self) -> Result<AgentView, RpcError> {
        let Whom { agent_id } = self.params()?;
        self.host.control.agent(&agent_id).ok_or_else(|| errors::declined(&Declined::UnknownAgent).into())
    }

    fn control(&self, command: Command) -> Result<MessageView, RpcError> {
        self.only_for_owners()?;
        let Whom { agent_id } = self.params()?;
        let word = command.as_str();
        self.host
            .control
            .control(&agent_id, command, &format!("`{word}` over the socket"))
            .map_err(|declined| errors::declined(&declined))?;
        Ok(MessageView { message: format!("{agent_id} is told to {word}").into() })
    }

    /// An agent may write secrets: its output is for whoever could read the file.
    fn logs(self) -> Option<Slow> {
        let asked = self.only_for_owners().and_then(|()| self.params::<WhoseLogs>());
        match (asked, self.id) {
            (Ok(whose), Some(id)) => Some(Slow { id: id.clone(), whose }),
            (Ok(_), None) => None,
            (Err(error), _) => {
                self.fail(&error);
                None
            }
        }
    }

    fn only_for_owners(&self) -> Result<(), RpcError> {
        if self.may_control {
            return Ok(());
        }
        let text = "only root and the daemon's user may do this: run the command as one of them";
        Err(ApiError::new(ErrorCode::Forbidden, text).into())
    }

    fn params<P: DeserializeOwned>(&self) -> Result<P, RpcError> {
        let read = serde_json::from_slice::<Params<P>>(self.line);
        read.map(|read| read.params)
            .map_err(|error| RpcError::new(RpcError::INVALID_PARAMS, format!("wrong `params`: {error}")))
    }

    fn finish(self, outcome: Result<impl Serialize, RpcError>) {
        match (outcome, self.id) {
            (Ok(result), Some(id)) => success(self.out, id, result),
            (Err(error), Some(_)) => self.fail(&error),
            (_, None) => {}
        }
    }

    /// A request that cannot be understood is answered even without an id: it may have been meant to have one.
    fn fail(self, error: &RpcError) {
        if self.id.is_some() || error.code == RpcError::INVALID_REQUEST {
            failure(self.out, self.id, error);
        }
    }
}

/// A request for logs: they are on a disk.
pub(super) struct Slow {
    id: Id,
    whose: WhoseLogs,
}

impl Slow {
    pub(super) async fn answer<D: ControlApi>(self, host: &Host<D>, out: &mut Vec<u8>) {
        let WhoseLogs { agent_id, lines } = self.whose;
        match host.control.logs(&agent_id, lines.unwrap_or(LOG_LINES)).await {
            Ok(lines) => success(out, &self.id, LogsView { lines }),
            Err(declined) => failure(out, Some(&self.id), &errors::declined(&declined).into()),
        }
    }
}

/// As [`Response::success`], without the detour over a tree.
#[derive(Serialize)]
struct Success<'a, R> {
    jsonrpc: &'static str,
    id: &'a Id,
    result: R,
}

fn success(out: &mut Vec<u8>, id: &Id, result: impl Serialize) {
    append(out, &Success { jsonrpc: "2.0", id, result });
}

fn failure(out: &mut Vec<u8>, id: Option<&Id>, error: &RpcError) {
    append(out, &Response::failure(id.cloned(), error.clone()));
}

fn append(out: &mut Vec<u8>, answer: &impl Serialize) {
    let before = out.len();
    match serde_json::to_writer(&mut *out, answer) {
        Ok(()) => out.push(b'\n'),
        Err(error) => {
            tracing::error!(%error, "an answer cannot be put into JSON");
            out.truncate(before);
        }
    }
}

fn unreadable(error: &serde_json::Error) -> RpcError {
    if error.is_data() {
        RpcError::new(RpcError::INVALID_REQUEST, format!("not a request: {error}; send one object a line"))
    } else {
        RpcError::new(RpcError::PARSE, format!("not JSON: {error}"))
    }
}

fn unknown_method(method: &str) -> RpcError {
    let name: String = method.chars().take(40).collect();
    let known = "heartbeat, agents, agent, why, start, stop, restart, logs and health";
    RpcError::new(RpcError::METHOD_NOT_FOUND, format!("there is no method {name:?}: there are {known}"))
}
