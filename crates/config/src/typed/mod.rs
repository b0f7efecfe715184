//! Reads a small file into a type that serde can build: YAML or RON, by the ending of the name.
//!
//! The limits and the look of a problem are those of a configuration. Unlike a configuration, such a file has no layers, no
//! includes and no reload, and reading ends at the first wrong value.

mod error;
mod from_ron;
mod from_yaml;

use std::path::Path;

use serde::de::DeserializeOwned;

use super::problem::{Problem, Problems};
use super::source::Source;
use super::yaml::{self, AGENT};
use super::{Selection, file_name, read_selected};

/// Plans are the only such files.
const PLAN: Selection = Selection {
    absent: "select an existing file with `--simulate PLAN`",
    not_a_file: "select one with `--simulate PLAN`",
};

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Yaml,
    Ron,
}

impl Format {
    /// `None`: the name ends in neither.
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "yaml" | "yml" | "json" => Some(Self::Yaml),
            "ron" => Some(Self::Ron),
            _ => None,
        }
    }
}

/// Reads the file of at most 64 KiB that `--simulate PLAN` selects. Blocks on the disk.
///
/// # Errors
///
/// The file cannot be read, or its content is not a `T`.
pub fn read_typed<T: DeserializeOwned>(path: &Path) -> Result<T, Problems> {
    format_of(path)?;
    let bytes = read_selected(path, AGENT, &PLAN)?.bytes;
    parse_typed(path, &bytes)
}

/// Reads a text. `path` gives its name in messages, and its format.
///
/// # Errors
///
/// The text is not a `T`.
pub fn parse_typed<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Problems> {
    let format = format_of(path)?;
    let refused = |refused: Box<(Source, Problem)>| Problems::new(refused.0, vec![refused.1]);
    let source = yaml::decode(&file_name(path), bytes, AGENT).map_err(refused)?;
    match format {
        Format::Ron => from_ron::read(&source).map_err(|problem| Problems::new(source, vec![*problem])),
        Format::Yaml => {
            let (root, mut problems) = yaml::read(&source, AGENT);
            match root.map(|root| from_yaml::read(&root)) {
                Some(Ok(value)) if problems.is_empty() => return Ok(value),
                Some(Err(problem)) => problems.push(*problem),
                Some(Ok(_)) | None => {}
            }
            Err(Problems::new(source, problems))
        }
    }
}

fn format_of(path: &Path) -> Result<Format, Problems> {
    let unknown = || {
        let fact = "the name of the file says neither YAML nor RON".to_owned();
        Problems::whole_file(&file_name(path), fact, "end it in `.yaml` or `.ron`")
    };
    Format::of(path).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        name: String,
        count: Option<u8>,
        #[serde(default)]
        list: Vec<Choice>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        Plain,
        Empty(Empty),
        Full(Full),
        Map(BTreeMap<String, bool>),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Empty {}

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Full {
        level: i16,
    }

    fn parse(name: &str, text: &str) -> Result<Outer, String> {
        parse_typed(Path::new(name), text.as_bytes()).map_err(|problems| problems.to_string())
    }

    fn expected() -> Outer {
        let map = [("a".to_owned(), true)].into();
        let list = vec![Choice::Plain, Choice::Empty(Empty {}), Choice::Full(Full { level: -3 }), Choice::Map(map)];
        Outer { name: "7".to_owned(), count: Some(5), list }
    }

    #[test]
    fn both_formats_give_the_same_value() {
        let yaml = "name: 7\ncount: 5\nlist:\n- plain\n- empty\n- full: { level: -3 }\n- map: { a: true }\n";
        assert_eq!(parse("a.yaml", yaml), Ok(expected()));
        let json = r#"{"name":"7","count":5,"list":["plain",{"empty":{}},{"full":{"level":-3}},{"map":{"a":true}}]}"#;
        assert_eq!(parse("a.json", json), Ok(expected()));
        let ron = r#"(name: "7", count: 5, list: [plain, empty(), full(level: -3), map({ "a": true })])"#;
        assert_eq!(parse("a.ron", ron), Ok(expected()));
    }

    #[test]
    fn a_problem_has_a_place_and_a_remedy() {
        for (name, text, problem) in [
            ("a.yaml", "name: a\ncout: 5\n", "a.yaml:2:1: unknown key `cout`: did you mean `count`?"),
            ("a.ron", "(name: \"a\", cout: 5)", "a.ron:1:13: unknown key `cout`: did you mean `count`?"),
            ("a.yaml", "count: 5\n", "a.yaml:1:1: `name` is missing: add it"),
            ("a.ron", "(count: 5)", "a.ron:1:10: `name` is missing: add it"),
            ("a.yaml", "name: a\nlist: [plan]\n", "a.yaml:2:8: unknown name `plan`: did you mean `plain`?"),
            ("a.ron", "(name: \"a\", list: [plan])", "a.ron:1:20: unknown name `plan`: did you mean `plain`?"),
            ("a.yaml", "name: a\ncount: x\n", "a.yaml:2:8: this is the text \"x\": write u8"),
            ("a.yaml", "name: a\ncount: 300\n", "a.yaml:2:8: this is the number 300: write u8"),
            ("a.yaml", "name: a\nlist: [full]\n", "a.yaml:2:8: `level` is missing: add it"),
            ("a.yaml", "name: a\nname: b\n", "a.yaml:2:1: `name` is given twice, on lines 1 and 2: keep one of them"),
            ("a.yaml", "", "a.yaml:1:1: this is empty: write struct Outer"),
            ("a.toml", "", "a.toml: the name of the file says neither YAML nor RON: end it in `.yaml` or `.ron`"),
        ] {
            assert_eq!(parse(name, text).unwrap_err(), problem, "{text}");
        }
        let broken = parse("a.ron", "(name: \"a\"").unwrap_err();
        assert!(broken.starts_with("a.ron:1:11: this is not RON: "), "{broken}");
    }
}
