//! The documents keep to the language rules, and their links lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Words that hide who does something. "nobody" in quotes or backticks is the Unix user.
const VAGUE: [&str; 6] = ["nobody", "somebody", "anybody", "whoever", "whom", "lest"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that git tracks and whose name ends so.
fn tracked(endings: &[&str]) -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git");
    let names = String::from_utf8(output.stdout).unwrap();
    let wanted = |name: &&str| !name.is_empty() && endings.iter().any(|ending| name.ends_with(ending));
    names.split('\0').filter(wanted).map(PathBuf::from).filter(|path| root().join(path).exists()).collect()
}

fn vague_words(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let plain = line.replace("`nobody`", "").replace("\"nobody\"", "").to_lowercase();
        let words = plain.split(|c: char| !c.is_alphanumeric() && c != '_');
        found.extend(words.filter(|word| VAGUE.contains(word)).map(|word| (number + 1, word.to_owned())));
    }
    found
}

#[test]
fn documents_say_who_does_something() {
    let mut found = Vec::new();
    for path in tracked(&[".md", ".yaml", ".yml", "Makefile", ".ci/run", ".ci/smoke", ".ci/audit"]) {
        if path.starts_with("tests") || path.starts_with("fuzz") {
            continue;
        }
        let text = fs::read_to_string(root().join(&path)).unwrap();
        found.extend(vague_words(&text).into_iter().map(|(line, word)| format!("{}:{line}: {word}", path.display())));
    }
    assert!(found.is_empty(), "name who does it: {found:#?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for path in tracked(&[".md"]) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let folder = root().join(path.parent().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let target = link.split('#').next().unwrap_or_default();
            let is_local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            if is_local && !folder.join(target).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
