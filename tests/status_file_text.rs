//! The text of a status file: a written file is read back equal, and any other text is rejected.

use std::time::{Duration, SystemTime};

use ops_protocol::Timestamp;
use ops_protocol::status_file::{
    DecodeError, Ended, FaultEntry, FileFormat, HeartbeatEntry, MAX_BYTES, Previous, SCHEMA, StatusFile,
    TransitionEntry,
};
use proptest::prelude::*;
use proptest::sample::select;
use statemachine::lifecycle::{Event, FaultName, State};
use strum::VariantArray as _;

const FORMATS: [FileFormat; 2] = [FileFormat::Ron, FileFormat::Json];

pub(crate) fn at(millis: u64) -> Timestamp {
    Timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
}

/// A running agent whose daemon was away before.
pub(crate) fn sample() -> StatusFile {
    let start = 1_764_928_800_000;
    let transition = |sequence, offset, from, to, event, cause: &str| TransitionEntry {
        sequence,
        at: at(start + offset),
        monotonic_ns: 5_000_000_000 + offset * 1_000_000,
        from,
        to,
        event,
        cause: cause.to_owned(),
    };
    StatusFile {
        schema: SCHEMA,
        agent_id: "agent-001".to_owned(),
        version: "0.1.0".to_owned(),
        pid: 4242,
        boot_id: "6a1f0a8e-0000-4000-8000-000000000001".to_owned(),
        process_start: 123_456,
        pid_namespace: 4_026_531_836,
        incarnation: 7,
        sequence: 120,
        state: State::Degraded,
        since: at(start + 60_000),
        cause: "fault heartbeat: connection refused".to_owned(),
        faults: vec![FaultEntry {
            name: FaultName::Heartbeat,
            since: at(start + 60_000),
            detail: "connection refused".to_owned(),
        }],
        started_at: at(start),
        updated_at: at(start + 70_000),
        updated_boottime_ns: 75_000_000_000,
        valid_until: at(start + 100_000),
        http: Some("127.0.0.1:8081".parse().unwrap()),
        https: false,
        heartbeat: HeartbeatEntry {
            last_success: Some(at(start + 40_000)),
            sent: 2,
            failed: 3,
            consecutive_failures: 3,
            endpoint: Some("http://127.0.0.1:8080/heartbeat".to_owned()),
        },
        previous: Some(Previous { ended: Ended::Unclean, state: State::Running, pid: 4111 }),
        history: vec![
            transition(119, 12, State::Starting, State::Running, Event::Proved, "every required part works"),
            transition(
                120,
                60_000,
                State::Running,
                State::Degraded,
                Event::FaultRaised,
                "fault heartbeat: connection refused",
            ),
        ],
    }
}

#[test]
fn a_person_can_read_it() {
    insta::assert_snapshot!("ron", sample().encode(FileFormat::Ron).unwrap());
    insta::assert_snapshot!("json", sample().encode(FileFormat::Json).unwrap());
}

#[test]
fn every_flipped_byte_is_detected() {
    for format in FORMATS {
        let bytes = sample().encode(format).unwrap().into_bytes();
        for place in 0..bytes.len() {
            for flip in [1, 2, 4, 8, 16, 32, 64, 128, 0xff_u8] {
                let mut flipped = bytes.clone();
                flipped[place] ^= flip;
                assert!(StatusFile::decode(&flipped).is_err(), "{format:?}: byte {place} xor {flip:#04x}");
            }
        }
    }
}

#[test]
fn half_a_file_is_reported_as_torn() {
    for format in FORMATS {
        let bytes = sample().encode(format).unwrap().into_bytes();
        assert_eq!(StatusFile::decode(&[]), Err(DecodeError::Empty));
        for length in 1..bytes.len() {
            assert_eq!(StatusFile::decode(&bytes[..length]), Err(DecodeError::Torn), "{format:?}, {length} bytes");
        }
        // As after a power cut: the file has its length, but not its data.
        for length in 0..bytes.len() {
            let mut holed = bytes.clone();
            holed[length..].fill(0);
            assert_eq!(StatusFile::decode(&holed), Err(DecodeError::Nuls), "{format:?}, {length} bytes");
        }
    }
}

