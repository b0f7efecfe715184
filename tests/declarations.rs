//! The generated documents agree with the declarations of the configuration keys.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ops_config::testing::{parse, parse_daemon};
use ops_config::{Environment, Format, Overrides, Program, document, load, load_daemon};
use serde_json::Value;

/// Asserts that a file has its generated content. `BLESS=1` writes it.
fn assert_generated(path: &str, text: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&file, text).unwrap();
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let line = found.lines().zip(text.lines()).take_while(|(found, wanted)| found == wanted).count() + 1;
    assert!(found == text, "{path}:{line} differs from the declarations: BLESS=1 cargo test --test main declarations");
}

fn schema(program: Program) -> Value {
    serde_json::from_str(&document(program, Format::JsonSchema)).unwrap()
}

#[test]
fn the_example_files_are_generated() {
    assert_generated("configs/agent.yaml", &document(Program::Agent, Format::Example));
    assert_generated("configs/daemon.yaml", &document(Program::Daemon, Format::Example));
}

#[test]
fn the_schema_files_are_generated() {
    assert_generated("configs/agent.schema.json", &document(Program::Agent, Format::JsonSchema));
    assert_generated("configs/daemon.schema.json", &document(Program::Daemon, Format::JsonSchema));
}

#[test]
fn the_reference_is_generated() {
    let [agent, daemon] = [Program::Agent, Program::Daemon].map(|program| document(program, Format::Markdown));
    let note = "\
Every key of both configuration files, which are YAML. `agent validate` and `daemon validate` report
every problem of a file at once.

This page is generated: `BLESS=1 cargo test --test main declarations`.";
    assert_generated("docs/CONFIGURATION.md", &format!("# Configuration\n\n{note}\n\n{agent}\n{daemon}"));
}

#[test]
fn the_commands_print_the_documents() {
    for (program, binary) in
        [(Program::Agent, env!("CARGO_BIN_EXE_agent")), (Program::Daemon, env!("CARGO_BIN_EXE_daemon"))]
    {
        for (args, format) in [
            (&["schema"][..], Format::JsonSchema),
            (&["schema", "--format", "example"], Format::Example),
            (&["schema", "--format", "markdown"], Format::Markdown),
        ] {
            let output = std::process::Command::new(binary).args(args).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            assert_eq!(String::from_utf8(output.stdout).unwrap(), document(program, format));
        }
    }
}

/// The error of an independent validator for a YAML text.
fn invalid(program: Program, text: &str) -> Option<String> {
    let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
    compiler.add_resource("schema.json", schema(program)).unwrap();
    let index = compiler.compile("schema.json", &mut schemas).unwrap_or_else(|error| panic!("{error:#}"));
    let value: Value = serde_yaml::from_str(text).unwrap();
    schemas.validate(&value, index).err().map(|error| format!("{error:#}"))
}

fn files(directory: &str, prefix: &str) -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.starts_with(prefix) && name.ends_with(".yaml")
    };
    paths.filter(is_it).collect()
}

#[test]
fn a_validator_accepts_each_shipped_file_and_each_file_of_the_go_programs() {
    for (program, prefix, good) in [
        (Program::Agent, "agent", &["good/go_agent", "good/short_forms", "go/agent"][..]),
        (Program::Daemon, "daemon", &["good/go_daemon", "go/daemon"]),
    ] {
        let mut paths = files("configs", prefix);
        assert!(!paths.is_empty());
        for (directory, name) in good.iter().filter_map(|path| path.split_once('/')) {
            paths.extend(files(&format!("tests/fixtures/config/{directory}"), name));
        }
        for path in paths {
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(invalid(program, &text), None, "{}", path.display());
        }
    }
}

#[test]
fn a_validator_refuses_what_the_programs_refuse() {
    for text in [
        "{}",
        "{agent_id: a b}",
        "{agent_id: a, http: {port: 65536}}",
        "{agent_id: a, heartbeat: {interval: 30}}",
        "{agent_id: a, log: {level: loud}}",
        "{agent_id: a, log: {file: logs/}}",
        "{agent_id: a, state: {strict: 1}}",
        "{agent_id: a, heartbeat: {url: 'ftp://h'}}",
        "{agent_id: a, hearbeat: {}}",
    ] {
        assert!(invalid(Program::Agent, text).is_some(), "{text}");
        let parsed = parse("a", text.as_bytes(), &Environment::default(), &Overrides::none());
        assert!(parsed.is_err(), "{text}");
    }
    for text in [
        "agents: [{id: a}]",
        "agents: [{id: a, binary_path: bin/a}]",
        "agents: [{id: a, binary_path: /a, type: other}]",
        "agents: {id: a}",
        "agent_defaults: {health_check: {cpu_threshold: 101}}",
        "agent_defaults: {restart: {policy: sometimes}}",
        "daemon: {work_dir: ''}",
    ] {
        assert!(invalid(Program::Daemon, text).is_some(), "{text}");
        assert!(parse_daemon("a", text.as_bytes(), &Overrides::none()).is_err(), "{text}");
    }
}

