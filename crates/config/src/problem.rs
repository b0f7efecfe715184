//! What is wrong with a configuration: the fact, its place, and what to do about it.

use std::cell::RefCell;
use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use super::mask::mask;
use super::source::{Source, Span};

/// Further problems are counted, not shown: a hostile file could have any number of them.
const SHOWN: usize = 50;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key in question, from the top, as `http.port`. `None` if the file as a whole is meant.
    pub key: Option<String>,
    /// What is the case. Names the key, the variable or the flag.
    pub fact: String,
    /// What to do about it.
    pub remedy: String,
    pub(super) place: Place,
    /// Another place that the fact is about, and what is there.
    pub(super) other: Option<(Span, &'static str)>,
}

impl Problem {
    /// One in the file. An empty key means the file as a whole.
    pub(super) fn at(key: &str, fact: String, remedy: String, span: Span) -> Self {
        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
        Self { key, fact, remedy, place: Place::File(span), other: None }
    }
}

/// Problems as they are found. What is too many is dropped: this bounds what a hostile file can make us keep.
#[derive(Debug, Default)]
pub(super) struct ProblemList(RefCell<Vec<Problem>>);

impl ProblemList {
    const MOST: usize = 1000;

    pub(super) fn note(&self, problem: Problem) {
        if !self.is_full() {
            self.0.borrow_mut().push(problem);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= Self::MOST
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn take(&self) -> Vec<Problem> {
        self.0.take()
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    File(Span),
    /// The file as a whole.
    WholeFile,
    /// An environment variable or a flag: the fact names it.
    Elsewhere,
}

/// Everything that is wrong, in the order of the file. Never empty.
///
/// `Display` gives one line for each problem, for logs. [`Problems::render`] shows the places, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    source: Source,
    list: Vec<Problem>,
    /// It is not known what the file says, for want of something that may be there again in a moment.
    passing: bool,
}

impl Problems {
    pub(super) fn new(source: Source, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| match &problem.place {
            Place::WholeFile => (0, 0),
            Place::File(span) => (1, span.start),
            Place::Elsewhere => (2, 0),
        });
        // A default that is wrong is wrong for everyone that it is for.
        list.dedup_by(|one, other| one.place == other.place && one.fact == other.fact);
        for problem in &mut list {
            // A key may go over several lines; a fact may not.
            problem.fact = problem.fact.replace(['\n', '\u{85}'], " ");
            problem.remedy = problem.remedy.replace(['\n', '\u{85}'], " ");
        }
        Self { source, list, passing: false }
    }

    /// One problem with the file as a whole, which could not even be read.
    pub(super) fn whole_file(name: &str, fact: String, remedy: &str) -> Self {
        let problem = Problem { key: None, fact, remedy: remedy.to_owned(), place: Place::WholeFile, other: None };
        Self { source: Source::new(name, String::new()), list: vec![problem], passing: false }
    }

    /// The same problems, but for want of something that may be there again in a moment.
    pub(super) fn passing(self) -> Self {
        Self { passing: true, ..self }
    }

    /// Whether they say nothing about the file, only about the host, which has run short of something.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        self.passing
    }

    /// Each problem.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.list.iter()
    }

    /// Line and column of a problem, from 1, if it is in the file.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> Option<(usize, usize)> {
        match &problem.place {
            Place::File(span) => Some((self.source.line(span.start), self.source.column(span.start))),
            Place::WholeFile | Place::Elsewhere => None,
        }
    }

    /// Each problem with the lines that it is about, as a compiler shows them. Ends in a line break.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        // The renderer covers the control characters of ASCII, and not those above it, which a
        // terminal obeys as well. What stands in for one is as long.
        let above_ascii = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
        let masked = mask(&self.source.text).replace("\r\n", " \n").replace(above_ascii, "\u{a0}");
        let mut text = String::new();
        for problem in self.list.iter().take(SHOWN) {
            text.push_str(&self.render_one(&renderer, &masked, problem));
            text.push_str("\n\n");
        }
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    fn render_one(&self, renderer: &Renderer, masked: &str, problem: &Problem) -> String {
        let title = Level::ERROR.primary_title(normalize_untrusted_str(&problem.fact));
        let help = Level::HELP.message(normalize_untrusted_str(&problem.remedy));
        let group = match &problem.place {
            Place::File(span) => title.element(self.snippet(masked, span, problem.other.as_ref())).element(help),
            Place::WholeFile => title.element(Origin::path(&self.source.name)).element(help),
            Place::Elsewhere => title.element(help),
        };
        renderer.render(&[group])
    }

    /// The lines in question only: what is not shown costs nothing, and cannot give anything away.
    fn snippet<'a>(
        &'a self,
        masked: &'a str,
        span: &Span,
        other: Option<&(Span, &'static str)>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let (start, end) =
            other.map_or((span.start, span.end), |(o, _)| (span.start.min(o.start), span.end.max(o.end)));
        let first = self.source.line(start);
        let base = self.source.line_start(first);
        let lines = masked.get(base..self.source.line_start(self.source.line(end) + 1)).unwrap_or_default();
        let within = |span: &Span| span.start - base..span.end - base;
        let mut snippet =
            Snippet::source(lines.trim_end_matches('\n')).line_start(first).path(self.source.name.as_str());
        snippet = snippet.annotation(AnnotationKind::Primary.span(within(span)));
        if let Some((span, label)) = other {
            snippet = snippet.annotation(AnnotationKind::Context.span(within(span)).label(*label));
        }
        snippet
    }

    fn summary(&self) -> String {
        let name = &self.source.name;
        match (self.list.len(), self.list.len().saturating_sub(SHOWN)) {
            (1, _) => format!("{name}: 1 problem"),
            (all, 0) => format!("{name}: {all} problems"),
            (all, hidden) => format!("{name}: {all} problems, the last {hidden} not shown"),
        }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().take(SHOWN).enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            match (&problem.place, self.position(problem)) {
                (_, Some((line, column))) => write!(f, "{}:{line}:{column}: ", self.source.name)?,
                (Place::WholeFile, None) => write!(f, "{}: ", self.source.name)?,
                (Place::File(_) | Place::Elsewhere, None) => {}
            }
            f.write_str(&normalize_untrusted_str(&format!("{}: {}", problem.fact, problem.remedy)))?;
        }
        if self.list.len() > SHOWN { write!(f, "\n{}", self.summary()) } else { Ok(()) }
    }
}
