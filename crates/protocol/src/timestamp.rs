//! Wall-clock time on the wire: RFC 3339, UTC.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time on the wall clock, written as `2025-12-05T10:00:00.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub SystemTime);

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The formatter supports the years 1970 to 9999. A time outside of them is shown as the nearest limit.
        let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        write!(f, "{}", humantime::format_rfc3339_millis(self.0.clamp(SystemTime::UNIX_EPOCH, latest)))
    }
}

impl FromStr for Timestamp {
    type Err = humantime::TimestampError;

    /// Accepts any offset from UTC, because Go programs write local time.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let Some((local, ahead, offset)) = split_offset(text) else {
            return humantime::parse_rfc3339(text).map(Self);
        };
        let local = humantime::parse_rfc3339(&format!("{local}Z"))?;
        let utc = if ahead { local.checked_sub(offset) } else { local.checked_add(offset) };
        utc.map(Self).ok_or(humantime::TimestampError::OutOfRange)
    }
}

/// Splits off a `+08:00` or `-08:00` at the end. Returns the local time, whether it is ahead of UTC, and the offset.
fn split_offset(text: &str) -> Option<(&str, bool, Duration)> {
    let (local, offset) = text.split_at_checked(text.len().checked_sub("+00:00".len())?)?;
    let (sign, offset) = offset.split_at_checked(1)?;
    let (hours, minutes) = offset.split_once(':')?;
    let number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>().ok())?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let is_offset = matches!(sign, "+" | "-") && hours < 24 && minutes < 60;
    is_offset.then(|| (local, sign == "+", Duration::from_secs(hours * 3600 + minutes * 60)))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_with_an_offset_is_converted_to_utc() {
        let utc: Timestamp = "2025-12-05T10:00:00.5Z".parse().unwrap();
        for text in
            ["2025-12-05T18:00:00.500+08:00", "2025-12-05T04:30:00.500000000-05:30", "2025-12-05T10:00:00.5+00:00"]
        {
            assert_eq!(text.parse::<Timestamp>().unwrap(), utc, "{text}");
        }
        for text in
            ["", "+08:00", "2025-12-05", "2025-12-05T10:00:00", "2025-12-05T10:00:00+8:00", "2025-12-05T10:00:00+24:00"]
        {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
        assert!("1970-01-01T00:00:00é+08:00".parse::<Timestamp>().is_err());
    }
}
