//! Bytes as a daemon's configuration.

use std::collections::HashSet;
use std::path::Path;

use ops_config::testing::parse_daemon;
use ops_config::{Overrides, diff_daemon};

use super::config::{assert_explained, file, keys, second_reading};

/// Less than the 4 MiB that a file may have, so that several inputs run in a second.
const SIZE: usize = 128 * 1024;

pub(super) fn run(input: &[u8]) {
    let text = file(input, SIZE);
    match parse_daemon("daemon.yaml", &text, &Overrides::none()) {
        Err(problems) => assert_explained(&text, &problems),
        Ok(loaded) => {
            let config = loaded.config;
            let seen = second_reading(&text);
            let ids: Vec<_> = config.agents.iter().map(|agent| Some(agent.id.as_str())).collect();
            let seen_ids = seen["agents"].as_sequence().into_iter().flatten();
            assert_eq!(seen_ids.map(|agent| agent["id"].as_str()).collect::<Vec<_>>(), ids);
            assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
            let agents = seen["agents"].as_sequence().into_iter().flatten();
            for key in agents.chain([&seen]).flat_map(keys).flatten() {
                assert!(!key.contains('.'), "{key:?} was ignored without a message");
            }
            for agent in &config.agents {
                assert!(agent.binary_path.is_absolute(), "{agent:?}");
                assert!(agent.restart.backoff_base <= agent.restart.backoff_max, "{agent:?}");
                assert!(agent.arguments(Path::new("/")).iter().all(|argument| argument.to_str().is_some()));
            }
            let changes = diff_daemon(&config, &config.agents, &config);
            assert_eq!(changes.unchanged.len(), ids.len());
            assert!(changes.added.is_empty() && changes.removed.is_empty() && changes.changed.is_empty());
            assert!(changes.needs_restart.is_empty());
        }
    }
}
