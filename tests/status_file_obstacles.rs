//! Obstacles on disk: removed directories and lock files, full and read-only disks. Each error names its remedy.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use ops_agent::testing::agent::status_file::{OpenError, StatusWriter};
use ops_protocol::status_file::ReadError;
use ops_runtime::durable::{FileAccess, Step};
use ops_runtime::observe::read_status;
use test_requirements::requires;

use crate::status_file_text::sample;
use crate::status_file_writer::{names, numbered, open, temp_path, write};

#[test]
fn a_removed_directory_is_an_error_until_it_is_back() {
    let (directory, _) = temp_path();
    let path = directory.path().join("state/agent-001.ron");
    let state = path.parent().unwrap();
    let (writer, found) = open(&path);
    write(&writer, numbered(1)).unwrap();
    fs::remove_dir_all(state).unwrap();
    let error = write(&writer, numbered(2)).unwrap_err();
    assert_eq!(error.step, Step::OpenDirectory);
    assert!(error.to_string().contains("the directory is missing: create it"), "{error}");
    fs::create_dir(state).unwrap();
    write(&writer, numbered(3)).unwrap();
    assert_eq!(read_status(&path).unwrap(), numbered(3));
    assert!(
        matches!(StatusWriter::open(&path, false, FileAccess::PRIVATE), Err(OpenError::Locked(_, Some(_)))),
        "the lock came along"
    );
    // Another directory under the same name, while the old one was renamed.
    fs::rename(state, directory.path().join("moved")).unwrap();
    fs::create_dir(state).unwrap();
    write(&writer, numbered(4)).unwrap();
    assert_eq!(read_status(&path).unwrap(), numbered(4));
    drop(writer);
    fs::remove_file(&path).unwrap();
    assert_eq!(open(&path).1.incarnation, found.incarnation + 1, "the incarnation came along, too");
}

#[test]
fn removing_the_lock_file_does_not_let_two_agents_write_the_same_file() {
    let (_directory, path) = temp_path();
    let (first, _) = open(&path);
    write(&first, numbered(1)).unwrap();
    fs::remove_file(path.with_extension("ron.lock")).unwrap();
    // No other agent came in between, so the first takes the lock again.
    write(&first, numbered(2)).unwrap();
    assert!(matches!(StatusWriter::open(&path, false, FileAccess::PRIVATE), Err(OpenError::Locked(..))));
    // Another agent did: the first stops writing and reports why, until the other is gone.
    fs::remove_file(path.with_extension("ron.lock")).unwrap();
    let (second, _) = open(&path);
    write(&second, numbered(3)).unwrap();
    let error = write(&first, numbered(2)).unwrap_err();
    assert_eq!(error.step, Step::Lock);
    let cause = error.source.to_string();
    assert!(cause.contains(&format!("pid {}", std::process::id())), "{cause}");
    assert_eq!(read_status(&path).unwrap(), numbered(3));
    drop(second);
    write(&first, numbered(4)).unwrap();
    assert_eq!(read_status(&path).unwrap(), numbered(4));
}

#[test]
fn a_directory_in_place_of_the_file_is_an_error_until_it_is_gone() {
    let (directory, path) = temp_path();
    let (writer, _) = open(&path);
    fs::create_dir(&path).unwrap();
    let error = write(&writer, sample()).unwrap_err();
    assert_eq!(error.step, Step::Rename);
    assert!(error.to_string().contains("a directory is in its place: remove it"), "{error}");
    assert!(matches!(read_status(&path), Err(ReadError::NotAFile)));
    fs::remove_dir(&path).unwrap();
    write(&writer, sample()).unwrap();
    assert_eq!(names(directory.path()), ["agent-001.ron", "agent-001.ron.lock"]);
}

#[requires("tmpfs")]
#[test]
fn a_full_disk_is_an_error_with_a_remedy_until_space_is_free() {
    let (directory, _) = temp_path();
    let disk = SmallDisk::mount(directory.path());
    let path = disk.0.join("agent-001.ron");
    let (writer, _) = open(&path);
    write(&writer, numbered(1)).unwrap();
    let filler = disk.0.join("filler");
    let full = fs::write(&filler, vec![0; 1 << 20]).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    let error = write(&writer, numbered(2)).unwrap_err();
    assert_eq!(error.step, Step::Write);
    assert!(error.to_string().contains("disk full: free space"), "{error}");
    assert_eq!(read_status(&path).unwrap(), numbered(1));
    assert_eq!(names(&disk.0), ["agent-001.ron", "agent-001.ron.lock", "filler"], "nothing half is left to fill it");
    fs::remove_file(&filler).unwrap();
    write(&writer, numbered(3)).unwrap();
    assert_eq!(read_status(&path).unwrap(), numbered(3));
}

#[requires("tmpfs")]
#[test]
fn a_start_on_a_read_only_disk_fails_with_the_remedy_and_one_on_a_full_disk_does_not() {
    let (directory, _) = temp_path();
    let disk = SmallDisk::mount(directory.path());
    disk.remount("ro");
    let error = StatusWriter::open(&disk.0.join("agent-001.ron"), false, FileAccess::PRIVATE).unwrap_err();
    assert!(error.to_string().contains("read-only file system: mount it writable"), "{error}");
    disk.remount("rw");
    assert!(fs::write(disk.0.join("filler"), vec![0; 1 << 20]).is_err());
    let (writer, found) = open(&disk.0.join("agent-001.ron"));
    assert!(found.notes[0].contains("incarnation 1 not noted: disk full"), "{:?}", found.notes);
    write(&writer, numbered(1)).unwrap_err();
    fs::remove_file(disk.0.join("filler")).unwrap();
    write(&writer, numbered(2)).unwrap();
}

#[test]
fn a_reader_does_not_block_on_a_pipe_or_an_endless_file() {
    let (directory, path) = temp_path();
    make_fifo(&path);
    assert!(fs::symlink_metadata(&path).unwrap().file_type().is_fifo());
    assert!(matches!(read_status(&path), Err(ReadError::NotAFile)));
    assert!(matches!(read_status(Path::new("/dev/zero")), Err(ReadError::NotAFile)));
    assert!(matches!(read_status(directory.path()), Err(ReadError::NotAFile)));
    assert!(matches!(read_status(&directory.path().join("none")), Err(ReadError::Missing)));
    let huge = directory.path().join("huge");
    fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    assert!(fs::metadata(&huge).unwrap().size() > 0);
    assert!(matches!(read_status(&huge), Err(ReadError::Corrupt(_))));
}

pub(crate) fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// A file system of 64 KiB, which only root can mount.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(directory: &Path) -> Self {
        let disk = directory.join("disk");
        fs::create_dir(&disk).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"]).arg(&disk).output();
        assert!(mount.as_ref().is_ok_and(|output| output.status.success()), "{mount:?}");
        Self(disk)
    }

    fn remount(&self, how: &str) {
        let mount = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status().unwrap();
        assert!(mount.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
