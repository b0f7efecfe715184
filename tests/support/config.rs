//! Broken configuration files with their reviewed diagnostics, and random text that resembles YAML.

use std::fs;
use std::path::Path;

use ops_config::Problems;
use proptest::prelude::*;

/// Compares the diagnostics of each file of `tests/fixtures/config/<directory>` with the snapshot beside it.
pub(crate) fn assert_explained_as_reviewed(directory: &str, parse: impl Fn(&str, &[u8]) -> Result<String, Problems>) {
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(format!("../fixtures/config/{directory}"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(directory);
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = entries.filter(|path| path.extension().is_some_and(|it| it == "yaml")).collect();
    assert!(!files.is_empty());
    settings.bind(|| {
        for file in files {
            let (name, text) = (file.file_name().unwrap().to_str().unwrap(), fs::read(&file).unwrap());
            let problems = parse(name, &text).expect_err(name);
            let both = format!("{}\nin the log:\n{problems}", problems.render(false));
            insta::assert_snapshot!(file.file_stem().unwrap().to_str().unwrap(), both);
        }
    });
}

/// Random text that is partly YAML.
pub(crate) fn yaml_like() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "agent_id",
        "heartbeat",
        "http",
        "agents",
        "level",
        "url",
        ": ",
        ":",
        "\n",
        "\n  ",
        "\n\t",
        " ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a",
        "*a",
        "!",
        "!!str",
        "?",
        "|",
        ">",
        "\"",
        "'",
        "#",
        "%",
        "---",
        "...",
        "<<",
        "~",
        "null",
        "true",
        "1",
        "30s",
        "0x1F",
        ".nan",
        "\u{feff}",
        "é",
        "\r",
        "\r\n",
        "\\",
        "@",
        "`",
        "http://a:b@c/",
        "id: a\n",
        "token: ",
        "\u{2028}",
        "\u{85}",
        "1e999",
        "\\u0000",
        "99999999999999999999",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}
