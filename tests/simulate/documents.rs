//! The section "Acts" of `docs/GAUNTLET.md` is the list of the acts.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ops_agent::simulate::{ACTS, ActInfo, Timing};

const HEADING: &str = "\n## Acts\n";

#[test]
fn every_act_is_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/GAUNTLET.md");
    let document = fs::read_to_string(&path).unwrap();
    let (before, section) = document.split_once(HEADING).expect("the section");
    let (head, rest) = section.split_once("\n| act |").expect("a table");
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    let gap = if after.is_empty() { "" } else { "\n" };
    let wanted = format!("{before}{HEADING}{head}\n{}{gap}{after}", table());
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, wanted).unwrap();
        return;
    }
    assert!(document == wanted, "docs/GAUNTLET.md is not up to date: BLESS=1 writes it");
}

fn table() -> String {
    let mut table = String::from("| act | what happens | parameters | `for` |\n|---|---|---|---|\n");
    for info in ACTS {
        let timing = match info.timing {
            Timing::Lasts => "yes",
            Timing::Once => "no",
            Timing::FromStart => "yes; begins with the start",
        };
        let _ = writeln!(table, "| `{}` | {} | {} | {timing} |", info.name, info.sentence, parameters(info));
    }
    table
}

fn parameters(info: &ActInfo) -> String {
    let parameters = info.parameters.iter().map(|parameter| {
        let default =
            if parameter.default.is_empty() { "required".to_owned() } else { format!("default {}", parameter.default) };
        format!("`{}`: {} ({default})", parameter.name, parameter.values)
    });
    parameters.collect::<Vec<_>>().join("<br>")
}
