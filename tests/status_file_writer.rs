//! The status file writer: one agent at a time, always a valid file, and errors that name the obstacle.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use ops_agent::testing::agent::status_file::{Found, OpenError, StatusWriter, WriteError};
use ops_protocol::status_file::{Ended, FileFormat, Previous, StatusFile};
use ops_runtime::durable::FileAccess;
use ops_runtime::observe::read_status;
use statemachine::lifecycle::{Event, State};
use tempfile::TempDir;

use crate::status_file_obstacles::make_fifo;
use crate::status_file_text::sample;

/// An empty directory, and the path of a status file in it.
pub(crate) fn temp_path() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent-001.ron");
    (directory, path)
}

pub(crate) fn open(path: &Path) -> (StatusWriter, Found) {
    StatusWriter::open(path, false, FileAccess::PRIVATE).unwrap()
}

pub(crate) fn write(writer: &StatusWriter, record: StatusFile) -> Result<(), WriteError> {
    smol::block_on(writer.write(record))
}

pub(crate) fn numbered(sequence: u64) -> StatusFile {
    StatusFile { sequence, ..sample() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_first_start_creates_files_readable_by_the_owner_only() {
    let (directory, _) = temp_path();
    let path = directory.path().join("var/lib/agent/agent-001.ron");
    let (writer, found) = open(&path);
    assert_eq!(found, Found { incarnation: 1, ..Found::default() });
    write(&writer, sample()).unwrap();
    assert_eq!(read_status(&path).unwrap(), sample());
    let state = path.parent().unwrap();
    assert_eq!(names(state), ["agent-001.ron", "agent-001.ron.lock"]);
    assert_eq!((mode(state), mode(&path), mode(&path.with_extension("ron.lock"))), (0o700, 0o600, 0o600));
}

#[test]
fn the_file_extension_selects_the_format_and_the_reader_detects_it() {
    let (directory, _) = temp_path();
    for (name, format) in [("a.json", FileFormat::Json), ("a.ron", FileFormat::Ron), ("a.state", FileFormat::Ron)] {
        let path = directory.path().join(name);
        write(&open(&path).0, sample()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), sample().encode(format).unwrap());
        assert_eq!(read_status(&path).unwrap(), sample());
    }
}

#[test]
fn the_next_run_continues_the_numbers_and_knows_how_the_last_one_ended() {
    let (_directory, path) = temp_path();
    let (writer, _) = open(&path);
    write(&writer, StatusFile { incarnation: 41, ..numbered(1000) }).unwrap();
    drop(writer);
    let (writer, found) = open(&path);
    let unclean = Previous { ended: Ended::Unclean, state: State::Degraded, pid: 4242 };
    assert_eq!(found, Found { incarnation: 42, sequence: 1000, previous: Some(unclean), notes: Vec::new() });
    let mut stopped = StatusFile { state: State::Stopped, incarnation: 42, ..numbered(1001) };
    stopped.history.last_mut().unwrap().event = Event::Drained;
    write(&writer, stopped).unwrap();
    drop(writer);
    let clean = Previous { ended: Ended::Clean, state: State::Stopped, pid: 4242 };
    assert_eq!(open(&path).1, Found { incarnation: 43, sequence: 1001, previous: Some(clean), notes: Vec::new() });
}

#[test]
fn a_second_instance_is_refused_with_the_pid_of_the_first() {
    let (_directory, path) = temp_path();
    let (writer, _) = open(&path);
    write(&writer, sample()).unwrap();
    let refused = StatusWriter::open(&path, false, FileAccess::PRIVATE).unwrap_err();
    assert!(matches!(refused, OpenError::Locked(_, Some(pid)) if pid == std::process::id()), "{refused:?}");
    let message = refused.to_string();
    assert!(message.contains(&format!("pid {}", std::process::id())) && message.contains("stop it"), "{message}");
    assert_eq!(read_status(&path).unwrap(), sample(), "the second must not touch the first one's file");
    drop(writer);
    open(&path);
}

#[test]
fn the_lock_file_of_a_dead_process_does_not_block_a_start() {
    let (_directory, path) = temp_path();
    fs::write(path.with_extension("ron.lock"), "incarnation 00000000000000000011 pid 0000000001\n").unwrap();
    assert_eq!(open(&path).1.incarnation, 12);
    fs::write(path.with_extension("ron.lock"), "\0\0 what is this \u{fffd}").unwrap();
    assert_eq!(open(&path).1.incarnation, 1);
}

#[test]
fn the_incarnation_never_goes_back() {
    let (_directory, path) = temp_path();
    let spoil: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&path).unwrap(),
        &|| fs::write(&path, "").unwrap(),
        &|| fs::write(&path, "incarnation: 0").unwrap(),
        &|| fs::remove_file(path.with_extension("ron.lock")).unwrap(),
    ];
    let mut last = 0;
    for spoil in spoil {
        let (writer, found) = open(&path);
        assert_eq!(found.incarnation, last + 1);
        last = found.incarnation;
        write(&writer, StatusFile { incarnation: last, ..sample() }).unwrap();
        drop(writer);
        spoil();
    }
    assert_eq!(open(&path).1.incarnation, last + 1);
}

