//! The type of a size in bytes.

use serde_json::{Value as Json, json};

use super::raw::{Raw, ReadResult, invalid};
use super::values::ValueType;

pub(super) const KIB: u64 = 1024;
pub(super) const MIB: u64 = 1024 * KIB;
pub(super) const GIB: u64 = 1024 * MIB;

const UNITS: [(&str, u64); 3] = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];

/// A size between the two, inclusive: a number with a unit, or a number of bytes.
pub(super) struct ByteSize(pub(super) u64, pub(super) u64);

impl ValueType for ByteSize {
    type Value = u64;

    fn read(&self, raw: &Raw<'_>) -> ReadResult<u64> {
        let bytes = raw.number().and_then(|(_, number)| number.as_u64());
        let with_unit = || {
            let text = raw.text()?;
            let (number, unit) = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))?;
            number.trim_end().parse::<u64>().ok()?.checked_mul(*unit)
        };
        match bytes.or_else(with_unit).filter(|size| (self.0..=self.1).contains(size)) {
            Some(size) => Ok(size),
            None => invalid(format!("is {}", raw.describe()), format!("write {}", self.description())),
        }
    }

    fn show(&self, value: &u64) -> Option<String> {
        Some(shown(*value))
    }

    fn description(&self) -> String {
        format!("{} to {}", shown(self.0), shown(self.1))
    }

    fn schema(&self) -> Json {
        json!({ "anyOf": [
            { "type": "integer", "minimum": self.0, "maximum": self.1 },
            { "type": "string", "pattern": "^[0-9]+ *(KiB|MiB|GiB)$" },
        ] })
    }

    fn is_text(&self) -> bool {
        true
    }
}

fn shown(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes >= *unit && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_or_is_a_number_of_bytes() {
        let read = |text: &str| ByteSize(KIB, GIB).read(&Raw::Text(text)).ok();
        assert_eq!((read("10MiB"), read("64 KiB"), read("1GiB")), (Some(10 * MIB), Some(64 * KIB), Some(GIB)));
        assert_eq!((read("2048"), shown(10 * MIB), shown(1500)), (Some(2048), "10MiB".into(), "1500".into()));
        for wrong in ["", "10", "2GiB", "10MB", "-1MiB", "1.5MiB", "18446744073709551615GiB", "MiB", "big"] {
            assert_eq!(read(wrong), None, "{wrong:?}");
        }
    }
}
