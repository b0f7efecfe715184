//! Any valid configuration survives a round trip through a file, and no text makes the parser panic.

use std::collections::BTreeSet;

use ops_config::testing::{parse, settings};
use ops_config::{Environment, Overrides};
use proptest::prelude::*;

use crate::configuration::parse_alone;
use crate::support::config::yaml_like;

/// A value for each setting, most of them not the default.
fn any_settings() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let time = || (100_u64..60_000).prop_map(|ms| format!("{ms}ms"));
    let count = || (1_u32..1000).prop_map(|count| count.to_string());
    let path = || "[a-z/]{0,8}/[a-z: #'\"é]{0,6}[a-z]";
    let heartbeat =
        ("https://[a-z]{1,8}:[1-9][0-9]{1,3}/[a-z]{0,5}", path(), prop::sample::select(vec!["jsonrpc", "jsonlines"]));
    let beats = (time(), time(), count(), count());
    let limits = (8192_u32..1_048_576, time(), 0_u32..99_999, time(), time(), time(), count(), count(), count());
    let log = (prop::sample::select(vec!["debug", "info", "warn", "error"]), path());
    let rest =
        ("[A-Za-z][A-Za-z0-9_-]{0,30}", any::<std::net::IpAddr>(), any::<u16>(), path(), path(), time(), any::<bool>());
    (heartbeat, beats, limits, log, rest).prop_map(|((url, socket, framing), beats, limits, (level, log), rest)| {
        let (id, host, port, token, state, refresh, strict) = rest;
        let text = |text: &str| serde_json::to_string(text).unwrap();
        vec![
            ("agent_id", text(&id)),
            ("heartbeat.url", url),
            ("heartbeat.tls.ca", text(&socket)),
            ("heartbeat.tls.cert", text(&log)),
            ("heartbeat.tls.key", text(&state)),
            ("heartbeat.socket_path", text(&socket)),
            ("heartbeat.framing", framing.to_owned()),
            ("heartbeat.interval", beats.0),
            ("heartbeat.timeout", beats.1),
            ("heartbeat.failure_threshold", beats.2),
            ("heartbeat.recovery_threshold", beats.3),
            ("http.host", text(&host.to_string())),
            ("http.port", port.to_string()),
            ("http.token_file", text(&token)),
            ("http.tls.cert", text(&state)),
            ("http.tls.key", text(&token)),
            ("http.tls.client_ca", text(&log)),
            ("http.limits.head_bytes", limits.0.to_string()),
            ("http.limits.head_timeout", limits.1),
            ("http.limits.body_bytes", limits.2.to_string()),
            ("http.limits.body_timeout", limits.3),
            ("http.limits.write_timeout", limits.4),
            ("http.limits.idle_timeout", limits.5),
            ("http.limits.connections", limits.6),
            ("http.limits.connections_per_peer", limits.7),
            ("http.limits.connections_loopback", limits.8),
            ("log.level", level.to_owned()),
            ("log.format", "text".to_owned()),
            ("log.file", text(&log)),
            ("state.file", text(&state)),
            ("state.mode", if strict { "0644" } else { "0600" }.to_owned()),
            ("state.group", text(&id)),
            ("state.refresh", refresh),
            ("state.strict", strict.to_string()),
        ]
    })
}

/// The settings as a file. Each section is a flow mapping within its parent.
fn as_file<'a>(settings: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut root = std::collections::BTreeMap::<String, Vec<String>>::new();
    let mut inner = std::collections::BTreeMap::<(&str, &str), Vec<String>>::new();
    for (key, value) in settings {
        match key.split('.').collect::<Vec<_>>()[..] {
            [section, name] => root.entry(section.to_owned()).or_default().push(format!("{name}: {value}")),
            [outer, section, name] => inner.entry((outer, section)).or_default().push(format!("{name}: {value}")),
            _ => root.entry(String::new()).or_default().push(format!("{key}: {value}")),
        }
    }
    for ((outer, section), lines) in inner {
        root.entry(outer.to_owned()).or_default().push(format!("{section}: {{{}}}", lines.join(", ")));
    }
    let section = |(name, lines): (&String, &Vec<String>)| match name.as_str() {
        "" => lines.join("\n") + "\n",
        name => format!("{name}:\n  {}\n", lines.join("\n  ")),
    };
    root.iter().map(section).collect()
}

proptest! {
    #[test]
    fn a_configuration_survives_a_round_trip_through_its_file(given in any_settings()) {
        let file = as_file(given.clone());
        let parsed = parse_alone(&file);
        prop_assert!(parsed.is_ok(), "{}\n{file}", parsed.unwrap_err().render(false));
        let config = parsed.unwrap().config;
        let text = |value: &str| serde_json::to_string(value).unwrap();
        let is_text = |key: &str| key.ends_with("file") || key.ends_with("path") || key.ends_with("host") || key.contains(".tls.");
        let written = settings(&config).into_iter().map(|(key, value)| {
            let value = value.unwrap();
            (key, if is_text(key) { text(value) } else { value.to_owned() })
        });
        prop_assert_eq!(&parse_alone(&as_file(written)).unwrap().config, &config);
        // And every setting is in it.
        let keys: BTreeSet<&str> = settings(&config).iter().map(|(key, _)| *key).collect();
        prop_assert!(given.iter().all(|(key, _)| keys.contains(key)), "{:?}", keys);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in yaml_like()) {
        if let Err(problems) = parse_alone(&text) {
            prop_assert!(problems.iter().len() > 0);
            prop_assert!(!problems.render(true).is_empty());
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Err(problems) = parse("a", &bytes, &Environment::default(), &Overrides::none()) {
            prop_assert!(!problems.render(true).is_empty());
        }
    }

    #[test]
    fn no_edit_of_a_valid_file_makes_the_parser_panic(at in 0_usize..4000, cut in 0_usize..40, insert in yaml_like()) {
        let mut text = include_str!("../configs/agent.yaml").to_owned();
        let at = text.floor_char_boundary(at.min(text.len()));
        let end = text.floor_char_boundary((at + cut).min(text.len()));
        text.replace_range(at..end, &insert);
        if let Err(problems) = parse_alone(&text) {
            prop_assert!(!problems.render(false).is_empty());
        }
    }
}
