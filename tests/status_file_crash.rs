//! Crash safety: if the writer is killed between any two system calls, the file is valid and holds the last
//! acknowledged write.
//!
//! The writer that is killed is this test binary, started again with [`PATH`] set. It writes as fast as it can.

use std::env;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use ops_agent::testing::agent::status_file::StatusWriter;
use ops_protocol::status_file::{ReadError, StatusFile};
use ops_runtime::durable::FileAccess;
use ops_runtime::observe::read_status;
use tempfile::TempDir;
use test_requirements::requires;

use crate::status_file_text::sample;

const PATH: &str = "STATUS_FILE_UNDER_TEST";
const WRITES: &str = "STATUS_FILE_WRITES";

/// The test that becomes the writer where [`PATH`] is set. It needs no tool, so it is never ignored.
const WRITER: &str = "status_file_crash::a_writer_killed_hundreds_of_times_at_random_always_leaves_a_valid_file";

/// Writes one status after another, and prints for each that it is on disk, or the error.
fn write_without_end(path: &Path) {
    let writes = env::var(WRITES).map_or(u64::MAX, |writes| writes.parse().unwrap());
    let (writer, found) = StatusWriter::open(path, false, FileAccess::PRIVATE).unwrap();
    for sequence in (found.sequence + 1..).take(usize::try_from(writes).unwrap_or(usize::MAX)) {
        let record = StatusFile { sequence, incarnation: found.incarnation, pid: std::process::id(), ..sample() };
        let printed = match smol::block_on(writer.write(record)) {
            Ok(()) => format!("wrote {sequence}\n"),
            Err(error) => format!("failed {error}\n"),
        };
        io::stdout().write_all(printed.as_bytes()).unwrap();
    }
}

fn writer(path: &Path, writes: Option<u64>, strace: &[&str]) -> Command {
    let (this, directory) = (env::current_exe().unwrap(), path.parent().unwrap());
    let mut command = match strace {
        [] => Command::new(this),
        options => {
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o"]).arg(path.with_extension("strace"));
            // Only system calls on the directory and on the temp file, which becomes the status file.
            command.arg("-P").arg(directory).arg("-P").arg(directory.join(".agent-001.ron.tmp")).arg("-P").arg(path);
            command.args(options).arg("--").arg(this);
            command
        }
    };
    command.args([WRITER, "--exact", "--nocapture"]);
    command.env(PATH, path).stdin(Stdio::null()).stdout(Stdio::piped());
    if let Some(writes) = writes {
        command.env(WRITES, writes.to_string());
    }
    command
}

/// The lines that the writer prints, from `wrote 1` on.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    let printed: BufReader<ChildStdout> = BufReader::new(child.stdout.take().unwrap());
    printed.lines().map_while(Result::ok).filter(|line| line.starts_with("wrote ") || line.starts_with("failed "))
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("wrote ")?.parse().ok()
}

fn temp_path() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent-001.ron");
    (directory, path)
}

