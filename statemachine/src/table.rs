//! What a state machine is here: a total table of states × events, and the ways to print it.

use std::fmt::{Debug, Write as _};

use strum::VariantArray;

/// What an event means in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell<S: 'static, E: 'static> {
    /// Move to another state and perform the effects, in order.
    Go(S, &'static [E]),
    /// Expected and harmless: stay, and perform the effects, if any.
    Stay(&'static [E]),
    /// Cannot happen. The caller logs and counts it: it is a bug, but no reason to exit.
    Refuse,
}

impl<S: Copy, E> Cell<S, E> {
    /// The state that follows `state`.
    #[must_use]
    pub fn target(&self, state: S) -> S {
        match self {
            Self::Go(to, _) => *to,
            Self::Stay(_) | Self::Refuse => state,
        }
    }

    /// The effects, in order.
    #[must_use]
    pub fn effects(&self) -> &'static [E] {
        match self {
            Self::Go(_, effects) | Self::Stay(effects) => effects,
            Self::Refuse => &[],
        }
    }
}

/// A state machine: its states and events, and the function that decides every pair of them.
pub trait Table {
    /// The states.
    type State: Copy + Eq + Debug + VariantArray + 'static;
    /// The events.
    type Event: Copy + Eq + Debug + VariantArray + 'static;
    /// The effects.
    type Effect: Copy + Eq + Debug + 'static;

    /// The state in which a new machine begins.
    const INITIAL: Self::State;
    /// All states, in the order in which they are shown.
    const STATES: &'static [Self::State] = Self::State::VARIANTS;
    /// All events, in the order in which they are shown.
    const EVENTS: &'static [Self::Event] = Self::Event::VARIANTS;

    /// Decides what `event` means in `state`.
    fn transition(state: Self::State, event: Self::Event) -> Cell<Self::State, Self::Effect>;
}

/// The table as RON, one line for each cell. This form is reviewed and kept beside the code.
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

/// The table for a terminal: a row for each event, a column for each state. `→ X` moves, `·` stays, `✗` is refused.
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

/// The transitions as a Mermaid state diagram.
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

/// The transitions as a Graphviz graph.
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

/// A transition from one state to another, with its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge<S, V> {
    /// The state before.
    pub from: S,
    /// The state after.
    pub to: S,
    /// The events that cause it.
    pub events: Vec<V>,
}

/// All transitions of the table, one for each pair of states.
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
