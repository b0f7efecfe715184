//! Problems of a configuration: the fact, the location and the remedy.

use std::cell::RefCell;
use std::fmt;

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use super::mask::mask;
use super::node::shifted;
use super::source::{Source, Span};

/// The number of problems that are shown. Further problems are only counted.
const SHOWN: usize = 50;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The full path of the key, such as `http.port`. `None`: the problem concerns the whole file.
    pub key: Option<String>,
    /// The fact. It names the key, the variable or the flag.
    pub fact: String,
    /// The remedy.
    pub remedy: String,
    pub(super) location: Location,
    /// Another location that the fact refers to, with a label.
    pub(super) other: Option<(Span, &'static str)>,
}

impl Problem {
    /// A problem at a location in the file. An empty key means the whole file.
    pub(super) fn at(key: &str, fact: String, remedy: String, span: Span) -> Self {
        let key = Some(key.to_owned()).filter(|key| !key.is_empty());
        Self { key, fact, remedy, location: Location::File(span), other: None }
    }

    /// Moves it by this number of bytes.
    pub(super) fn shift(&mut self, bytes: usize) {
        match &mut self.location {
            Location::File(span) => *span = shifted(span, bytes),
            whole @ Location::WholeFile => *whole = Location::File(bytes..bytes),
            Location::OutsideFile => {}
        }
        if let Some((span, _)) = &mut self.other {
            *span = shifted(span, bytes);
        }
    }
}

/// Collects problems, up to [`Self::MAX`]. The limit bounds the memory that a hostile file can use.
#[derive(Debug, Default)]
pub(super) struct ProblemList(RefCell<Vec<Problem>>);

impl ProblemList {
    const MAX: usize = 1000;

    pub(super) fn add(&self, problem: Problem) {
        if !self.is_full() {
            self.0.borrow_mut().push(problem);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= Self::MAX
    }

    pub(super) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    pub(super) fn take(&self) -> Vec<Problem> {
        self.0.take()
    }
}

/// The location of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    File(Span),
    /// The file as a whole.
    WholeFile,
    /// An environment variable or a flag, which the fact names.
    OutsideFile,
}

/// All problems, in the order of the file. Never empty.
///
/// `Display` gives one line per problem, for logs. [`Problems::render`] quotes the lines of the file, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    source: Source,
    list: Vec<Problem>,
    /// The file could not be read because the host lacks resources, which may change soon.
    transient: bool,
}

