//! `docs/DEPENDENCIES.md` names exactly the dependencies of Cargo.toml, with the right number of crates for each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const LINKED: &str = "\n## Linked into the programs\n";
const FOR_THE_TESTS: &str = "\n## For the tests\n";

#[test]
fn every_dependency_is_accounted_for() {
    let document = fs::read_to_string(path()).unwrap();
    let linked = named(Value::is_null);
    let for_tests = &named(|kind| kind == "dev") - &linked;
    assert_eq!(names_in(&document, LINKED), linked, "docs/DEPENDENCIES.md and [dependencies] differ");
    assert_eq!(names_in(&document, FOR_THE_TESTS), for_tests, "docs/DEPENDENCIES.md and [dev-dependencies] differ");
    assert!(named(|kind| kind == "build").is_empty(), "docs/DEPENDENCIES.md has no place for build dependencies");
}

#[test]
fn what_a_dependency_brings_is_counted_right() {
    let graph = Graph::read();
    let document = fs::read_to_string(path()).unwrap();
    let mut counted = document.clone();
    for row in rows(&document, LINKED) {
        let mut cells: Vec<_> = row.split('|').collect();
        let brings = graph.brought_by(&names(row).collect());
        cells[3] = &brings;
        counted = counted.replace(row, &cells.join("|"));
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path(), counted).unwrap();
        return;
    }
    let differing: Vec<_> = document.lines().zip(counted.lines()).filter(|(old, new)| old != new).collect();
    assert!(differing.is_empty(), "the document and what cargo says: {differing:#?}; BLESS=1 writes what cargo says");
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/DEPENDENCIES.md")
}

/// The rows of the table under a heading.
fn rows<'a>(document: &'a str, heading: &str) -> impl Iterator<Item = &'a str> {
    let section = document.split_once(heading).expect("the heading").1;
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    section.lines().filter(|line| line.starts_with("| `"))
}

/// The crates that a row is about.
fn names(row: &str) -> impl Iterator<Item = &str> {
    row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)
}

fn names_in(document: &str, heading: &str) -> BTreeSet<String> {
    rows(document, heading).flat_map(names).map(str::to_owned).collect()
}

/// The dependencies of one kind in all manifests, without workspace members. Those of the model count as dev-dependencies.
fn named(is_wanted: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    let metadata: Value = serde_json::from_str(&cargo(&["metadata", "--format-version=1", "--no-deps"])).unwrap();
    let kind_in = |manifest: &Value, dependency: &Value| {
        if manifest["name"] == "ops-model" || manifest["name"] == "hotpaths" {
            Value::from("dev")
        } else {
            dependency["kind"].clone()
        }
    };
    let all = list(&metadata["packages"]).iter().flat_map(|manifest| {
        list(&manifest["dependencies"]).iter().map(move |dependency| (kind_in(manifest, dependency), dependency))
    });
    let wanted = all.filter(|(kind, dependency)| is_wanted(kind) && !dependency["source"].is_null());
    wanted.map(|(_, dependency)| dependency["name"].as_str().unwrap().to_owned()).collect()
}

/// All crates by name and version, with the crates that each needs on this platform.
struct Graph {
    needs: BTreeMap<String, BTreeSet<String>>,
    root: String,
}

impl Graph {
    fn read() -> Self {
        let tree = ["tree", "--edges=normal,build", "--target=x86_64-unknown-linux-gnu", "--prefix=depth"];
        let (mut needs, mut above) = (BTreeMap::<_, BTreeSet<_>>::new(), Vec::<String>::new());
        for line in cargo(&tree).lines() {
            let end_of_depth = line.find(|character: char| !character.is_ascii_digit()).unwrap();
            let mut words = line[end_of_depth..].split(' ');
            // The members of this workspace count as one crate.
            let is_ours = line.contains(" (/");
            let package = match above.first() {
                Some(root) if is_ours => root.clone(),
                _ => format!("{} {}", words.next().unwrap(), words.next().unwrap()),
            };
            above.truncate(line[..end_of_depth].parse().unwrap());
            if let Some(parent) = above.last().filter(|parent| **parent != package) {
                needs.entry(parent.clone()).or_default().insert(package.clone());
            }
            needs.entry(package.clone()).or_default();
            above.push(package);
        }
        Self { needs, root: above.swap_remove(0) }
    }

    /// How many crates these bring, and how many of them no other dependency brings.
    fn brought_by(&self, crates: &BTreeSet<&str>) -> String {
        let is_requested = |package: &&String| crates.contains(package.split(' ').next().unwrap());
        let (requested, others): (Vec<_>, Vec<_>) = self.needs[&self.root].iter().partition(is_requested);
        let (with_them, without_them) = (self.all_under(&requested), self.all_under(&others));
        let brought: Vec<_> = with_them.iter().filter(|package| !requested.contains(package)).collect();
        let alone = brought.iter().filter(|package| !without_them.contains(**package)).count();
        format!(" {} ({alone}) ", brought.len())
    }

    /// These crates and their dependencies, direct and indirect.
    fn all_under<'a>(&'a self, packages: &[&'a String]) -> BTreeSet<&'a String> {
        let (mut found, mut ahead) = (BTreeSet::new(), packages.to_vec());
        while let Some(next) = ahead.pop() {
            if found.insert(next) {
                ahead.extend(&self.needs[next]);
            }
        }
        found
    }
}

/// What cargo prints about this workspace.
fn cargo(args: &[&str]) -> String {
    let mut cargo = Command::new(env!("CARGO"));
    let output = cargo.args(args).arg("--locked").current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}