#[test]
fn an_edited_file_is_reported_as_edited() {
    let text = sample().encode(FileFormat::Ron).unwrap();
    let edited = text.replace("state: Degraded", "state: Running ");
    assert_ne!(edited, text);
    assert_eq!(StatusFile::decode(edited.as_bytes()), Err(DecodeError::Edited));
}

#[test]
fn another_kind_of_file_is_reported_as_such() {
    for other in ["agent_id: agent-001\n", "{}", "()", "[1, 2]", "hello", "\u{feff}(\n    schema: 1"] {
        assert_eq!(StatusFile::decode(other.as_bytes()), Err(DecodeError::NotAStatusFile), "{other:?}");
    }
    assert_eq!(StatusFile::decode(&vec![b'('; MAX_BYTES + 1]), Err(DecodeError::TooLong(MAX_BYTES + 1)));
}

#[test]
fn a_newer_schema_is_reported_as_newer() {
    for format in FORMATS {
        let mut newer = sample();
        newer.schema = 7;
        let same_words = newer.encode(format).unwrap();
        assert_eq!(StatusFile::decode(same_words.as_bytes()), Err(DecodeError::NewerSchema(7)));
        let other_words = reframed(format, |body| body.replace("Degraded", "Hibernating"), &newer);
        assert_eq!(StatusFile::decode(other_words.as_bytes()), Err(DecodeError::NewerSchema(7)));
    }
}

#[test]
fn an_unknown_field_is_ignored() {
    let ron = |body: String| body + "    color: (good: Some([1, 2]), word: \"x\"),\n";
    let json = |body: String| body + "  \"color\": {\"good\": [1, 2]},\n";
    let texts = [
        reframed(FileFormat::Ron, |body| ron(body.to_owned()), &sample()),
        reframed(FileFormat::Json, |body| json(body.to_owned()), &sample()),
    ];
    for text in texts {
        assert_eq!(StatusFile::decode(text.as_bytes()), Ok(sample()), "{text}");
    }
}

#[test]
fn the_longest_file_that_an_agent_can_write_is_read_again() {
    let mut longest = sample();
    // The character with the longest escape, in texts of the maximum length.
    let text = "\u{1}".repeat(512);
    longest.cause.clone_from(&text);
    longest.heartbeat.endpoint = Some(text.clone());
    longest.faults =
        FaultName::VARIANTS.iter().map(|name| FaultEntry { name: *name, since: at(0), detail: text.clone() }).collect();
    let transition = TransitionEntry { cause: text, ..longest.history[0].clone() };
    longest.history = vec![transition; statemachine::lifecycle::HISTORY];
    for format in FORMATS {
        let encoded = longest.encode(format).unwrap();
        assert!(encoded.len() < MAX_BYTES / 2, "{format:?}: {} bytes", encoded.len());
        assert_eq!(StatusFile::decode(encoded.as_bytes()), Ok(longest.clone()));
    }
}

/// A new word in the file needs a new schema version, because older readers would call the file malformed.
#[test]
fn the_vocabulary_is_that_of_the_schema() {
    let vocabulary = (SCHEMA, State::VARIANTS, Event::VARIANTS, FaultName::VARIANTS);
    insta::assert_debug_snapshot!("vocabulary", vocabulary);
}

/// A text with another body and a valid checksum.
fn reframed(format: FileFormat, change: impl Fn(&str) -> String, file: &StatusFile) -> String {
    let text = file.encode(format).unwrap();
    let body = change(&text[..text.find("    checksum").or_else(|| text.find("  \"checksum")).unwrap()]);
    let sum = crc32fast::hash(body.as_bytes());
    match format {
        FileFormat::Ron => format!("{body}    checksum: \"crc32:{sum:08x}\",\n)\n"),
        FileFormat::Json => format!("{body}  \"checksum\": \"crc32:{sum:08x}\"\n}}\n"),
    }
}

