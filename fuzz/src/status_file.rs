//! Bytes as a status file.
//!
//! A file without a correct checksum is refused. So an input is read as it is, and once more as the body of a file with a
//! correct checksum.

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
            assert_damage_is_found(bytes, input);
            FORMATS.into_iter().for_each(|format| assert_round_trip(&file, format));
            assert_judged(file);
        }
    }
}

/// The body with a correct checksum.
fn frame(body: &[u8], before: &str, after: &str) -> Vec<u8> {
    let sum = format!("{before}{:08x}{after}", crc32fast::hash(body));
    [body, sum.as_bytes()].concat()
}

/// A file with one changed byte or a missing end is refused. The input decides which byte.
fn assert_damage_is_found(file: &[u8], input: &[u8]) {
    let random = crc32fast::hash(&[input, b"dice"].concat()).to_le_bytes();
    let index = usize::from(u16::from_le_bytes([random[0], random[1]])) % file.len();
    let mut damaged = file.to_vec();
    damaged[index] ^= random[2].max(1);
    assert!(StatusFile::decode(&damaged).is_err(), "accepted with byte {index} xor {:#04x}", random[2].max(1));
    let cut = &file[..index];
    assert!(StatusFile::decode(cut).is_err(), "accepted with {index} bytes of {}", file.len());
}

/// A file that was read is written, and then read again as the same. The texts are compared, because a time with more digits
/// than the product writes loses them in the first write.
fn assert_round_trip(file: &StatusFile, format: FileFormat) {
    let once = file.encode(format).expect("what was read can be written");
    let again = match StatusFile::decode(once.as_bytes()) {
        Ok(again) => again,
        // A body near the limit may exceed it in the product's own layout.
        Err(error) => {
            assert!(once.len() > ops_protocol::status_file::MAX_BYTES, "{error} in {once}");
            return;
        }
    };
    assert_eq!(again.encode(format).expect("as before"), once);
    assert_damage_is_found(once.as_bytes(), once.as_bytes());
}

/// Every readable file can be judged, whatever its times are.
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
        let context = ReaderContext {
            writer,
            pid_namespace: u64::from(file.pid),
            boot_id,
            expected: None,
            wall,
            boottime,
            max_age: Duration::from_secs(90),
            ignores_own_limit: false,
        };
        let text = judge(Ok(&file), &context).to_string();
        assert!(!text.contains(|c: char| c.is_control()), "a control character: {text:?}");
    }
}
