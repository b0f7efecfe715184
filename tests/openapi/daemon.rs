//! `docs/openapi-daemon.yaml`: the daemon.

use std::collections::BTreeSet;

use ops_agent::testing::daemon::api::http::paths;
use ops_agent::testing::daemon::control::ReloadRefused;
use ops_protocol::Command;
use strum::VariantArray as _;

use super::Document;
use crate::daemon_api::heartbeat;
use crate::support::daemon_api::DaemonApi;
use crate::support::http::{exchange, request_to_host};

/// The header of a page of another site.
const FOREIGN: &str = "origin: https://evil.example\r\n";

/// The paths whose answers need the right to give commands.
const PRIVATE: [&str; 2] = ["/agents/agent-0/logs", "/events"];

fn document() -> Document {
    Document::parse(include_str!("../../docs/openapi-daemon.yaml"))
}

impl Document {
    /// Sends a request without a body to an address, and records the answer.
    fn ask(&mut self, api: &DaemonApi, method: &str, path: &str, headers: &str) {
        self.note(method, path, &request_to_host(&api.http.to_string(), api.http, method, path, headers));
    }

    fn heartbeat(&mut self, api: &DaemonApi, headers: &str, body: &str) {
        let head = format!("POST /heartbeat HTTP/1.1\r\nhost: d\r\n{headers}content-length: {}", body.len());
        self.note("POST", "/heartbeat", &exchange(api.http, format!("{head}\r\n\r\n{body}")));
    }
}

fn observe_agents(document: &mut Document, api: &DaemonApi) {
    for body in [heartbeat("agent-0", 1000, 3), heartbeat("agent-0", 7, 3), heartbeat("unknown", 1, 1), "{".to_owned()]
    {
        document.heartbeat(api, "", &body);
    }
    document.heartbeat(api, FOREIGN, &heartbeat("agent-0", 1000, 3));
    document.heartbeat(api, "", &"x".repeat(64 * 1024 + 1));
    api.with_control(|control| control.end(1));
    for method in ["GET", "HEAD"] {
        for path in
            ["/", "/agents", "/agents/agent-0", "/agents/agent-1", "/agents/unknown", "/health", "/metrics", "/sd"]
        {
            document.ask(api, method, path, "");
        }
        for path in PRIVATE {
            document.ask(api, method, path, "");
            document.ask(api, method, path, FOREIGN);
        }
        for path in ["/agents/agent-0/logs?follow=true", "/agents/agent-0/logs?lines=0", "/agents/unknown/logs"] {
            document.ask(api, method, path, "");
        }
    }
}

fn observe_commands(document: &mut Document, api: &DaemonApi, guarded: &DaemonApi) {
    api.with_control(|control| control.refuse(Command::VARIANTS));
    for command in Command::VARIANTS {
        document.ask(api, "POST", &format!("/agents/agent-0/{}", command.as_str()), "");
    }
    api.with_control(|control| control.refuse(&[]));
    for command in Command::VARIANTS {
        let path = format!("/agents/agent-0/{}", command.as_str());
        document.ask(api, "POST", &path, "");
        document.ask(api, "POST", &path, FOREIGN);
        document.ask(api, "POST", &format!("{path}?now"), "");
        document.ask(api, "POST", &format!("/agents/unknown/{}", command.as_str()), "");
        document.ask(guarded, "POST", &path, "");
    }
}

fn observe_reloads(document: &mut Document, api: &DaemonApi) {
    let mut reload = |headers| document.ask(api, "POST", "/reload", headers);
    reload("");
    reload(FOREIGN);
    api.with_control(|control| control.refuse_reload("daemon.yaml: no"));
    reload("");
    for reason in [ReloadRefused::Failed("no".to_owned()), ReloadRefused::Busy, ReloadRefused::Ending] {
        api.with_control(move |control| control.fail_reload(reason));
        reload("");
    }
    api.with_control(|control| control.set_fault("the registry cannot be saved"));
    for method in ["GET", "HEAD"] {
        document.ask(api, method, "/health", "");
    }
}

#[test]
fn every_documented_answer_is_given_and_no_other() {
    let mut document = document();
    let (api, guarded) = (DaemonApi::start(2), DaemonApi::with_token(1, Some("s3cret")));
    observe_agents(&mut document, &api);
    observe_commands(&mut document, &api, &guarded);
    observe_reloads(&mut document, &api);
    for path in PRIVATE {
        for method in ["GET", "HEAD"] {
            document.ask(&guarded, method, path, "");
        }
    }
    document.ask(&guarded, "POST", "/reload", "");
    document.assert_complete();
}

#[test]
fn the_document_has_the_routes_and_no_others() {
    let with_methods = |(path, allows): (String, &'static str)| {
        allows.split(", ").map(move |method| (path.replace("ID", "{agent_id}"), method.to_owned()))
    };
    let routes: BTreeSet<_> = paths().into_iter().flat_map(with_methods).collect();
    assert_eq!(document().operations(), routes);
}

#[test]
fn every_method_that_is_not_documented_is_refused_with_those_that_are() {
    let api = DaemonApi::start(1);
    document().assert_refuses_other_methods(api.http, |path| path.replace("{agent_id}", "agent-0"));
}
