//! `docs/openapi.yaml`: the agent.

use std::collections::BTreeSet;
use std::time::SystemTime;

use ops_agent::testing::agent::api::Route;
use ops_agent::testing::agent::reload::{ReloadError, ReloadResult};
use ops_http::Token;
use ops_http::server::ServerLimits;
use statemachine::lifecycle::{FaultName, Input};
use strum::VariantArray as _;

use super::Document;
use crate::http_api::served_to_another_host;
use crate::support::api::{ApiServer, after, running, snapshot, starting};
use crate::support::http::request;

fn document() -> Document {
    Document::parse(include_str!("../../docs/openapi.yaml"))
}

fn observe_probes(document: &mut Document) {
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
                    document.note(method, path, &request(server.address(), method, path, ""));
                }
            }
        }
    }
}

fn observe_reloads(document: &mut Document) {
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
        document.note("POST", "/reload", &request(server.address(), "POST", "/reload", ""));
        the_loop.join().expect("one request");
    }
    let server = ApiServer::with_token(ServerLimits::default(), Token::from_file("secret"));
    document.note("POST", "/reload", &request(server.address(), "POST", "/reload", ""));
    let served = served_to_another_host(false);
    document.note("POST", "/reload", &request(served.address, "POST", "/reload", ""));
}

#[test]
fn every_documented_answer_is_given_and_no_other() {
    let mut document = document();
    observe_probes(&mut document);
    observe_reloads(&mut document);
    document.assert_complete();
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
    assert_eq!(document().operations(), routes);
}

#[test]
fn every_method_that_is_not_documented_is_refused_with_those_that_are() {
    let server = ApiServer::start(ServerLimits::default());
    document().assert_refuses_other_methods(server.address(), str::to_owned);
}
