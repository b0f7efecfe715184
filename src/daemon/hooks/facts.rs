//! What a hook is told: as JSON, and as variables.

use std::collections::BTreeMap;
use std::ffi::OsString;

use rustix::system::uname;
use serde::Serialize;
use statemachine::supervision::{Exit, Identity, LastExit, Reason, State, Supervised};
use statemachine::time::Now;

use crate::daemon::effects::Description;
use crate::daemon::registry::AgentId;
use ops_config::daemon::HookEvent;
use ops_protocol::Timestamp;
use ops_protocol::printable::on_one_line;

/// The size limit of each text, in bytes.
const MAX_TEXT: usize = 4096;

/// The facts of one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookFacts {
    /// The event.
    pub event: HookEvent,
    /// When, on the wall clock.
    pub at: Timestamp,
    /// Why, for people.
    pub cause: String,
    /// The code of the reason, from a closed list, and its evidence.
    pub reason: Option<Reason>,
    /// The agent. `None`: the event concerns all agents.
    pub agent: Option<AgentFacts>,
}

/// The agent of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentFacts {
    /// Its ID.
    pub id: AgentId,
    /// The process that the event is about.
    pub process: Option<Identity>,
    /// The state before.
    pub from: State,
    /// The state after.
    pub state: State,
    /// The number of restarts since it was configured.
    pub restarts: u64,
    /// The number of restarts in a row.
    pub retries: u32,
    /// How its latest process that has ended did so.
    pub last_exit: Option<LastExit>,
}

impl AgentFacts {
    /// The facts about an agent after a transition.
    pub(crate) fn of(id: &AgentId, process: Option<Identity>, from: State, state: State, machine: &Supervised) -> Self {
        let (restarts, retries) = (machine.restarts(), machine.retries());
        Self {
            id: AgentId::clone(id),
            process,
            from,
            state,
            restarts,
            retries,
            last_exit: machine.last_exit().copied(),
        }
    }
}

impl HookFacts {
    /// An example for a test of hooks.
    pub(crate) fn example(event: HookEvent, id: &str, now: Now) -> Self {
        let (from, state) = match event {
            HookEvent::Failed => (State::Backoff, State::Failed),
            HookEvent::Unhealthy => (State::Running, State::Unhealthy),
            HookEvent::Recovered => (State::Unhealthy, State::Running),
            HookEvent::Restarted | HookEvent::Held => (State::Backoff, State::Starting),
        };
        let agent = AgentFacts { id: id.into(), process: None, from, state, restarts: 1, retries: 1, last_exit: None };
        let agent = Some(agent).filter(|_| event != HookEvent::Held);
        Self { event, at: now.wall.into(), cause: "an example, to test the hook".to_owned(), reason: None, agent }
    }
}

/// A message to hooks. Its texts are bounded and have no control characters.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Message {
    event: &'static str,
    at: Timestamp,
    host: String,
    /// Whether this is an example.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) test: bool,
    cause: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<ReasonText>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    agent: Option<AgentText>,
    /// The last output lines of the agent, oldest first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Vec<String>>,
}

#[derive(Debug, Clone, Serialize)]
struct ReasonText {
    code: &'static str,
    text: String,
}

#[derive(Debug, Clone, Serialize)]
struct AgentText {
    agent_id: String,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    labels: BTreeMap<String, String>,
    from: &'static str,
    state: &'static str,
    pid: Option<u32>,
    restarts: u64,
    retries: u32,
    last_exit: Option<ExitText>,
}

#[derive(Debug, Clone, Serialize)]
struct ExitText {
    code: Option<i32>,
    signal: Option<i32>,
    at: Timestamp,
}

impl Message {
    /// The message about these facts, with what the configuration says about the agent.
    pub(crate) fn new(facts: &HookFacts, description: Option<Description>) -> Self {
        let host = uname().nodename().to_string_lossy().into_owned();
        Self {
            event: facts.event.as_str(),
            at: facts.at,
            host: text(&host),
            test: false,
            cause: text(&facts.cause),
            reason: facts
                .reason
                .as_ref()
                .map(|reason| ReasonText { code: reason.code.as_str(), text: text(&reason.text) }),
            agent: facts.agent.as_ref().map(|agent| AgentText::new(agent, description)),
            output: None,
        }
    }

