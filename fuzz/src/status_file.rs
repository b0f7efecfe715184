//! Bytes as a status file.
//!
//! Whatever has no right checksum is refused, so an input is read as it is and once more as the body of a file whose
//! checksum is right.

use std::time::{Duration, SystemTime};

use ops_protocol::status_file::{FileFormat, StatusFile};
use ops_protocol::verdict::{Liveness, ReaderContext, judge};

const FORMATS: [FileFormat; 2] = [FileFormat::Ron, FileFormat::Json];

pub(super) fn run(input: &[u8]) {
    let framed = if input.first() == Some(&b'{') {
        frame(input, "  \"checksum\": \"crc32:", "\"\n}\n")
    } else {
        frame(input, "    checksum: \"crc32:", "\",\n)\n")
    };
    for bytes in [input, &framed] {
        if let Ok(file) = StatusFile::decode(bytes) {
            assert_damage_shows(bytes, input);
            FORMATS.into_iter().for_each(|format| assert_lasts(&file, format));
            assert_judged(file);
        }
    }
}

/// The body under a right checksum.
fn frame(body: &[u8], before: &str, after: &str) -> Vec<u8> {
    let sum = format!("{before}{:08x}{after}", crc32fast::hash(body));
    [body, sum.as_bytes()].concat()
}

/// One changed byte, chosen by the input, is enough.
fn assert_damage_shows(whole: &[u8], input: &[u8]) {
    let dice = crc32fast::hash(&[input, b"dice"].concat()).to_le_bytes();
    let place = usize::from(u16::from_le_bytes([dice[0], dice[1]])) % whole.len();
    let mut damaged = whole.to_vec();
    damaged[place] ^= dice[2].max(1);
    assert!(StatusFile::decode(&damaged).is_err(), "byte {place} xor {:#04x} is believed", dice[2].max(1));
    let cut = &whole[..place];
    assert!(StatusFile::decode(cut).is_err(), "{place} bytes of {} are believed", whole.len());
}

/// What was read is written, and read again as the same. Texts are compared: a moment that came with more digits than we
/// write lasts from the first writing on.
fn assert_lasts(file: &StatusFile, format: FileFormat) {
    let once = file.encode(format).expect("what was read can be written");
    let again = match StatusFile::decode(once.as_bytes()) {
        Ok(again) => again,
        // Read from a body near the limit, it may be longer than a file may be in our own layout.
        Err(error) => {
            assert!(once.len() > ops_protocol::status_file::MAX_BYTES, "{error} in {once}");
            return;
        }
    };
    assert_eq!(again.encode(format).expect("as before"), once);
    assert_damage_shows(once.as_bytes(), once.as_bytes());
}

/// Any file that can be read can be judged, however odd its times.
fn assert_judged(file: StatusFile) {
    let wall = SystemTime::UNIX_EPOCH + Duration::from_secs(1_764_928_800);
    let boot_id = file.boot_id.clone();
    let start = file.process_start;
    for (writer, boot_id, boottime) in [
        (Liveness::Alive { start }, Some(boot_id), Duration::from_secs(3600)),
        (Liveness::Alive { start: 1 }, None, Duration::ZERO),
        (Liveness::Unproven, Some(String::new()), Duration::MAX),
        (Liveness::Gone, None, Duration::from_secs(1)),
    ] {
        let sight = ReaderContext { writer, boot_id, expected: None, wall, boottime, max_age: Duration::from_secs(90) };
        let said = judge(Ok(&file), &sight).to_string();
        assert!(!said.contains(|c: char| c.is_control()), "a terminal would obey this: {said:?}");
    }
}
