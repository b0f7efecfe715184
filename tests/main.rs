//! The integration tests: one binary, with a module for each subject.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "a test may fail")]
#![allow(clippy::disallowed_methods, reason = "a test that waits for a process reads the real clock")]

mod agent_life;
mod config_pipes;
mod configuration;
mod configuration_properties;
mod daemon_api;
mod daemon_check_programs;
mod daemon_checks;
mod daemon_cli;
mod daemon_configuration;
mod daemon_life;
mod daemon_limits;
mod daemon_processes;
mod daemon_stall;
mod daemon_store;
mod daemon_tcp_checks;
mod declarations;
mod dependencies;
mod documents;
mod end_to_end;
mod fuzz_corpus;
mod go_files;
mod heartbeat_life;
mod heartbeat_peers;
mod heartbeat_scheduler;
mod host_checks;
mod hostile_http;
mod http_api;
mod included_files;
mod log_writer;
mod metrics;
mod openapi;
mod readme;
mod service_manager;
mod simulate;
mod simulation;
mod status_file_access;
mod status_file_agent;
mod status_file_commands;
mod status_file_crash;
mod status_file_obstacles;
mod status_file_text;
mod status_file_validate;
mod status_file_verdict;
mod status_file_writer;
mod supervision;
mod support;
mod systemd_units;
#[cfg(feature = "tls")]
mod tls;
mod token_files;
#[cfg(not(feature = "tls"))]
mod without_tls;
