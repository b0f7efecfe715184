//! Replays the committed fuzzing corpora without a fuzzer, so that a fixed crash stays fixed.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../fuzz/src/lib.rs"]
mod targets;

#[test]
fn agent_config() {
    replay("agent_config");
}

#[test]
fn daemon_config() {
    replay("daemon_config");
}

#[test]
fn status_file() {
    replay("status_file");
}

#[test]
fn http_bytes() {
    replay("http_bytes");
}

#[test]
fn heartbeat_body() {
    replay("heartbeat_body");
}

#[test]
fn jsonrpc_lines() {
    replay("jsonrpc_lines");
}

/// Runs a target on each input of its corpus.
fn replay(target: &str) {
    let mut inputs: Vec<PathBuf> = files(&fuzz("corpus").join(target));
    inputs.sort();
    assert!(!inputs.is_empty(), "no corpus for {target}");
    for input in inputs {
        // Shown only if the test fails. The last line names the failing input.
        eprintln!("{}", input.display());
        targets::run(target, &fs::read(&input).unwrap());
    }
}

/// Each target has all its parts.
#[test]
fn every_target_has_its_binary_its_corpus_and_its_dictionary() {
    let manifest = fs::read_to_string(fuzz("Cargo.toml")).unwrap();
    let mut names: Vec<String> = targets::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort();
    for name in &names {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is no binary");
        let binary = fs::read_to_string(fuzz("fuzz_targets").join(name).with_extension("rs")).unwrap();
        assert!(binary.contains(&format!("run(\"{name}\", input)")), "{binary}");
    }
    let named = |part: &str, extension: &str| {
        let found = files(&fuzz(part)).into_iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        let mut found: Vec<String> = found.map(|name| name.replace(extension, "")).collect();
        found.sort();
        found
    };
    assert_eq!(named("corpus", ""), names);
    assert_eq!(named("fuzz_targets", ".rs"), names);
    assert_eq!(named("dictionaries", ".dict"), names);
}

/// The fuzz crate has its own lock file. Shared crates must have the same version in both.
#[test]
fn what_is_fuzzed_is_built_of_the_same_versions() {
    let packages = |path: &Path| {
        let text = fs::read_to_string(path).unwrap();
        let package = |part: &str| {
            let value = |key: &str| part.lines().find_map(|line| line.strip_prefix(key)).map(str::to_owned);
            Some((value("name = ")?, value("version = ")?))
        };
        text.split("[[package]]").filter_map(package).collect::<Vec<_>>()
    };
    let ours = packages(&root().join("Cargo.lock"));
    for (name, version) in packages(&fuzz("Cargo.lock")) {
        let mut known = ours.iter().filter(|(other, _)| *other == name).map(|(_, version)| version).peekable();
        let same = known.peek().is_none() || known.any(|known| *known == version);
        assert!(
            same,
            "{name} is {version} in fuzz/Cargo.lock only: copy Cargo.lock there, and run cargo metadata in fuzz/"
        );
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn fuzz(part: &str) -> PathBuf {
    root().join("fuzz").join(part)
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}