    /// The message as JSON, on one line.
    ///
    /// # Errors
    ///
    /// If a value cannot be written. Tests exclude that.
    pub(crate) fn json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The message as variables, as `NAME=value`. Without labels and output, which are in the JSON alone.
    pub(crate) fn variables(&self) -> Vec<OsString> {
        let mut all: Vec<(&str, String)> = vec![
            ("EVENT", self.event.to_owned()),
            ("AT", self.at.to_string()),
            ("HOST", self.host.clone()),
            ("CAUSE", self.cause.clone()),
        ];
        if self.test {
            all.push(("TEST", "1".to_owned()));
        }
        if let Some(ReasonText { code, text }) = &self.reason {
            all.extend([("REASON", (*code).to_owned()), ("REASON_TEXT", text.clone())]);
        }
        if let Some(agent) = &self.agent {
            all.extend([
                ("ID", agent.agent_id.clone()),
                ("NAME", agent.name.clone()),
                ("TYPE", agent.kind.to_owned()),
                ("FROM", agent.from.to_owned()),
                ("STATE", agent.state.to_owned()),
                ("RESTARTS", agent.restarts.to_string()),
                ("RETRIES", agent.retries.to_string()),
            ]);
            let exit = agent.last_exit.as_ref();
            let numbers = [
                ("PID", agent.pid.map(|pid| pid.to_string())),
                ("EXIT_CODE", exit.and_then(|exit| exit.code).map(|code| code.to_string())),
                ("EXIT_SIGNAL", exit.and_then(|exit| exit.signal).map(|signal| signal.to_string())),
            ];
            all.extend(numbers.into_iter().filter_map(|(name, value)| Some((name, value?))));
        }
        all.into_iter().map(|(name, value)| format!("OPS_AGENT_{name}={value}").into()).collect()
    }
}

impl AgentText {
    fn new(agent: &AgentFacts, description: Option<Description>) -> Self {
        let (name, kind, labels) =
            description.map_or_else(|| (agent.id.to_string(), "", BTreeMap::new()), |it| (it.name, it.kind, it.labels));
        Self {
            agent_id: agent.id.to_string(),
            name: text(&name),
            kind,
            labels,
            from: agent.from.as_str(),
            state: agent.state.as_str(),
            pid: agent.process.map(|process| process.pid),
            restarts: agent.restarts,
            retries: agent.retries,
            last_exit: agent.last_exit.as_ref().map(ExitText::new),
        }
    }
}

impl ExitText {
    fn new(last: &LastExit) -> Self {
        let (code, signal) = match last.exit {
            Exit::Code(code) => (Some(code), None),
            Exit::Signal(signal) => (None, Some(signal)),
            Exit::Unseen => (None, None),
        };
        Self { code, signal, at: last.at.into() }
    }
}

/// A text without control characters, shortened.
pub(crate) fn text(text: &str) -> String {
    let mut text = on_one_line(text);
    text.truncate(text.floor_char_boundary(MAX_TEXT));
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use statemachine::supervision::ReasonCode;

    use super::*;

    fn now() -> Now {
        Now { monotonic: Duration::ZERO, wall: SystemTime::UNIX_EPOCH }
    }

    #[test]
    fn each_text_is_bounded_and_on_one_line() {
        let long = "é\u{1b}[31m\n\u{202e}".repeat(5000);
        let mut facts = HookFacts::example(HookEvent::Failed, "a", now());
        facts.cause.clone_from(&long);
        facts.reason = Some(Reason { code: ReasonCode::Heartbeat, text: long.clone() });
        let labels = BTreeMap::from([("rack".to_owned(), "r1".to_owned())]);
        let description = Description { name: long, kind: "custom", labels, metrics_url: None };
        let message = Message::new(&facts, Some(description));
        let variables: Vec<String> = message.variables().into_iter().map(|it| it.into_string().unwrap()).collect();
        let json: serde_json::Value = serde_json::from_str(&message.json().unwrap()).unwrap();
        let texts = [&json["cause"], &json["reason"]["text"], &json["name"]].map(|text| text.as_str().unwrap());
        for text in texts.into_iter().chain(variables.iter().map(String::as_str)) {
            assert!(text.len() <= MAX_TEXT + 32 && !text.contains(char::is_control), "{}", text.len());
        }
        assert_eq!(json["labels"]["rack"], "r1");
        assert!(variables.contains(&"OPS_AGENT_REASON=heartbeat".to_owned()), "{variables:?}");
    }

    #[test]
    fn an_event_of_all_agents_names_none() {
        let message = Message::new(&HookFacts::example(HookEvent::Held, "a", now()), None);
        let json = message.json().unwrap();
        assert!(json.starts_with(r#"{"event":"held","at":"1970-01-01T00:00:00.000Z","host":""#), "{json}");
        assert!(!json.contains("agent_id") && !json.contains("output") && !json.contains("test\":"), "{json}");
        assert!(!message.variables().iter().any(|it| it.to_string_lossy().starts_with("OPS_AGENT_ID=")));
    }
}