impl Problems {
    pub(super) fn new(source: Source, mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| match &problem.location {
            Location::WholeFile => (0, 0),
            Location::File(span) => (1, span.start),
            Location::OutsideFile => (2, 0),
        });
        // A problem in the defaults is found once for each agent.
        list.dedup_by(|one, other| one.location == other.location && one.fact == other.fact);
        for problem in &mut list {
            // A key may have several lines, but a fact must have one.
            problem.fact = problem.fact.replace(['\n', '\u{85}'], " ");
            problem.remedy = problem.remedy.replace(['\n', '\u{85}'], " ");
        }
        Self { source, list, transient: false }
    }

    /// Warnings as notes, one line each. Too many are only counted.
    pub(super) fn into_notes(self) -> Vec<String> {
        let hidden = self.list.len().saturating_sub(SHOWN);
        let lines = self.list.iter().take(SHOWN);
        let mut notes: Vec<String> = lines.map(|problem| self.line(problem)).collect();
        if hidden > 0 {
            notes.push(format!("{}: {hidden} more warnings are not shown", self.source.name()));
        }
        notes
    }

    /// One problem of the whole file, which could not be read.
    pub(super) fn whole_file(name: &str, fact: String, remedy: &str) -> Self {
        let problem =
            Problem { key: None, fact, remedy: remedy.to_owned(), location: Location::WholeFile, other: None };
        Self { source: Source::new(name, String::new()), list: vec![problem], transient: false }
    }

    /// Marks the problems as a temporary lack of resources on the host.
    pub(super) fn transient(self) -> Self {
        Self { transient: true, ..self }
    }

    /// Whether the cause is a temporary lack of resources on the host, and not the file.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.transient
    }

    /// The problems.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Problem> {
        self.list.iter()
    }

    /// Line and column of a problem, counted from 1, if it is in the file.
    #[must_use]
    pub fn position(&self, problem: &Problem) -> Option<(usize, usize)> {
        match &problem.location {
            Location::File(span) => Some((self.source.line(span.start), self.source.column(span.start))),
            Location::WholeFile | Location::OutsideFile => None,
        }
    }

    /// Each problem with the lines that it refers to, as a compiler shows them. Ends in a line feed.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        // The renderer replaces the control characters of ASCII. Terminals also interpret those from
        // U+0080 to U+009F. The replacement has the same length.
        let above_ascii = |c: char| ('\u{80}'..='\u{9f}').contains(&c);
        let masked: String = self.source.texts().map(mask).collect();
        let masked = masked.replace("\r\n", " \n").replace(above_ascii, "\u{a0}");
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
        let group = match &problem.location {
            Location::File(span) => {
                let other = problem.other.as_ref();
                let (here, elsewhere) = other.map_or((None, None), |other| {
                    let is_here = self.source.file_at(other.0.start) == self.source.file_at(span.start);
                    if is_here { (Some(other), None) } else { (None, Some(other)) }
                });
                let group = title.element(self.snippet(masked, span, here));
                let elsewhere = elsewhere.map(|(span, label)| self.context(masked, span, label));
                elsewhere.into_iter().fold(group, |group, snippet| group.element(snippet)).element(help)
            }
            Location::WholeFile => title.element(Origin::path(self.source.name())).element(help),
            Location::OutsideFile => title.element(help),
        };
        renderer.render(&[group])
    }

    /// Only the lines that the problem refers to. So the rest costs no time and is not shown.
    fn snippet<'a>(
        &'a self,
        masked: &'a str,
        span: &Span,
        other: Option<&(Span, &'static str)>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let (start, end) =
            other.map_or((span.start, span.end), |(o, _)| (span.start.min(o.start), span.end.max(o.end)));
        let (snippet, base) = self.lines(masked, &(start..end));
        let within = |span: &Span| span.start - base..span.end - base;
        let mut snippet = snippet.annotation(AnnotationKind::Primary.span(within(span)));
        if let Some((span, label)) = other {
            snippet = snippet.annotation(AnnotationKind::Context.span(within(span)).label(*label));
        }
        snippet
    }

    /// The lines in another file that the problem refers to.
    fn context<'a>(
        &'a self,
        masked: &'a str,
        span: &Span,
        label: &'static str,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let (snippet, base) = self.lines(masked, span);
        snippet.annotation(AnnotationKind::Context.span(span.start - base..span.end - base).label(label))
    }

    /// The whole lines of a span, and the byte at which they begin.
    fn lines<'a>(&'a self, masked: &'a str, span: &Span) -> (Snippet<'a, annotate_snippets::Annotation<'a>>, usize) {
        let range = self.source.whole_lines(span);
        let (base, first) = (range.start, self.source.line(range.start));
        let lines = masked.get(range).unwrap_or_default().trim_end_matches('\n');
        (Snippet::source(lines).line_start(first).path(self.source.name_at(span.start)), base)
    }

    /// A problem in one line, for logs.
    fn line(&self, problem: &Problem) -> String {
        let name = self.source.name();
        let place = match (&problem.location, self.position(problem)) {
            (Location::File(span), Some((line, column))) => {
                format!("{}:{line}:{column}: ", self.source.name_at(span.start))
            }
            (Location::WholeFile, None) => format!("{name}: "),
            (Location::File(_) | Location::OutsideFile, None) | (_, Some(_)) => String::new(),
        };
        place + &normalize_untrusted_str(&format!("{}: {}", problem.fact, problem.remedy))
    }

    fn summary(&self) -> String {
        let name = self.source.name();
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
            f.write_str(&self.line(problem))?;
        }
        if self.list.len() > SHOWN { write!(f, "\n{}", self.summary()) } else { Ok(()) }
    }
}
