//! What a state machine is here: a total table of states × events, and the ways to print it.

use std::fmt::{Debug, Write as _};

/// What an event means in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<S: 'static, E: 'static> {
    /// Move to another state and carry out the effects, in order.
    Go(S, &'static [E]),
    /// Expected here: remain, and carry out the effects, if any.
    Stay(&'static [E]),
    /// Cannot happen here. Whoever sees one logs and counts it: it is a bug, but no reason to die.
    Refuse,
}

impl<S: Copy, E> Cell<S, E> {
    /// Where the event leads from `state`: to itself unless the cell moves.
    #[must_use]
    pub fn target(&self, state: S) -> S {
        match self {
            Self::Go(to, _) => *to,
            Self::Stay(_) | Self::Refuse => state,
        }
    }

    /// What is to be carried out, in order.
    #[must_use]
    pub fn effects(&self) -> &'static [E] {
        match self {
            Self::Go(_, effects) | Self::Stay(effects) => effects,
            Self::Refuse => &[],
        }
    }
}

/// A state machine: its states and events, and the one function that decides every pair of them.
pub trait Table {
    /// The states.
    type State: Copy + Eq + Debug + 'static;
    /// What can happen.
    type Event: Copy + Eq + Debug + 'static;
    /// What is to be done about it.
    type Effect: Copy + Eq + Debug + 'static;

    /// Where a new machine begins.
    const INITIAL: Self::State;
    /// Every state, in the order in which people read them.
    const STATES: &'static [Self::State];
    /// Every event, likewise.
    const EVENTS: &'static [Self::Event];

    /// Decides what `event` means in `state`.
    fn transition(state: Self::State, event: Self::Event) -> Cell<Self::State, Self::Effect>;
}

/// The table as RON, a line a cell: the form that is reviewed and kept beside the code.
#[must_use]
pub fn to_ron<T: Table>() -> String {
    let mut out = String::from("{\n");
    for &state in T::STATES {
        let _ = writeln!(out, "    {state:?}: {{");
        for &event in T::EVENTS {
            let cell = match T::transition(state, event) {
                Cell::Go(to, effects) => format!("Go({to:?}, {effects:?})"),
                Cell::Stay(effects) => format!("Stay({effects:?})"),
                Cell::Refuse => "Refuse".to_owned(),
            };
            let _ = writeln!(out, "        {event:?}: {cell},");
        }
        out.push_str("    },\n");
    }
    out.push_str("}\n");
    out
}

/// The table for a terminal: a row an event, a column a state. `→ X` moves, `·` stays, `✗` is refused.
#[must_use]
pub fn to_text<T: Table>() -> String {
    let mut rows =
        vec![std::iter::once("event".to_owned()).chain(T::STATES.iter().map(|s| format!("{s:?}"))).collect::<Vec<_>>()];
    for &event in T::EVENTS {
        let cells = T::STATES.iter().map(|&state| match T::transition(state, event) {
            Cell::Go(to, _) => format!("→ {to:?}"),
            Cell::Stay([]) => "·".to_owned(),
            Cell::Stay(effects) => format!("· {}", names(effects)),
            Cell::Refuse => "✗".to_owned(),
        });
        rows.push(std::iter::once(format!("{event:?}")).chain(cells).collect());
    }
    let mut out = aligned(&rows);
    out.push_str("\n→ X: move to X   ·: stay, carrying out what is named   ✗: refused, logged and counted\n");
    out
}

/// The moves as a Mermaid state diagram.
#[must_use]
pub fn to_mermaid<T: Table>() -> String {
    let mut out = format!("stateDiagram-v2\n    [*] --> {:?}\n", T::INITIAL);
    for Edge { from, to, events } in edges::<T>() {
        let _ = writeln!(out, "    {from:?} --> {to:?}: {}", names(&events));
    }
    for state in T::STATES.iter().filter(|&&state| is_final::<T>(state)) {
        let _ = writeln!(out, "    {state:?} --> [*]");
    }
    out
}

/// The moves as a Graphviz graph.
#[must_use]
pub fn to_dot<T: Table>() -> String {
    let mut out = String::from("digraph lifecycle {\n    rankdir=LR;\n    node [shape=box, style=rounded];\n");
    for &state in T::STATES {
        let shape = if is_final::<T>(state) { " [peripheries=2]" } else { "" };
        let _ = writeln!(out, "    {state:?}{shape};");
    }
    for Edge { from, to, events } in edges::<T>() {
        let _ = writeln!(out, "    {from:?} -> {to:?} [label=\"{}\"];", names(&events).replace(", ", "\\n"));
    }
    out.push_str("}\n");
    out
}

/// A move from one state to another, with the events that lead along it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge<S, V> {
    /// From where.
    pub from: S,
    /// To where.
    pub to: S,
    /// On which events.
    pub events: Vec<V>,
}

/// Every move of the table, once per pair of states.
#[must_use]
pub fn edges<T: Table>() -> Vec<Edge<T::State, T::Event>> {
    let mut edges: Vec<Edge<T::State, T::Event>> = Vec::new();
    for &from in T::STATES {
        for &event in T::EVENTS {
            let Cell::Go(to, _) = T::transition(from, event) else { continue };
            match edges.iter_mut().find(|edge| (edge.from, edge.to) == (from, to)) {
                Some(edge) => edge.events.push(event),
                None => edges.push(Edge { from, to, events: vec![event] }),
            }
        }
    }
    edges
}

fn is_final<T: Table>(state: T::State) -> bool {
    T::EVENTS.iter().all(|&event| T::transition(state, event).target(state) == state)
}

fn names(things: &[impl Debug]) -> String {
    things.iter().map(|thing| format!("{thing:?}")).collect::<Vec<_>>().join(", ")
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let widths: Vec<usize> =
        (0..columns).map(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
    let mut out = String::new();
    for row in rows {
        let line: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}
