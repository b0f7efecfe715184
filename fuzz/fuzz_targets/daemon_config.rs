#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| ops_agent_fuzz::run("daemon_config", input));
