//! What serde reports about a wrong value, as a fact and a remedy.

use std::fmt;

use serde::de::{self, Expected, Unexpected};

use crate::problem::Problem;
use crate::source::Span;
use crate::suggest;

/// The most names that a remedy lists.
const MAX_NAMES: usize = 60;

/// A wrong value. Its place is known one level further out.
#[derive(Debug)]
pub(crate) struct WrongValue {
    fact: String,
    remedy: String,
    span: Option<Span>,
}

impl WrongValue {
    pub(super) fn new(fact: String, remedy: String) -> Self {
        Self { fact, remedy, span: None }
    }

    /// A message in the form `fact: remedy`.
    pub(super) fn of_message(message: &str) -> Self {
        match message.rsplit_once(": ") {
            Some((fact, remedy)) => Self::new(fact.to_owned(), remedy.to_owned()),
            None => Self::new(message.to_owned(), "correct it".to_owned()),
        }
    }

    pub(super) fn of_unknown(what: &str, given: &str, known: &[&'static str]) -> Self {
        let remedy = match suggest::nearest(given, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "remove it".to_owned(),
            None => {
                let names: Vec<String> = known.iter().take(MAX_NAMES).map(|name| format!("`{name}`")).collect();
                format!("use one of {}", names.join(", "))
            }
        };
        Self::new(format!("unknown {what} `{given}`"), remedy)
    }

    pub(super) fn of_missing(key: &str) -> Self {
        Self::new(format!("`{key}` is missing"), "add it".to_owned())
    }

    pub(super) fn of_repeated(key: &str) -> Self {
        Self::new(format!("`{key}` is given twice"), "keep one of them".to_owned())
    }

    pub(super) fn of_type(given: &dyn fmt::Display, expected: &dyn fmt::Display) -> Self {
        Self::new(format!("this is {given}"), format!("write {expected}"))
    }

    /// Adds the place, if a deeper level has not done so.
    pub(super) fn at(self, span: Span) -> Self {
        Self { span: Some(self.span.unwrap_or(span)), ..self }
    }

    pub(super) fn into_problem(self) -> Box<Problem> {
        Box::new(Problem::at("", self.fact, self.remedy, self.span.unwrap_or_default()))
    }
}

impl fmt::Display for WrongValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.fact, self.remedy)
    }
}

impl std::error::Error for WrongValue {}

impl de::Error for WrongValue {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::of_message(&message.to_string())
    }

    fn invalid_type(given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::of_type(&Given(given), &expected)
    }

    fn invalid_value(given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::of_type(&Given(given), &expected)
    }

    fn unknown_variant(given: &str, known: &'static [&'static str]) -> Self {
        Self::of_unknown("name", given, known)
    }

    fn unknown_field(given: &str, known: &'static [&'static str]) -> Self {
        Self::of_unknown("key", given, known)
    }

    fn missing_field(key: &'static str) -> Self {
        Self::of_missing(key)
    }

    fn duplicate_field(key: &'static str) -> Self {
        Self::of_repeated(key)
    }
}

/// What the file has, in words.
struct Given<'a>(Unexpected<'a>);

impl fmt::Display for Given<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unexpected::Bool(truth) => write!(f, "the value {truth}"),
            Unexpected::Unsigned(number) => write!(f, "the number {number}"),
            Unexpected::Signed(number) => write!(f, "the number {number}"),
            Unexpected::Float(number) => write!(f, "the number {number}"),
            Unexpected::Str(text) => write!(f, "the text {text:?}"),
            Unexpected::Unit => f.write_str("empty"),
            Unexpected::Seq => f.write_str("a list"),
            Unexpected::Map => f.write_str("a section"),
            Unexpected::Char(_)
            | Unexpected::Bytes(_)
            | Unexpected::Option
            | Unexpected::NewtypeStruct
            | Unexpected::Enum
            | Unexpected::UnitVariant
            | Unexpected::NewtypeVariant
            | Unexpected::TupleVariant
            | Unexpected::StructVariant
            | Unexpected::Other(_) => write!(f, "{}", self.0),
        }
    }
}
