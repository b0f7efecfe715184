//! The promises, shown from the outside: one binary, a module for each kind of promise.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test may fail")]

mod configuration;
mod heartbeat_peers;
mod hostile_http;
mod http_api;
mod simulation;
mod status_file_text;
mod status_file_verdict;
mod status_file_writer;
mod support;