/// The values in the schema that a file may hold: defaults and examples.
fn each_key(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
    let Some(properties) = schema["properties"].as_object() else { return };
    for (name, key) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if key["properties"].is_object() {
            each_key(key, &path, found);
        } else if key["items"]["properties"].is_object() {
            each_key(&key["items"], &format!("{path}[]"), found);
        } else {
            found.push((path, key.clone()));
        }
    }
}

fn keys(program: Program) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    each_key(&schema(program), "", &mut found);
    found
}

/// Every default is valid: a file with all defaults means the same as a minimal file.
#[test]
fn a_file_with_all_defaults_equals_a_minimal_file() {
    let mut root = serde_json::json!({ "agent_id": "a" });
    for (path, key) in keys(Program::Agent) {
        if let Some(default) = key.get("default") {
            set(&mut root, &path, default.clone());
        }
    }
    let read = |text: &str| parse("a", text.as_bytes(), &Environment::default(), &Overrides::none());
    let (full, bare) = (read(&root.to_string()), read("agent_id: a"));
    assert_eq!(full.unwrap().config, bare.unwrap().config);

    let mut root = serde_json::json!({ "agents": [{ "id": "a", "binary_path": "/a" }] });
    for (path, key) in keys(Program::Daemon).iter().filter(|(path, _)| !path.contains('[')) {
        if let Some(default) = key.get("default") {
            set(&mut root, path, default.clone());
        }
    }
    let read = |text: &str| parse_daemon("a", text.as_bytes(), &Overrides::none()).unwrap().config;
    let (full, bare) = (read(&root.to_string()), read("agents: [{id: a, binary_path: /a}]"));
    let changes = ops_config::diff_daemon(&bare, &bare.agents, &full);
    assert_eq!((changes.unchanged, changes.needs_restart), (vec!["a".to_owned()], Vec::new()));
    assert_eq!((full.http, full.log, full.agents), (bare.http, bare.log, bare.agents));
}

fn set(root: &mut Value, path: &str, value: Value) {
    let place = path.split('.').fold(root, |place, part| {
        let section = if place.is_null() { place.insert_object() } else { place };
        &mut section[part]
    });
    *place = value;
}

trait InsertObject {
    fn insert_object(&mut self) -> &mut Self;
}

impl InsertObject for Value {
    fn insert_object(&mut self) -> &mut Self {
        *self = Self::Object(serde_json::Map::new());
        self
    }
}

#[test]
fn every_setting_of_the_shipped_files_can_be_loaded() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
    load(Some(&configs.join("agent.yaml")), &Environment::default(), &Overrides::none()).unwrap();
    load_daemon(Some(&configs.join("daemon.yaml")), &Overrides::none()).unwrap();
}

/// The fuzz dictionaries: handwritten words of YAML, then generated words of the keys.
#[test]
fn the_fuzz_dictionaries_have_the_words_of_the_declarations() {
    for (program, name) in [(Program::Agent, "agent_config"), (Program::Daemon, "daemon_config")] {
        let path = format!("fuzz/dictionaries/{name}.dict");
        let mut words = BTreeSet::new();
        for (key, schema) in keys(program) {
            words.extend(key.split('.').map(|part| part.trim_end_matches("[]").to_owned()));
            let values = ["default", "examples", "enum"].map(|field| &schema[field]);
            let values =
                values.iter().flat_map(|value| value.as_array().cloned().unwrap_or_else(|| vec![(*value).clone()]));
            words.extend(
                values
                    .filter(|value| !value.is_null())
                    .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
            );
        }
        let quoted = words.iter().filter(|word| !word.is_empty());
        let quoted = quoted.map(|word| format!("\"{}\"\n", word.replace('\\', "\\\\").replace('"', "\\x22")));
        let old = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path)).unwrap();
        let (by_hand, _) = old.split_once(GENERATED).unwrap_or_else(|| panic!("{path} has no line {GENERATED:?}"));
        assert_generated(&path, &format!("{by_hand}{GENERATED}{}", quoted.collect::<String>()));
    }
}

const GENERATED: &str = "# Generated from the declarations of the keys.\n";