#[test]
fn a_writer_killed_hundreds_of_times_at_random_always_leaves_a_valid_file() {
    if let Some(path) = env::var_os(PATH) {
        return write_without_end(Path::new(&path));
    }
    let seed = env::var("SEED").map_or_else(|_| u64::from(std::process::id()), |seed| seed.parse().unwrap());
    eprintln!("SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let (_directory, path) = temp_path();
    let mut last = 0;
    for incarnation in 1..=300 {
        let mut child = writer(&path, None, &[]).spawn().unwrap();
        let mut printed = lines(&mut child);
        for _ in 0..random.usize(1..4) {
            last = acknowledged(&printed.next().unwrap()).unwrap();
        }
        // This does not wait for anything. It makes the kill hit another instruction each time.
        thread::sleep(Duration::from_micros(random.u64(0..3000)));
        child.kill().unwrap();
        child.wait().unwrap();
        last = printed.filter_map(|line| acknowledged(&line)).last().unwrap_or(last);
        let file = read_status(&path).unwrap();
        assert!((last..=last + 1).contains(&file.sequence), "acknowledged {last}, on disk {}", file.sequence);
        assert_eq!(
            file,
            StatusFile { sequence: file.sequence, incarnation, pid: child.id(), ..sample() },
            "in incarnation {incarnation}"
        );
        last = file.sequence;
    }
}

/// The system calls of one write, with the number of each. strace counts per thread, and
/// consecutive writes are on the same thread. The
/// start of the process makes one `openat` and one `fsync` on another thread.
pub(crate) const STEPS: [(&str, u64); 5] = [("openat", 1), ("write", 1), ("fsync", 2), ("renameat", 1), ("close", 1)];

#[requires("strace")]
#[test]
fn a_writer_killed_at_each_system_call_of_a_write_leaves_a_valid_file() {
    let mut killed = 0;
    for (call, times) in STEPS {
        // The first write, and two that replace a file.
        for when in 1..=3 * times {
            let (directory, path) = temp_path();
            let inject = format!("inject={call}:signal=KILL:when={when}");
            let mut child = writer(&path, Some(3), &["-e", &inject]).spawn().unwrap();
            let last = lines(&mut child).filter_map(|line| acknowledged(&line)).last().unwrap_or(0);
            child.wait().unwrap();
            let what = format!("{call} number {when}");
            match read_status(&path) {
                Ok(file) => assert!((last..=last + 1).contains(&file.sequence), "{what}: {last}, {}", file.sequence),
                Err(ReadError::Missing) => assert_eq!(last, 0, "{what}"),
                Err(error) => panic!("{what}: {error:?}"),
            }
            killed += u64::from(last < 3);
            // And the next start works.
            let (writer, found) = StatusWriter::open(&path, false, FileAccess::PRIVATE).unwrap();
            assert!(found.incarnation == 2 || last == 0, "{what}: {found:?}");
            smol::block_on(writer.write(sample())).unwrap();
            assert_eq!(read_status(&path).unwrap(), sample());
            assert!(!directory.path().join(".agent-001.ron.tmp").exists(), "{what}");
        }
    }
    assert_eq!(killed, 18, "every injection must have hit");
}

#[requires("strace")]
#[test]
fn each_error_of_each_system_call_is_named_and_the_next_write_succeeds() {
    for (call, times) in STEPS {
        for error in ["EIO", "ENOSPC", "EROFS", "EDQUOT", "EMFILE"] {
            for when in times + 1..=2 * times {
                let (_directory, path) = temp_path();
                let inject = format!("inject={call}:error={error}:when={when}");
                let mut child = writer(&path, Some(3), &["-e", &inject]).spawn().unwrap();
                let printed: Vec<String> = lines(&mut child).collect();
                assert!(child.wait().unwrap().success());
                let what = format!("{call} number {when} says {error}: {printed:#?}");
                let [first, second, third] = &printed[..] else { panic!("{what}") };
                assert_eq!((acknowledged(first), acknowledged(third)), (Some(1), Some(3)), "{what}");
                // An error of close(2) comes after fsync(2) has succeeded, so the write is durable.
                assert_eq!(acknowledged(second).is_some(), call == "close", "{what}");
                assert_eq!(read_status(&path).unwrap().sequence, 3, "{what}");
            }
        }
    }
}

#[requires("strace")]
#[test]
fn an_interrupted_system_call_is_retried_without_an_error() {
    for (call, _) in STEPS {
        let (_directory, path) = temp_path();
        let inject = format!("inject={call}:error=EINTR:when=2");
        let mut child = writer(&path, Some(3), &["-e", &inject]).spawn().unwrap();
        assert!(lines(&mut child).eq(["wrote 1", "wrote 2", "wrote 3"]), "{call}");
        assert!(child.wait().unwrap().success());
    }
}

#[requires("strace")]
#[test]
fn the_file_is_on_disk_before_it_is_renamed_and_the_rename_before_it_is_acknowledged() {
    let (_directory, path) = temp_path();
    let trace = "trace=openat,write,fsync,renameat,close,unlinkat";
    let mut child = writer(&path, Some(3), &["-e", trace]).spawn().unwrap();
    assert_eq!(lines(&mut child).count(), 3);
    assert!(child.wait().unwrap().success());
    let trace = fs::read_to_string(path.with_extension("strace")).unwrap();
    let calls: Vec<&str> =
        trace.lines().filter_map(|line| line.split_ascii_whitespace().nth(1)?.split('(').next()).collect();
    let one = ["openat", "write", "fsync", "renameat", "fsync", "close"];
    assert!(calls.windows(18).any(|calls| calls == [one, one, one].concat()), "{trace}");
}
