//! The plan of a simulated agent: what goes wrong, and when.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{Error, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::acts::{Act, Timing};
use super::values;
use ops_config::{Problems, parse_typed, read_typed};

/// The maximum number of steps.
const MAX_STEPS: usize = 100;
/// The maximum number of lives that a step lists.
const MAX_LIVES: usize = 100;

/// What an agent does wrong, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The log to which the agent appends what it does, one JSON line each. All starts of one agent share it.
    #[serde(deserialize_with = "path")]
    pub evidence: PathBuf,
    /// What goes wrong. At most 100 steps.
    #[serde(default, deserialize_with = "steps")]
    pub steps: Vec<Step>,
}

impl Plan {
    /// Reads a plan from a YAML or RON file of at most 64 KiB. Blocks on the disk.
    ///
    /// # Errors
    ///
    /// The first problem, with its place in the file.
    pub fn read(path: &Path) -> Result<Self, Problems> {
        read_typed(path)
    }

    /// Reads a plan from a text. The ending of `path` gives the format.
    ///
    /// # Errors
    ///
    /// The first problem, with its place in the text.
    pub fn parse(path: &Path, text: &[u8]) -> Result<Self, Problems> {
        parse_typed(path, text)
    }

    /// The plan as text, for a file whose name ends in `.yaml`.
    ///
    /// # Errors
    ///
    /// The path of the evidence is not UTF-8.
    pub fn to_yaml(&self) -> Result<String, serde_json::Error> {
        // JSON is YAML.
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}

/// One act, and when it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// How long after `from` it begins.
    #[serde(default, with = "values::duration")]
    pub at: Duration,
    /// From when on `at` counts.
    #[serde(default)]
    pub from: Origin,
    /// How long it lasts. Absent: until the process ends.
    #[serde(default, rename = "for", with = "values::optional_duration", skip_serializing_if = "Option::is_none")]
    pub lasts: Option<Duration>,
    /// The starts of the agent to which it applies.
    #[serde(default)]
    pub life: Lives,
    /// What happens.
    pub act: Act,
}

impl Step {
    /// A step of the first life that begins at once and lasts until the process ends.
    #[must_use]
    pub fn new(act: impl Into<Act>) -> Self {
        let (at, from, lasts, life) = (Duration::ZERO, Origin::default(), None, Lives::default());
        Self { at, from, lasts, life, act: act.into() }
    }

    fn check(&self) -> Result<(), String> {
        let name = self.act.info().name;
        match self.act.info().timing {
            Timing::Lasts => Ok(()),
            Timing::Once if self.lasts.is_some() => Err(format!("`{name}` has no duration: remove `for`")),
            Timing::Once => Ok(()),
            Timing::FromStart if self.from != Origin::Start || !self.at.is_zero() => {
                Err(format!("`{name}` begins with the start of the agent: remove `at` and `from`"))
            }
            Timing::FromStart => Ok(()),
        }
    }
}

/// From when on the time of a step counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The start of the process.
    #[default]
    Start,
    /// The first time that the agent is Running or Degraded.
    Ready,
}

/// The starts of the agent to which a step applies, counted from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lives {
    /// All of them.
    All,
    /// These.
    These(Vec<u64>),
}

impl Default for Lives {
    fn default() -> Self {
        Self::These(vec![1])
    }
}

impl Lives {
    /// Whether this start is one of them.
    #[must_use]
    pub fn contains(&self, life: u64) -> bool {
        match self {
            Self::All => true,
            Self::These(lives) => lives.contains(&life),
        }
    }
}

impl Serialize for Lives {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_str("all"),
            Self::These(lives) => match lives.as_slice() {
                [life] => serializer.serialize_u64(*life),
                lives => lives.serialize(serializer),
            },
        }
    }
}

impl<'de> Deserialize<'de> for Lives {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyForm;
        impl<'de> Visitor<'de> for AnyForm {
            type Value = Lives;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all`, a number from 1 on, or a list of numbers")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Lives, E> {
                if text == "all" { Ok(Lives::All) } else { Err(E::invalid_value(Unexpected::Str(text), &self)) }
            }

            fn visit_u64<E: Error>(self, life: u64) -> Result<Lives, E> {
                if life == 0 {
                    return Err(E::invalid_value(Unexpected::Unsigned(0), &self));
                }
                Ok(Lives::These(vec![life]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Lives, A::Error> {
                let mut lives = Vec::new();
                while let Some(life) = items.next_element::<values::Within<1, { u64::MAX }>>()? {
                    if lives.len() >= MAX_LIVES {
                        return Err(A::Error::custom(format!("this list is too long: keep at most {MAX_LIVES} lives")));
                    }
                    lives.push(life.get());
                }
                if lives.is_empty() {
                    return Err(A::Error::custom("this list is empty: write the number of a life, or `all`"));
                }
                Ok(Lives::These(lives))
            }
        }
        deserializer.deserialize_any(AnyForm)
    }
}

fn path<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let path = PathBuf::deserialize(deserializer)?;
    if path.file_name().is_none() {
        return Err(Error::custom("this names no file: write the path of the evidence log"));
    }
    Ok(path)
}

fn steps<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Step>, D::Error> {
    /// A step whose act fits its times.
    struct Checked(Step);
    impl<'de> Deserialize<'de> for Checked {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let step = Step::deserialize(deserializer)?;
            step.check().map_err(Error::custom)?;
            Ok(Self(step))
        }
    }
    struct Bounded;
    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<Step>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of steps")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Vec<Step>, A::Error> {
            let mut steps = Vec::new();
            while let Some(Checked(step)) = items.next_element()? {
                if steps.len() >= MAX_STEPS {
                    return Err(A::Error::custom(format!("the plan is too long: keep at most {MAX_STEPS} steps")));
                }
                steps.push(step);
            }
            Ok(steps)
        }
    }
    deserializer.deserialize_seq(Bounded)
}
