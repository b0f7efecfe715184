//! `docs/openapi.yaml` and the routes agree on every path, method, status and field.

use std::collections::BTreeSet;
use std::time::SystemTime;

use ops_agent::testing::agent::api::Route;
use ops_agent::testing::agent::reload::{ReloadError, ReloadResult};
use ops_http::Token;
use ops_http::server::ServerLimits;
use serde_json::{Map, Value};
use statemachine::lifecycle::{FaultName, Input};
use strum::VariantArray as _;

use crate::http_api::served_to_another_host;
use crate::support::api::{ApiServer, after, running, snapshot, starting};
use crate::support::http::{Reply, request};

/// A path, a method in upper case, a status.
type Answer = (String, String, u16);

fn document() -> Value {
    serde_yaml::from_str(include_str!("../docs/openapi.yaml")).expect("YAML")
}

fn entries(value: &Value) -> &Map<String, Value> {
    value.as_object().unwrap_or_else(|| panic!("not a map: {value}"))
}

/// Resolves a reference.
fn resolve<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    let Some(reference) = value["$ref"].as_str() else { return value };
    document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference} leads nowhere"))
}

fn documented() -> BTreeSet<Answer> {
    let document = document();
    let mut answers = BTreeSet::new();
    for (path, operations) in entries(&document["paths"]) {
        for (method, operation) in entries(operations) {
            for status in entries(&operation["responses"]).keys().filter(|status| *status != "default") {
                answers.insert((path.clone(), method.to_uppercase(), status.parse().expect("a status")));
            }
        }
    }
    answers
}

/// Compares the fields of an object, and of the objects in it, with the schema.
fn assert_fits(document: &Value, schema: &Value, value: &Value, at: &str) {
    let schema = resolve(document, schema);
    if let Some(allowed) = schema["enum"].as_array() {
        assert!(allowed.contains(value), "{at}: {value} is none of {allowed:?}");
    }
    if let Some(items) = value.as_array() {
        items.iter().for_each(|item| assert_fits(document, &schema["items"], item, at));
    }
    let Some(fields) = value.as_object() else { return };
    for (name, field) in fields {
        let known = schema["properties"].get(name).unwrap_or_else(|| panic!("{at}: `{name}` is not documented"));
        assert_fits(document, known, field, &format!("{at}.{name}"));
    }
    for required in schema["required"].as_array().expect("required fields") {
        assert!(fields.contains_key(required.as_str().expect("a name")), "{at}: {required} is missing in {value}");
    }
}

/// Records an answer after its body has matched its schema.
fn note(seen: &mut BTreeSet<Answer>, method: &str, path: &str, reply: &Reply) {
    let route = path.split('?').next().unwrap_or(path);
    seen.insert((route.to_owned(), method.to_owned(), reply.status));
    if method != "HEAD" {
        let document = document();
        let status = reply.status.to_string();
        let content =
            &document["paths"][route][method.to_lowercase()]["responses"][status]["content"]["application/json"];
        assert_fits(&document, &content["schema"], &reply.json(), &format!("{method} {path} {}", reply.status));
    }
}

fn observe_probes(seen: &mut BTreeSet<Answer>) {
    let server = ApiServer::start(ServerLimits::default());
    let fault = Input::FaultRaised(FaultName::Heartbeat, "refused".to_owned());
    let stop = Input::StopRequested("SIGTERM".to_owned());
    for machine in [starting(), running(), after(running(), [fault]), after(running(), [stop])] {
        let mut view = snapshot(machine);
        for endpoint in [None, view.heartbeat.endpoint.clone()] {
            view.heartbeat.endpoint = endpoint;
            view.heartbeat.last_success = view.heartbeat.endpoint.is_some().then_some(SystemTime::UNIX_EPOCH);
            server.published.set(view.clone());
            for path in ["/health", "/livez", "/livez?verbose", "/readyz", "/readyz?verbose", "/metrics"] {
                for method in ["GET", "HEAD"] {
                    note(seen, method, path, &request(server.address(), method, path, ""));
                }
            }
        }
    }
}

fn observe_reloads(seen: &mut BTreeSet<Answer>) {
    let text = || "config: no".to_owned();
    let outcomes: [ReloadResult; 6] = [
        Ok(SystemTime::UNIX_EPOCH),
        Err(ReloadError::Invalid(text())),
        Err(ReloadError::NeedsRestart(text())),
        Err(ReloadError::Log(text())),
        Err(ReloadError::NotNow),
        Err(ReloadError::Busy),
    ];
    for outcome in outcomes {
        let server = ApiServer::start(ServerLimits::default());
        let reloads = server.reloads.clone();
        let the_loop = std::thread::spawn(move || reloads.recv_blocking().expect("a reload request").reply(outcome));
        note(seen, "POST", "/reload", &request(server.address(), "POST", "/reload", ""));
        the_loop.join().expect("one request");
    }
    let server = ApiServer::with_token(ServerLimits::default(), Token::from_file("secret"));
    note(seen, "POST", "/reload", &request(server.address(), "POST", "/reload", ""));
    let served = served_to_another_host(false);
    note(seen, "POST", "/reload", &request(served.address, "POST", "/reload", ""));
}

#[test]
fn every_documented_answer_is_given_and_no_other() {
    let mut seen = BTreeSet::new();
    observe_probes(&mut seen);
    observe_reloads(&mut seen);
    assert_eq!(seen, documented());
}

#[test]
fn the_document_has_the_routes_and_no_others() {
    let mut routes = BTreeSet::new();
    for route in Route::VARIANTS {
        let (path, method) = (route.path(), route.method().to_string());
        routes.insert((path.to_owned(), method.clone()));
        if method == "GET" {
            routes.insert((path.to_owned(), "HEAD".to_owned()));
        }
    }
    let documented: BTreeSet<_> = documented().into_iter().map(|(path, method, _)| (path, method)).collect();
    assert_eq!(documented, routes);
}

#[test]
fn every_method_that_is_not_documented_is_refused_with_those_that_are() {
    let server = ApiServer::start(ServerLimits::default());
    let documented: BTreeSet<_> = documented().into_iter().map(|(path, method, _)| (path, method)).collect();
    let paths: BTreeSet<_> = documented.iter().map(|(path, _)| path.clone()).collect();
    for path in paths {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
            if documented.contains(&(path.clone(), method.to_owned())) {
                continue;
            }
            let reply = request(server.address(), method, &path, "");
            assert_eq!(reply.status, 405, "{method} {path}");
            let allowed: BTreeSet<_> = reply.header("allow").expect("what is allowed").split(", ").collect();
            let expected: BTreeSet<_> =
                documented.iter().filter(|(of, _)| *of == path).map(|(_, method)| method.as_str()).collect();
            assert_eq!(allowed, expected, "{path}");
        }
    }
}
