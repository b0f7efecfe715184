//! Parses one line and answers it.

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::{Host, SocketPeer};
use crate::daemon::api::{RECEIVED, accept_heartbeat, answers, large_answers};
use crate::daemon::control::{ControlApi, Declined, HeartbeatSender, LogPosition, NewOutput, Order, Peer};
use crate::daemon::processes::NamedSignal;
use ops_protocol::heartbeat::{self, ReceivedHeartbeat};
use ops_protocol::jsonrpc::{Id, Response, RpcError};
use ops_protocol::views::{AgentView, AgentsView, LogsView, MessageView, WhyView};
use ops_protocol::{ApiError, Command, ErrorCode, Timestamp};
use ops_runtime::clock;

/// The default number of lines of `logs`.
const DEFAULT_LOG_LINES: usize = 100;

/// Appends the answer to a line to `out`. Returns a request whose answer takes more than one turn of the loop.
pub(super) fn answer<D: ControlApi>(
    host: &Host<D>,
    peer: SocketPeer,
    line: &[u8],
    out: &mut Vec<u8>,
) -> Option<Deferred> {
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
        let text = "not a request: send one JSON object per line";
        failure(out, None, &RpcError::new(RpcError::INVALID_REQUEST, text));
        return None;
    }
    if envelope.is_bare() {
        bare_heartbeat(host, peer, line);
        return None;
    }
    let call = Call { host, peer, line, id: envelope.id.as_ref(), out };
    match (envelope.jsonrpc.as_deref(), envelope.method.as_deref()) {
        (Some("2.0"), Some(name)) => match Method::named(name) {
            Some(method) => call.dispatch(method),
            None => {
                call.fail(&unknown_method(name));
                None
            }
        },
        _ => {
            let text = "not a request: send `\"jsonrpc\":\"2.0\"` and a `method`, or a heartbeat with its `pid`";
            call.fail(&RpcError::new(RpcError::INVALID_REQUEST, text));
            None
        }
    }
}

/// The fields that identify the kind of a line.
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

/// The methods of the socket.
#[derive(Clone, Copy)]
enum Method {
    Heartbeat,
    Agents,
    Health,
    Agent,
    Why,
    Logs,
    Reload,
    Control(Command),
    Signal,
}

impl Method {
    fn named(name: &str) -> Option<Self> {
        match name {
            heartbeat::METHOD => Some(Self::Heartbeat),
            "agents" => Some(Self::Agents),
            "health" => Some(Self::Health),
            "agent" => Some(Self::Agent),
            "why" => Some(Self::Why),
            "logs" => Some(Self::Logs),
            "reload" => Some(Self::Reload),
            "signal" => Some(Self::Signal),
            _ => Command::named(name).map(Self::Control),
        }
    }
}

#[derive(Deserialize)]
struct Params<P> {
    params: P,
}

#[derive(Deserialize)]
struct AgentParams {
    agent_id: String,
}

#[derive(Deserialize)]
struct ControlParams {
    agent_id: String,
    #[serde(default)]
    with_dependents: bool,
}

#[derive(Deserialize)]
struct SignalParams {
    agent_id: String,
    signal: String,
}

#[derive(Deserialize)]
pub(super) struct LogsParams {
    agent_id: String,
    lines: Option<usize>,
    /// Whether the answer says where the next look begins.
    #[serde(default)]
    follow: bool,
    /// Where this look begins, as the last answer said. `None`: with the last lines.
    after: Option<String>,
}

/// Takes a heartbeat without JSON-RPC. Its sender reads no answer, so it gets none.
fn bare_heartbeat<D: ControlApi>(host: &Host<D>, peer: SocketPeer, line: &[u8]) {
    match ReceivedHeartbeat::from_bare_line(line) {
        Ok(received) => drop(heartbeat(host, peer, received)),
        Err(_) => host.metrics.socket.invalid.inc(),
    }
}

/// Takes a heartbeat. On the socket of an agent, one without an `agent_id` is of that agent.
fn heartbeat<D: ControlApi>(host: &Host<D>, peer: SocketPeer, mut received: ReceivedHeartbeat) -> Result<(), RpcError> {
    let counters = &host.metrics.socket;
    if let Some(only) = &host.only {
        let named = received.agent_id.get_or_insert_with(|| only.to_string());
        if **named != **only {
            counters.refused.inc();
            return Err(only_heartbeats_of(only, ErrorCode::InvalidAgentId).into());
        }
    }
    accept_heartbeat(&*host.control, counters, &received, &sender(&received, peer))
        .map_err(|rejected| answers::rejected(&rejected).into())
}

