//! Checks of the table of a machine.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::Path;

use statemachine::table::{self, Table};

/// Compares a table with its reviewed file. `BLESS=1 cargo test -p statemachine` writes the file anew.
pub(crate) fn assert_reviewed<T: Table>(file: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let actual = table::to_ron::<T>();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &actual).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = actual.lines().zip(reviewed.lines().chain(std::iter::repeat(""))).find(|(is, was)| is != was);
    assert!(
        actual == reviewed,
        "{file} and the code differ, first in {differing:?} (code, file): if the code is right, BLESS=1 cargo test -p statemachine"
    );
}

/// Checks that the printed forms contain every pair, and that the RON is valid.
pub(crate) fn assert_printable<T: Table>() {
    ron::from_str::<serde::de::IgnoredAny>(&table::to_ron::<T>()).unwrap();
    assert_eq!(table::to_ron::<T>().lines().count(), 2 + T::STATES.len() * (2 + T::EVENTS.len()));
    let text = table::to_text::<T>();
    for name in T::EVENTS.iter().map(|event| format!("{event:?}")) {
        assert_eq!(text.lines().filter(|line| line.split_whitespace().next() == Some(&name)).count(), 1, "{name}");
    }
    for table::Edge { from, to, .. } in table::edges::<T>() {
        assert!(table::to_mermaid::<T>().contains(&format!("{from:?} --> {to:?}: ")));
        assert!(table::to_dot::<T>().contains(&format!("{from:?} -> {to:?} [")));
    }
}

/// The states from which `goal` cannot be reached.
pub(crate) fn cut_off_from<T: Table>(goal: T::State) -> BTreeSet<String>
where
    T::State: Debug,
{
    let mut reaching = vec![goal];
    let edges = table::edges::<T>();
    while let Some(edge) = edges.iter().find(|edge| reaching.contains(&edge.to) && !reaching.contains(&edge.from)) {
        reaching.push(edge.from);
    }
    T::STATES.iter().filter(|state| !reaching.contains(state)).map(|state| format!("{state:?}")).collect()
}