prop_compose! {
    fn moment()(millis in 0..253_402_300_799_999_u64) -> Timestamp { at(millis) }
}

prop_compose! {
    fn fault()(name in select(FaultName::VARIANTS), since in moment(), detail in any::<String>()) -> FaultEntry {
        FaultEntry { name, since, detail }
    }
}

prop_compose! {
    fn transition()(
        (sequence, monotonic_ns) in any::<(u64, u64)>(),
        at in moment(),
        (from, to) in (select(State::VARIANTS), select(State::VARIANTS)),
        event in select(Event::VARIANTS),
        cause in any::<String>(),
    ) -> TransitionEntry {
        TransitionEntry { sequence, at, monotonic_ns, from, to, event, cause }
    }
}

prop_compose! {
    fn heartbeat()(
        last_success in proptest::option::of(moment()),
        (sent, failed, consecutive_failures) in any::<(u64, u64, u32)>(),
        endpoint in any::<Option<String>>(),
    ) -> HeartbeatEntry {
        HeartbeatEntry { last_success, sent, failed, consecutive_failures, endpoint }
    }
}

prop_compose! {
    fn previous()(
        ended in select(vec![Ended::Clean, Ended::Forced, Ended::Failed, Ended::Unclean]),
        state in select(State::VARIANTS),
        pid in any::<u32>(),
    ) -> Previous {
        Previous { ended, state, pid }
    }
}

prop_compose! {
    fn status_file()(
        (agent_id, version, boot_id, cause) in any::<(String, String, String, String)>(),
        (pid, process_start, pid_namespace, incarnation) in any::<(u32, u64, u64, u64)>(),
        (sequence, updated_boottime_ns) in any::<(u64, u64)>(),
        state in select(State::VARIANTS),
        (since, started_at, updated_at, valid_until) in (moment(), moment(), moment(), moment()),
        // The text of a listener's IPv6 address has no flow and no scope.
        http in any::<Option<(std::net::IpAddr, u16)>>().prop_map(|address| address.map(Into::into)),
        https in any::<bool>(),
        heartbeat in heartbeat(),
        previous in proptest::option::of(previous()),
        faults in proptest::collection::vec(fault(), 0..4),
        history in proptest::collection::vec(transition(), 0..8),
    ) -> StatusFile {
        StatusFile {
            schema: SCHEMA, agent_id, version, pid, boot_id, process_start, pid_namespace, incarnation, sequence, state,
            since, cause,
            faults, started_at, updated_at, updated_boottime_ns, valid_until, http, https, heartbeat, previous, history,
        }
    }
}

proptest! {
    #[test]
    fn every_written_file_is_read_back_equal(file in status_file(), format in select(FORMATS.to_vec())) {
        let text = file.encode(format).unwrap();
        prop_assert_eq!(StatusFile::decode(text.as_bytes()), Ok(file));
    }

    #[test]
    fn arbitrary_bytes_are_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(StatusFile::decode(&bytes).is_err());
    }

    #[test]
    fn arbitrary_text_with_a_valid_checksum_never_panics(body in "\\PC{0,300}", format in select(FORMATS.to_vec())) {
        let text = reframed(format, |whole| format!("{}{body}", &whole[..14]), &sample());
        let _ = StatusFile::decode(text.as_bytes());
    }

    #[test]
    fn a_damaged_file_is_never_accepted(
        format in select(FORMATS.to_vec()),
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let whole = sample().encode(format).unwrap().into_bytes();
        let mut bytes = whole.clone();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        prop_assume!(bytes != whole);
        prop_assert!(StatusFile::decode(&bytes).is_err());
    }
}