/// The refusal of what the socket of an agent does not take.
fn only_heartbeats_of(agent: &str, code: ErrorCode) -> ApiError {
    ApiError::new(code, format!("this socket takes only heartbeats of the agent {agent}: use that of the daemon"))
}

fn sender(received: &ReceivedHeartbeat, SocketPeer { pid, is_owner, .. }: SocketPeer) -> HeartbeatSender<'_> {
    HeartbeatSender { secret: received.start_secret.as_deref(), peer: Peer::Process { pid, is_owner } }
}

/// One request.
struct Call<'a, D> {
    host: &'a Host<D>,
    peer: SocketPeer,
    line: &'a [u8],
    /// `None`: a notification, which gets no answer.
    id: Option<&'a Id>,
    out: &'a mut Vec<u8>,
}

impl<D: ControlApi> Call<'_, D> {
    fn dispatch(self, method: Method) -> Option<Deferred> {
        if let (Some(only), false) = (&self.host.only, matches!(method, Method::Heartbeat)) {
            self.fail(&only_heartbeats_of(only, ErrorCode::Forbidden).into());
            return None;
        }
        match method {
            Method::Heartbeat => {
                let message = self.heartbeat();
                self.finish(message);
            }
            Method::Agents => return self.id.cloned().map(Deferred::Agents),
            Method::Health => {
                let health = self.host.control.health();
                self.finish(Ok(health));
            }
            Method::Agent => {
                let view = self.view();
                self.finish(view);
            }
            Method::Why => {
                let view = self.view();
                self.finish(view.map(WhyView::from));
            }
            Method::Logs => return self.logs(),
            Method::Reload => return self.reload(),
            Method::Control(command) => {
                let message = self.control(command);
                self.finish(message);
            }
            Method::Signal => {
                let message = self.signal();
                self.finish(message);
            }
        }
        None
    }

    fn heartbeat(&self) -> Result<MessageView, RpcError> {
        let counters = &self.host.metrics.socket;
        let received = self
            .params::<ReceivedHeartbeat>()
            .and_then(|received| received.checked().map_err(|invalid| answers::invalid_heartbeat(&invalid).into()))
            .map_err(|error| RpcError { code: RpcError::INVALID_PARAMS, ..error });
        heartbeat(self.host, self.peer, received.inspect_err(|_| counters.invalid.inc())?)?;
        Ok(MessageView { message: RECEIVED.into() })
    }

    fn view(&self) -> Result<AgentView, RpcError> {
        let AgentParams { agent_id } = self.params()?;
        self.host.control.agent(&agent_id).ok_or_else(|| answers::declined(&Declined::unknown(&agent_id)).into())
    }

    fn control(&self, command: Command) -> Result<MessageView, RpcError> {
        self.only_for_owners()?;
        let ControlParams { agent_id, with_dependents } = self.params()?;
        self.host
            .control
            .control(&agent_id, Order { command, with_dependents }, &self.by(command.as_str()))
            .map_err(|declined| answers::declined(&declined))?;
        Ok(answers::command_queued(&agent_id, command))
    }

    fn signal(&self) -> Result<MessageView, RpcError> {
        self.only_for_owners()?;
        let SignalParams { agent_id, signal: name } = self.params()?;
        let signal = NamedSignal::of(&name).ok_or_else(|| {
            let shown: String = name.chars().take(20).collect();
            let text = format!("there is no signal {shown:?}: write one of {}, or its number", NamedSignal::names());
            ApiError::new(ErrorCode::InvalidRequest, text)
        })?;
        self.host
            .control
            .signal(&agent_id, signal, &self.by("signal"))
            .map_err(|declined| answers::declined(&declined))?;
        Ok(MessageView { message: format!("SIG{} sent to the main process of {agent_id}", signal.name()).into() })
    }

    /// Who gave a command, for the agent's history.
    fn by(&self, command: &str) -> String {
        format!("`{command}` over the socket by {}", self.peer)
    }

    /// The output of an agent may contain secrets, so only users that may read the file get it.
    fn logs(self) -> Option<Deferred> {
        let params = self.only_for_owners().and_then(|()| self.params::<LogsParams>());
        match (params, self.id) {
            (Ok(params), Some(id)) => Some(Deferred::Logs(id.clone(), params)),
            (Ok(_), None) => None,
            (Err(error), _) => {
                self.fail(&error);
                None
            }
        }
    }

    fn reload(self) -> Option<Deferred> {
        match self.only_for_owners() {
            Ok(()) => Some(Deferred::Reload(self.id.cloned(), format!("`reload` over the socket by {}", self.peer))),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    fn only_for_owners(&self) -> Result<(), RpcError> {
        if self.peer.is_owner {
            return Ok(());
        }
        let text = "only root and the daemon's user may do this: run the command as one of them";
        Err(ApiError::new(ErrorCode::Forbidden, text).into())
    }

    fn params<P: DeserializeOwned>(&self) -> Result<P, RpcError> {
        let read = serde_json::from_slice::<Params<P>>(self.line);
        read.map(|read| read.params)
            .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, format!("invalid `params`: {error}")).into())
    }

    fn finish(self, outcome: Result<impl Serialize, RpcError>) {
        match (outcome, self.id) {
            (Ok(result), Some(id)) => success(self.out, id, result),
            (Err(error), Some(_)) => self.fail(&error),
            (_, None) => {}
        }
    }

    /// An invalid request is answered even without an ID, because its ID may be what is invalid.
    fn fail(self, error: &RpcError) {
        if self.id.is_some() || error.code == RpcError::INVALID_REQUEST {
            failure(self.out, self.id, error);
        }
    }
}