#[test]
fn an_unreadable_file_is_quarantined_and_the_agent_starts() {
    let whole = sample().encode(FileFormat::Ron).unwrap().into_bytes();
    let cases: [(&[u8], &str); 5] = [
        (&[0; 4096], "NUL bytes"),
        (&whole[..whole.len() / 2], "torn"),
        (b"", "empty"),
        (b"agent_id: agent-001\n", "not a status file"),
        (&whole.iter().map(|byte| if *byte == b'7' { b'8' } else { *byte }).collect::<Vec<u8>>(), "checksum"),
    ];
    for (bytes, word) in cases {
        let (directory, path) = temp_path();
        fs::write(&path, bytes).unwrap();
        let (writer, found) = open(&path);
        let [note] = &found.notes[..] else { panic!("{:?}", found.notes) };
        assert!(note.contains(word) && note.contains("agent-001.ron.corrupt"), "{word}: {note}");
        assert_eq!((found.previous, found.incarnation), (None, 1));
        assert_eq!(fs::read(path.with_extension("ron.corrupt")).unwrap(), bytes);
        write(&writer, sample()).unwrap();
        assert_eq!(read_status(&path).unwrap(), sample());
        assert_eq!(names(directory.path()), ["agent-001.ron", "agent-001.ron.corrupt", "agent-001.ron.lock"]);
    }
}

#[test]
fn a_symbolic_link_in_its_place_is_replaced_and_not_followed() {
    let (directory, path) = temp_path();
    let target = directory.path().join("precious");
    fs::write(&target, "precious").unwrap();
    symlink(&target, &path).unwrap();
    let (writer, found) = open(&path);
    assert!(found.notes[0].contains("symbolic link"), "{:?}", found.notes);
    // A link that is created later, or in place of the temp file, is not followed either.
    symlink(&target, directory.path().join(".agent-001.ron.tmp")).unwrap();
    write(&writer, sample()).unwrap();
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(read_status(&path).unwrap(), sample());
    assert_eq!(fs::read_to_string(&target).unwrap(), "precious");
}

#[test]
fn a_path_that_is_no_regular_file_is_an_error_that_names_it() {
    let obstacles: [&dyn Fn(&Path); 2] = [&|path| fs::create_dir(path).unwrap(), &|path| make_fifo(path)];
    for name in ["agent-001.ron", "agent-001.ron.lock"] {
        for put in obstacles {
            let (directory, path) = temp_path();
            let obstacle = directory.path().join(name);
            put(&obstacle);
            let error = StatusWriter::open(&path, false, FileAccess::PRIVATE).unwrap_err();
            assert!(matches!(&error, OpenError::NotAFile(at) if *at == obstacle), "{name}: {error:?}");
            assert!(error.to_string().contains("remove it"), "{error}");
        }
    }
    let (directory, path) = temp_path();
    symlink(directory.path().join("elsewhere"), path.with_extension("ron.lock")).unwrap();
    assert!(matches!(StatusWriter::open(&path, false, FileAccess::PRIVATE), Err(OpenError::NotAFile(_))));
    assert!(!directory.path().join("elsewhere").exists());
}

#[test]
fn an_unusable_directory_is_an_error_with_its_cause() {
    let (directory, _) = temp_path();
    fs::write(directory.path().join("file"), "").unwrap();
    let error = StatusWriter::open(&directory.path().join("file/agent.ron"), false, FileAccess::PRIVATE).unwrap_err();
    assert!(error.to_string().contains("not a directory"), "{error}");
    assert!(matches!(StatusWriter::open(Path::new("/"), false, FileAccess::PRIVATE), Err(OpenError::NoName(_))));
    // As on a read-only file system: even root cannot create files there.
    let error = StatusWriter::open(Path::new("/proc/agent/agent.ron"), false, FileAccess::PRIVATE).unwrap_err();
    assert!(matches!(error, OpenError::Directory(..)), "{error:?}");
}

#[test]
fn a_directory_writable_by_others_is_a_warning_or_if_strict_an_error() {
    for writable in [0o777, 0o1777, 0o770, 0o702] {
        let (directory, path) = temp_path();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(writable)).unwrap();
        let (_writer, found) = open(&path);
        assert!(found.notes[0].contains("chmod go-w"), "{:?}", found.notes);
        let refused = StatusWriter::open(&path, true, FileAccess::PRIVATE).unwrap_err();
        assert!(matches!(refused, OpenError::Insecure(_, mode) if mode == writable), "{refused:?}");
    }
    let (directory, path) = temp_path();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    StatusWriter::open(&path, true, FileAccess::PRIVATE).unwrap();
}

#[test]
fn the_leftovers_of_a_killed_writer_are_removed_at_the_next_start() {
    let (directory, path) = temp_path();
    fs::write(directory.path().join(".agent-001.ron.tmp"), "(\n    schema").unwrap();
    fs::write(directory.path().join(".agent-002.ron.tmp"), "another agent's").unwrap();
    let (_writer, found) = open(&path);
    assert_eq!(found.notes.len(), 1, "{:?}", found.notes);
    assert_eq!(names(directory.path()), [".agent-002.ron.tmp", "agent-001.ron.lock"]);
}

#[test]
fn a_reader_sees_the_old_file_or_the_new_one_and_never_goes_back() {
    let (directory, path) = temp_path();
    let (writer, _) = open(&path);
    write(&writer, numbered(0)).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = Vec::new();
            while !done.load(Ordering::Relaxed) {
                seen.push(read_status(&path).unwrap().sequence);
            }
            seen
        });
        for sequence in 1..=500 {
            write(&writer, numbered(sequence)).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let seen = reader.join().unwrap();
        assert!(seen.is_sorted(), "{seen:?}");
    });
    assert_eq!(names(directory.path()), ["agent-001.ron", "agent-001.ron.lock"]);
}
