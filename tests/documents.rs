//! Documents and sources keep to the language rules, and links between documents are valid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use ops_agent::testing::daemon::registry::Rejected;
use statemachine::supervision::ReasonCode;

/// Words that hide who does something. "nobody" in quotes or backticks is the Unix user.
const VAGUE: [&str; 6] = ["nobody", "somebody", "anybody", "whoever", "whom", "lest"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Test data, and the list above. The test of vague words does not read them.
const DATA: [&str; 4] = ["tests/fixtures", "fuzz/corpus", "fuzz/dictionaries", "tests/documents.rs"];

/// The longest line of prose, in characters.
const COLUMNS: usize = 100;

/// A generated document, whose cells and lines follow from the declarations.
const GENERATED: &str = "docs/CONFIGURATION.md";

/// The files that git tracks, without those that are deleted in the work tree.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().expect("git");
    let names = String::from_utf8(output.stdout).unwrap();
    let paths = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    paths.filter(|path| root().join(path).is_file()).collect()
}

/// The tracked documents.
fn documents() -> Vec<PathBuf> {
    tracked().into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect()
}

fn vague_words(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let plain = line.replace("`nobody`", "").replace("\"nobody\"", "").to_lowercase();
        let words = plain.split(|c: char| !c.is_alphanumeric());
        found.extend(words.filter(|word| VAGUE.contains(word)).map(|word| (number + 1, word.to_owned())));
    }
    found
}

/// The lines of a document that are prose: no rows of tables, no code, and no lines with a link or an address.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    text.lines().enumerate().filter(move |(_, line)| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !is_fence && !in_code && !line.starts_with('|') && !line.contains("](") && !line.contains("://")
    })
}

#[test]
fn no_text_hides_who_does_something() {
    let mut found = Vec::new();
    let mut read = 0;
    for path in tracked() {
        if DATA.iter().any(|folder| path.starts_with(folder)) {
            continue;
        }
        if path.extension().is_some_and(|extension| extension == "png") {
            continue;
        }
        let text = fs::read_to_string(root().join(&path)).expect("text");
        read += 1;
        found.extend(vague_words(&text).into_iter().map(|(line, word)| format!("{}:{line}: {word}", path.display())));
    }
    assert!(read > 300, "only {read} files were read");
    assert!(found.is_empty(), "name who does it: {found:#?}");
}

#[test]
fn vague_words_are_found_in_prose_and_in_names() {
    let lines = |text: &str| vague_words(text).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(lines("fine\nNobody asks.\nfn asked_by_nobody() {}\n"), [2, 3]);
    assert_eq!(lines("User `nobody`, or \"nobody\"; a lesson on whomping\n"), [0; 0]);
}

#[test]
fn prose_is_wrapped() {
    let mut long = Vec::new();
    for path in documents().into_iter().filter(|path| path != Path::new(GENERATED)) {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        let lines = prose(&text).filter(|(_, line)| line.chars().count() > COLUMNS);
        long.extend(lines.map(|(number, _)| format!("{}:{}", path.display(), number + 1)));
    }
    assert!(long.is_empty(), "longer than {COLUMNS} characters: {long:#?}");
}

#[test]
fn links_between_documents_are_valid() {
    let mut broken = Vec::new();
    for path in documents() {
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

#[test]
fn the_files_for_other_tools_are_shown_as_they_are_shipped() {
    let document = fs::read_to_string(root().join("docs/OPERATIONS.md")).unwrap();
    let is_shown =
        |path: &Path| ["monit", "nagios", "logrotate"].iter().any(|tool| path.starts_with(format!("configs/{tool}")));
    let shown: Vec<PathBuf> = tracked().into_iter().filter(|path| is_shown(path)).collect();
    assert_eq!(shown.len(), 3, "{shown:?}");
    for path in shown {
        let text = fs::read_to_string(root().join(&path)).unwrap();
        assert!(document.contains(&format!("```\n{text}```\n")), "put {} into docs/OPERATIONS.md", path.display());
    }
}

#[test]
fn the_tests_that_the_threats_name_exist() {
    let document = fs::read_to_string(root().join("docs/THREATS.md")).expect("text");
    let rows = document.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let named: Vec<&str> = rows.filter_map(|row| row.split(" | ").last()).flat_map(|cell| cell.split('`')).collect();
    let tests = tracked().into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    let sources: String = tests.map(|path| fs::read_to_string(root().join(path)).expect("text")).collect();
    let is_name =
        |text: &&&str| text.contains('_') && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let names: Vec<&str> = named.iter().filter(is_name).copied().collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        assert!(sources.contains(&format!("fn {name}(")), "{name}");
    }
}

#[test]
fn every_reason_is_documented() {
    let text = fs::read_to_string(root().join("docs/SUPERVISION.md")).unwrap();
    let (_, reasons) = text.split_once("## Reasons").unwrap();
    let (reasons, _) = reasons.split_once("\n## ").unwrap();
    let known: Vec<&str> = ReasonCode::ALL.iter().map(|code| code.as_str()).chain(Rejected::NAMES).collect();
    let documented: Vec<&str> = reasons.split('`').skip(1).step_by(2).collect();
    for name in &known {
        assert!(documented.contains(name), "docs/SUPERVISION.md does not name the reason {name}");
    }
    let is_other = |word: &&&str| word.contains('_') && !known.contains(*word) && !word.contains(' ');
    assert_eq!(documented.iter().find(is_other), None, "a reason that does not exist");
}