/// A request whose answer takes more than one turn of the loop.
pub(super) enum Deferred {
    /// Logs are on a disk.
    Logs(Id, LogsParams),
    /// There may be many agents.
    Agents(Id),
    /// The configuration is on a disk. Without an ID, the sender wants no answer.
    Reload(Option<Id>, String),
}

impl Deferred {
    pub(super) async fn answer<D: ControlApi>(self, host: &Host<D>, out: &mut Vec<u8>) {
        match self {
            Self::Logs(id, params) => match logs(host, params).await {
                Ok(found) => success(out, &id, found),
                Err(error) => failure(out, Some(&id), &error.into()),
            },
            Self::Reload(id, by) => match (host.control.reload(&by).await, id) {
                (Ok(applied), Some(id)) => success(out, &id, applied),
                (Err(refused), Some(id)) => failure(out, Some(&id), &answers::reload_refused(&refused).into()),
                (_, None) => {}
            },
            Self::Agents(id) => {
                let now = Timestamp(clock::wall());
                let asked = id.clone();
                let render = move |agents| {
                    let mut line = Vec::new();
                    success(&mut line, &asked, AgentsView { now, agents });
                    line
                };
                match large_answers::of_agents(&*host.control, render).await {
                    Ok(mut line) => out.append(&mut line),
                    Err(error) => failure(out, Some(&id), &error.into()),
                }
            }
        }
    }
}

async fn logs<D: ControlApi>(host: &Host<D>, params: LogsParams) -> Result<LogsView, ApiError> {
    let LogsParams { agent_id, lines, follow, after } = params;
    let lines = lines.unwrap_or(DEFAULT_LOG_LINES);
    if !follow {
        let lines = host.control.logs(&agent_id, lines).await.map_err(|declined| answers::declined(&declined))?;
        return Ok(LogsView { lines, skipped: false, next: None });
    }
    let position = after.map(|after| {
        LogPosition::from_text(&after)
            .ok_or_else(|| ApiError::new(ErrorCode::InvalidRequest, "`after` is not a `next` of an earlier answer"))
    });
    let found = host.control.new_output(&agent_id, position.transpose()?, lines).await;
    let NewOutput { lines, skipped, next } = found.map_err(|declined| answers::declined(&declined))?;
    Ok(LogsView { lines, skipped, next: next.map(|next| next.to_text()) })
}

/// Like [`Response::success`], but written without an intermediate [`serde_json::Value`].
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
            tracing::error!(%error, "an answer cannot be written as JSON");
            out.truncate(before);
        }
    }
}

fn unreadable(error: &serde_json::Error) -> RpcError {
    if error.is_data() {
        RpcError::new(RpcError::INVALID_REQUEST, format!("not a request: {error}: send one JSON object per line"))
    } else {
        RpcError::new(RpcError::PARSE, format!("not JSON: {error}"))
    }
}

fn unknown_method(method: &str) -> RpcError {
    let name: String = method.chars().take(40).collect();
    let known = format!("heartbeat, agents, health, agent, why, logs, reload, {}", Command::names(", "));
    RpcError::new(RpcError::METHOD_NOT_FOUND, format!("the method {name:?} does not exist: use one of {known}"))
}
