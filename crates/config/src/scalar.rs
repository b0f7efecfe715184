//! The kind of a plain scalar in YAML's core schema: null, a boolean, a number, or text.
//!
//! The rules are those of `serde_yaml`, which checks each file as a whole. A test compares the two.
//! The tree already has the text of each scalar. A parser per scalar would cost more than the rest
//! of the reading.

/// The kind of a scalar.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    Number(Number),
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Whole(u64),
    Negative(i64),
    Float(f64),
}

impl Number {
    pub(super) fn as_u64(self) -> Option<u64> {
        if let Self::Whole(number) = self { Some(number) } else { None }
    }

    pub(super) fn as_i64(self) -> Option<i64> {
        match self {
            Self::Whole(number) => i64::try_from(number).ok(),
            Self::Negative(number) => Some(number),
            Self::Float(_) => None,
        }
    }

    /// The nearest float.
    pub(super) fn as_f64(self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the ranges that this is compared with are small")]
            Self::Whole(number) => number as f64,
            #[expect(clippy::cast_precision_loss, reason = "the ranges that this is compared with are small")]
            Self::Negative(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

/// The kind of an unquoted scalar.
pub(super) fn plain(text: &str) -> Scalar {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "true" | "True" | "TRUE" => Scalar::Bool(true),
        "false" | "False" | "FALSE" => Scalar::Bool(false),
        _ => number(text).map_or(Scalar::Text, Scalar::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    if let Some(number) = whole(negative, digits) {
        return number;
    }
    match digits {
        ".inf" | ".Inf" | ".INF" => Some(Number::Float(if negative { f64::NEG_INFINITY } else { f64::INFINITY })),
        ".nan" | ".NaN" | ".NAN" if digits.len() == text.len() => Some(Number::Float(f64::NAN)),
        _ => {
            let float: f64 = digits.parse().ok().filter(|float: &f64| float.is_finite())?;
            Some(Number::Float(if negative { -float } else { float }))
        }
    }
}

/// A whole number. `Some(None)`: text that looks like a number, with a leading zero or 65 to 128 bits. `None`: not a whole
/// number, or a decimal number of more than 128 bits, which is a float.
fn whole(negative: bool, digits: &str) -> Option<Option<Number>> {
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (&digits[2..], 16),
        Some("0o") => (&digits[2..], 8),
        Some("0b") => (&digits[2..], 2),
        _ => (digits, 10),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    if radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Some(None);
    }
    let signed = format!("-{digits}");
    let (number, fits_in_128_bits) = if negative {
        let negative = |number| if number == 0 { Number::Whole(0) } else { Number::Negative(number) };
        (i64::from_str_radix(&signed, radix).ok().map(negative), i128::from_str_radix(&signed, radix).is_ok())
    } else {
        (u64::from_str_radix(digits, radix).ok().map(Number::Whole), u128::from_str_radix(digits, radix).is_ok())
    };
    if fits_in_128_bits || radix != 10 { Some(number) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_yaml::Value;

    fn assert_agrees(text: &str) {
        let ours = plain(text);
        match serde_yaml::from_str::<Value>(text) {
            Ok(Value::Null) => assert_eq!(ours, Scalar::Null, "{text:?}"),
            Ok(Value::Bool(truth)) => assert_eq!(ours, Scalar::Bool(truth), "{text:?}"),
            Ok(Value::Number(number)) => {
                let Scalar::Number(ours) = ours else { panic!("{text:?} is the number {number}, not {ours:?}") };
                assert_eq!(ours.as_u64(), number.as_u64(), "{text:?}");
                let (ours, theirs) = (ours.as_f64(), number.as_f64().unwrap());
                assert!(
                    ours.total_cmp(&theirs).is_eq() || ours.is_nan() && theirs.is_nan(),
                    "{text:?}: {ours} {theirs}"
                );
            }
            Ok(Value::String(_) | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_)) | Err(_) => {
                assert_eq!(ours, Scalar::Text, "{text:?}");
            }
        }
    }

    #[test]
    fn special_scalars_have_the_kind_that_serde_yaml_gives_them() {
        for text in [
            "0",
            "-0",
            "+0",
            "00",
            "-07",
            "08",
            "0x1F",
            "-0x1F",
            "+0x1f",
            "0o17",
            "0b101",
            "-0b1",
            "0x",
            "0x-1",
            "0x+1",
            "1e3",
            "1e999",
            "-1e999",
            ".5",
            "5.",
            "-.5",
            "+.5",
            "1_000",
            ".inf",
            "+.inf",
            "-.Inf",
            ".nan",
            "-.nan",
            "+.NaN",
            "inf",
            "nan",
            "infinity",
            "-",
            "+",
            "--1",
            "+-1",
            "-+1",
            "~",
            "Null",
            "nULL",
            "TRUE",
            "yes",
            "on",
            "18446744073709551615",
            "18446744073709551616",
            "-9223372036854775808",
            "-9223372036854775809",
            "99999999999999999999999999999999999999999",
            "-99999999999999999999999999999999999999999",
            "340282366920938463463374607431768211456",
            "0xffffffffffffffffffffffffffffffffffffffff",
            "1.5e3",
            "0.0",
            "-0.0",
            "007.5",
            "1e-3",
            "0xffffffffffffffffff",
            "00x1",
            "30s",
            "1:30",
        ] {
            assert_agrees(text);
        }
    }

    proptest! {
        #[test]
        fn any_word_has_the_kind_that_serde_yaml_gives_it(text in "[-+]{0,2}(0[xob])?[0-9a-fA-F._eE+-]{0,24}") {
            // Text that begins with `- ` or ends a document is structure, not a scalar.
            prop_assume!(!text.is_empty() && text != "-" && !text.starts_with("---") && !text.starts_with("..."));
            assert_agrees(&text);
        }
    }
}
