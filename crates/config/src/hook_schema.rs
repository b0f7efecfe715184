//! The keys of hooks.

use std::path::Path;

use http_client::http_types::Url;
use ops_http::tls::{self, ClientFiles, Role};
use serde_json::{Value as Json, json};

use super::common_schema::{identity, tls_file};
use super::daemon::AgentSpec;
use super::hooks::{HookEvent, HookSpec, HookTarget, WebhookUrl};
use super::host_checks::PathUse;
use super::key::Reload::Live;
use super::key::{Key, key};
use super::paths::{HttpAddress, PemFile};
use super::raw::{Raw, ReadResult, ValueError, invalid};
use super::reader::Sourced;
use super::scope::Scope;
use super::values::{AgentIdentifier, Boolean, OrEmpty, TextList, ValueType};

/// The maximum number of items of a command or of a list of agents.
const MAX_ITEMS: usize = 1024;

const ON: Key<Events> = key("on", Events, Live, "The events that the hook is told of.");

const AGENTS: Key<Ids> =
    key("agents", Ids, Live, "The IDs of the agents that it is told of. Empty: all. A `held` of all agents has none.");

const EXEC: Key<CommandLine> = key(
    "exec",
    CommandLine,
    Live,
    "A program with its arguments, without a shell. It runs as the user of the daemon, with the facts in variables \
     and as JSON in its standard input. After 30 s it is killed.",
);

const WEBHOOK: Key<OrEmpty<WebhookAddress>> = key(
    "webhook",
    OrEmpty(WebhookAddress),
    Live,
    "An address that gets the facts as JSON by POST: three times at most, 10 s each, without redirects. Only its \
     scheme and host are shown. Instead of `exec`.",
);

/// Reads all hooks. `None`: at least one problem was reported.
pub(super) fn hooks(file: &Scope<'_>, agents: &[Option<AgentSpec>]) -> Option<Vec<HookSpec>> {
    let items = file.items("hooks", "What is told of the troubles of agents: programs and webhooks.");
    // All of them, so that all problems are reported.
    let hooks: Vec<Option<HookSpec>> = items.iter().map(|item| hook(item, agents)).collect();
    let shown: Vec<String> = hooks.iter().flatten().map(|hook| hook.target.to_string()).collect();
    file.effective("hooks", Some(json!(shown).to_string()));
    hooks.into_iter().collect()
}

fn hook(item: &Scope<'_>, known: &[Option<AgentSpec>]) -> Option<HookSpec> {
    let on = item.value(&ON, HookEvent::ALL.to_vec());
    let agents = item.sourced(&AGENTS, Vec::new());
    let unknown = agents.value.iter().find(|id| !known.iter().flatten().any(|agent| agent.id == **id));
    if let Some(id) = unknown {
        let fact = format!("names `{id}`, which is no agent");
        item.warn(&agents, AGENTS.name, &fact, "correct the ID, or remove it".to_owned());
    }
    let before = item.reader.problems.len();
    let exec = item.optional(&EXEC, "[/usr/local/bin/notify]").filter(|given| !given.value.is_empty());
    let webhook = item.optional(&WEBHOOK, "https://example.com/notify").and_then(Sourced::transpose);
    let files = webhook_tls(item, webhook.as_ref());
    let include_output = key(
        "include_output",
        Boolean,
        Live,
        "Whether the JSON has the last 10 lines of output of the agent. They may contain secrets.",
    );
    let include_output = item.value(&include_output, false);
    let target = match (exec, webhook) {
        (Some(_), Some(webhook)) => {
            let fact = "is set beside `exec`".to_owned();
            item.report(&webhook, WEBHOOK.name, ValueError { fact, remedy: "make two hooks of it".to_owned() });
            return None;
        }
        (None, Some(webhook)) => HookTarget::Webhook(webhook.value, files),
        (Some(exec), None) => {
            if let Some(program) = exec.value.first() {
                item.uses_path(PathUse::Program(program.into()), EXEC.name, &exec);
            }
            HookTarget::Exec(exec.value)
        }
        (None, None) => {
            // An invalid one has been reported.
            if item.reader.problems.len() == before {
                item.report_missing(EXEC.name, "set `exec` or `webhook`");
            }
            return None;
        }
    };
    Some(HookSpec { on, agents: agents.value, target, include_output })
}

