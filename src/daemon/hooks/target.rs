//! Tells one hook, within its time limits.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use async_io::Timer;
use statemachine::supervision::Exit;

use super::facts::{Message, text};
use crate::daemon::processes::descriptors::limit_of_agents;
use crate::daemon::processes::environment::inherited;
use crate::daemon::processes::launcher;
use crate::daemon::processes::program::{self, Ended, Program};
use ops_config::daemon::{HookEvent, HookSpec, HookTarget, ProcessAttributes, WebhookUrl};
use ops_http::client::{Client, ClientLimits, RawStatus, RequestError};
use ops_http::tls::Material;
use ops_runtime::causes::with_causes;
use ops_runtime::clock::within;

/// How long a program may run.
const EXEC_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one request of a webhook may take.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(10);

/// The waits before another try of a webhook.
const BACKOFF: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The number of output lines that are shown.
const SHOWN_LINES: usize = 20;

/// A hook that is ready to be told.
pub(crate) struct Hook {
    spec: HookSpec,
    /// Its place in the list, and what it tells, for people.
    name: String,
    webhook: Option<Webhook>,
}

struct Webhook {
    client: surf::Client,
    url: WebhookUrl,
}

/// Where programs run, and what they do not inherit.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    pub(crate) work_dir: PathBuf,
    /// The variables that the two programs read as overrides of a key.
    pub(crate) overrides: Vec<String>,
}

/// What telling a hook led to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    /// How it went, for people.
    pub(crate) result: Result<String, String>,
    /// The last output lines of a program.
    pub(crate) output: Vec<String>,
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hook").field(&self.name).finish()
    }
}

impl Hook {
    /// All hooks of a configuration.
    pub(crate) fn all(specs: &[HookSpec], tls: &Material) -> Vec<Self> {
        let hook = |(index, spec): (usize, &HookSpec)| {
            let webhook = match &spec.target {
                HookTarget::Webhook(url, files) => {
                    let client = Client::secured(ClientLimits::default(), tls.client(files).cloned());
                    Some(Webhook { client: surf::Client::with_http_client(client), url: url.clone() })
                }
                HookTarget::Exec(_) => None,
            };
            Self { spec: spec.clone(), name: format!("hooks[{index}] {}", spec.target), webhook }
        };
        specs.iter().enumerate().map(hook).collect()
    }

    /// Its place in the list, and what it tells, for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// As configured.
    pub(crate) const fn spec(&self) -> &HookSpec {
        &self.spec
    }

    pub(crate) fn concerns(&self, event: HookEvent, agent: Option<&str>) -> bool {
        self.spec.concerns(event, agent)
    }

    /// Tells it once. A webhook is tried again if the server may accept the message later.
    pub(crate) async fn tell(&self, message: &Message, surroundings: &Surroundings) -> Told {
        let json = match message.json() {
            Ok(json) => json,
            Err(error) => return Told::failed(format!("the message cannot be written as JSON: {error}")),
        };
        match (&self.spec.target, &self.webhook) {
            (HookTarget::Exec(command), _) => execute(command, message, json, surroundings).await,
            (HookTarget::Webhook(..), Some(webhook)) => {
                // Boxed, because each worker would otherwise be as large as a request.
                let result = Box::pin(webhook.deliver(&json)).await;
                Told { result, output: Vec::new() }
            }
            (HookTarget::Webhook(..), None) => Told::failed("it has no client".to_owned()),
        }
    }
}

impl Told {
    const fn failed(why: String) -> Self {
        Self { result: Err(why), output: Vec::new() }
    }
}

async fn execute(command: &[String], message: &Message, json: String, surroundings: &Surroundings) -> Told {
    let Some((binary, args)) = command.split_first() else { return Told::failed("it has no program".to_owned()) };
    let mut environment = inherited(std::env::vars_os(), &surroundings.overrides);
    environment.extend(message.variables());
    let program = Program {
        binary: binary.into(),
        args: args.iter().map(OsString::from).collect(),
        work_dir: surroundings.work_dir.clone(),
        environment,
        input: (json + "\n").into(),
        open_files: limit_of_agents(),
        attributes: ProcessAttributes::default(),
        launcher: launcher::program(),
    };
    let (ended, output) = program::run(program, EXEC_TIMEOUT).await;
    let output = String::from_utf8_lossy(&output);
    let lines: Vec<&str> = output.lines().collect();
    let last = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default();
    let output = last.iter().map(|line| text(line)).collect();
    let result = if ended == Ended::Exited(Exit::Code(0)) { Ok(ended.to_string()) } else { Err(ended.to_string()) };
    Told { result, output }
}

/// Why a request was not accepted.
struct Refused {
    why: String,
    /// Whether another try may help.
    may_pass: bool,
}

impl Webhook {
    async fn deliver(&self, json: &str) -> Result<String, String> {
        let mut waits = BACKOFF.iter();
        let mut tries = 1;
        loop {
            let Refused { why, may_pass } = match self.post(json).await {
                Ok(status) => return Ok(format!("answered {status}")),
                Err(refused) => refused,
            };
            match waits.next().filter(|_| may_pass) {
                Some(wait) => {
                    Timer::after(*wait).await;
                }
                None if tries > 1 => return Err(format!("{why}, at the last of {tries} tries")),
                None => return Err(why),
            }
            tries += 1;
        }
    }

    async fn post(&self, json: &str) -> Result<u16, Refused> {
        let mut request = surf::Request::new(surf::http::Method::Post, self.url.reveal().clone());
        request.set_body(json);
        request.insert_header("content-type", "application/json");
        request.insert_header("user-agent", concat!("ops-agent-daemon/", env!("CARGO_PKG_VERSION")));
        let late = || Refused { why: format!("no answer within {} s", WEBHOOK_TIMEOUT.as_secs()), may_pass: true };
        let answer = within(WEBHOOK_TIMEOUT, self.client.send(request)).await.ok_or_else(late)?;
        let answer = answer.map_err(refused)?;
        let head: &surf::http::Response = answer.as_ref();
        match head.ext().get::<RawStatus>().map_or(0, |status| status.0) {
            status @ 200..300 => Ok(status),
            status @ 300..400 => {
                let why =
                    format!("answers {status}, and redirects are not followed: set the address that it redirects to");
                Err(Refused { why, may_pass: false })
            }
            status => Err(Refused { why: format!("answers {status}"), may_pass: status >= 500 || status == 429 }),
        }
    }
}

fn refused(error: surf::Error) -> Refused {
    match error.into_inner().downcast::<RequestError>() {
        Ok(RequestError::Unsupported(why)) => Refused { why, may_pass: false },
        Ok(error) => Refused { why: with_causes(&error), may_pass: true },
        Err(error) => Refused { why: error.to_string(), may_pass: false },
    }
}
