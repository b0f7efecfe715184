//! Bytes as an agent's configuration.

use ops_config::testing::{parse, settings};
use ops_config::{Environment, Overrides, diff};

use super::config::{assert_explained, file, keys, second_reading};

/// The largest file that is accepted.
const SIZE: usize = 64 * 1024;

/// The accepted keys that are not names of settings.
const OTHERS: [&str; 7] =
    ["version", "heartbeat_url", "heartbeat_interval", "socket_path", "http_port", "log_level", "log_file"];

pub(super) fn run(input: &[u8]) {
    let text = file(input, SIZE);
    match parse("agent.yaml", &text, &Environment::default(), &Overrides::none()) {
        Err(problems) => assert_explained(&text, &problems),
        Ok(loaded) => {
            let config = loaded.config;
            let seen = second_reading(&text);
            assert_eq!(seen["agent_id"].as_str(), Some(config.agent_id.as_str()));
            if let Some(port) = seen["http"]["port"].as_u64() {
                assert_eq!(port, u64::from(config.http.port));
            }
            assert!(diff(&config, &config).is_empty());
            let known: Vec<Vec<&str>> = settings(&config)
                .iter()
                .map(|(key, _)| *key)
                .chain(OTHERS)
                .map(|key| key.split('.').collect())
                .collect();
            for key in keys(&seen) {
                assert!(known.contains(&key), "{key:?} was ignored without a message");
            }
            // The same settings from the environment give the same configuration.
            let variable = |key: &str| format!("AGENT_{}", key.replace('.', "_").to_uppercase());
            let settings = settings(&config).into_iter();
            let set = settings.filter_map(|(key, value)| Some((variable(key), value?.to_owned())));
            let again = parse("", b"", &set.collect(), &Overrides::none())
                .unwrap_or_else(|error| panic!("{error}: {config:?}"));
            assert_eq!(again.config, config);
            // A value may deserve a warning wherever it stands, but every variable names a key.
            let unknown = again.notes.iter().find(|note| note.contains("names no key"));
            assert_eq!(unknown, None);
        }
    }
}