/// The TLS files of a webhook.
fn webhook_tls(item: &Scope<'_>, webhook: Option<&Sourced<WebhookUrl>>) -> ClientFiles {
    const PEM: OrEmpty<PemFile> = OrEmpty(PemFile);
    let tls = item.section("webhook_tls", "TLS for an `https` webhook. The files are read again at each reload.");
    let ca = key("ca", PEM, Live, "The CA that signed the certificate of the server. Default: the system's CAs.");
    let ca = tls_file(&tls, Role::Ca, &ca, "/etc/ops-agent/ca.pem");
    let cert = key("cert", PEM, Live, "The daemon's certificate chain, for a server that requires one.");
    let cert = tls_file(&tls, Role::Cert, &cert, "/etc/ops-agent/daemon.pem");
    let secret = key("key", PEM, Live, "The private key of `cert`.");
    let secret = tls_file(&tls, Role::Key, &secret, "/etc/ops-agent/daemon.key");
    let set = [("ca", &ca), ("cert", &cert)];
    let set = set.into_iter().find_map(|(name, given)| Some((name, given.as_ref().filter(|it| it.value.is_some())?)));
    match (webhook, set) {
        (Some(given), _) if given.value.reveal().scheme() == "https" => {
            item.needs_file(Role::SystemRoots, Path::new(""), WEBHOOK.name, given);
        }
        (Some(_), Some((name, given))) => {
            let fact = "is set, but the webhook does not use TLS".to_owned();
            let remedy = "begin `webhook` with `https://`, or remove this key".to_owned();
            tls.report(given, name, ValueError { fact, remedy });
        }
        (Some(_) | None, _) => {}
    }
    let identity = identity(&tls, cert, secret);
    ClientFiles { ca: ca.and_then(|given| given.value), identity }
}

/// A list of events.
struct Events;

impl ValueType for Events {
    type Value = Vec<HookEvent>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Vec<HookEvent>> {
        let words = TextList.read(raw)?;
        let known: Option<Vec<HookEvent>> = words.iter().map(|word| HookEvent::named(word)).collect();
        match known.filter(|events| !events.is_empty() && events.len() <= MAX_ITEMS) {
            Some(events) => Ok(events),
            None => invalid("is no list of events", format!("write one or more of {}", names("`"))),
        }
    }

    fn show(&self, value: &Vec<HookEvent>) -> Option<String> {
        Some(format!("[{}]", value.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ")))
    }

    fn description(&self) -> String {
        format!("a list of {}", names("`"))
    }

    fn schema(&self) -> Json {
        let names = HookEvent::ALL.map(HookEvent::as_str);
        json!({ "type": "array", "minItems": 1, "items": { "enum": names } })
    }
}

fn names(quote: &str) -> String {
    HookEvent::ALL.map(|event| format!("{quote}{}{quote}", event.as_str())).join(", ")
}

/// A list of IDs of agents.
struct Ids;

impl ValueType for Ids {
    type Value = Vec<String>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Vec<String>> {
        let ids = TextList.read(raw)?;
        match ids.iter().position(|id| AgentIdentifier.read(&Raw::Text(id)).is_err()) {
            Some(index) => invalid(format!("has item {}, which is not an ID", index + 1), "write the `id` of an agent"),
            None if ids.len() > MAX_ITEMS => {
                invalid(format!("has {} items", ids.len()), format!("write at most {MAX_ITEMS}, or none for all"))
            }
            None => Ok(ids),
        }
    }

    fn show(&self, value: &Vec<String>) -> Option<String> {
        TextList.show(value)
    }

    fn description(&self) -> String {
        "a list of IDs".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "maxItems": MAX_ITEMS, "items": AgentIdentifier.schema() })
    }
}

/// A program with its arguments.
struct CommandLine;

impl ValueType for CommandLine {
    type Value = Vec<String>;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<Vec<String>> {
        let command = TextList.read(raw)?;
        if command.first().is_some_and(|program| !Path::new(program).is_absolute()) {
            return invalid("begins with a relative path", "begin it with the absolute path of a program");
        }
        if command.iter().any(|part| part.contains('\0')) || command.len() > MAX_ITEMS {
            return invalid(
                "contains a NUL byte, or is too long",
                format!("write at most {MAX_ITEMS} texts without NUL"),
            );
        }
        Ok(command)
    }

    /// Only the program, because an argument may be a secret.
    fn show(&self, value: &Vec<String>) -> Option<String> {
        TextList.show(&value.iter().take(1).cloned().collect())
    }

    fn description(&self) -> String {
        "a list of texts, beginning with an absolute path".to_owned()
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "maxItems": MAX_ITEMS, "prefixItems": [{ "type": "string", "pattern": "^/" }], "items": { "type": "string" } })
    }
}

/// An address that is a secret, so no message quotes it.
struct WebhookAddress;

impl ValueType for WebhookAddress {
    type Value = WebhookUrl;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<WebhookUrl> {
        const REMEDY: &str = "write an address such as `https://host/path`, without user and password";
        let url = raw.text().and_then(|text| Url::parse(text).ok());
        let is_right = |url: &Url| {
            matches!(url.scheme(), "http" | "https")
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        };
        match url.filter(is_right) {
            Some(url) if url.scheme() == "https" && !tls::AVAILABLE => {
                invalid("uses TLS, which this build does not support", "use a build with the feature `tls`")
            }
            Some(url) => Ok(WebhookUrl(url)),
            None => invalid("is not an `http://` or `https://` address", REMEDY),
        }
    }

    /// Without its path.
    fn show(&self, value: &WebhookUrl) -> Option<String> {
        Some(value.to_string())
    }

    fn description(&self) -> String {
        HttpAddress.description()
    }

    fn schema(&self) -> Json {
        HttpAddress.schema()
    }

    fn is_text(&self) -> bool {
        true
    }
}
