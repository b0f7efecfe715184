//! The saved registry is valid or quarantined, and one daemon at a time uses it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use ops_agent::testing::daemon::checks::CheckLimits;
use ops_agent::testing::daemon::registry::{DesiredAgent, Registry, SavedRegistry};
use ops_agent::testing::daemon::store::{Loaded, Store, StoreError};
use smol::block_on;
use statemachine::supervision::{BootId, Policy};
use statemachine::time::Now;
use tempfile::TempDir;

fn temp_dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn registry(ids: &[&str]) -> SavedRegistry {
    let boot: BootId = "6a1f0a8e-0000-4000-8000-000000000001".parse().unwrap();
    let wanted = |id: &&str| DesiredAgent {
        id: Arc::from(*id),
        enabled: true,
        depends_on: Box::default(),
        policy: Policy::default(),
        limits: CheckLimits::default(),
        fingerprint: 7,
    };
    let now = Now { monotonic: Duration::from_secs(1), wall: UNIX_EPOCH };
    Registry::open(now, boot, ids.iter().map(wanted).collect(), None, &[]).save(boot)
}

fn open(work_dir: &Path) -> (Store, Loaded) {
    Store::open(work_dir).unwrap()
}

#[test]
fn the_next_daemon_loads_what_the_last_one_saved() {
    let root = temp_dir();
    let work_dir = root.path().join("var/daemon");
    let (store, loaded) = open(&work_dir);
    assert!(loaded.registry.is_none() && loaded.notes.is_empty(), "{loaded:?}");
    block_on(store.save(registry(&["a"]))).unwrap();
    block_on(store.save(registry(&["a", "b"]))).unwrap();
    drop(store);
    let (_store, loaded) = open(&work_dir);
    assert_eq!(loaded.registry, Some(registry(&["a", "b"])));
    assert!(loaded.notes.is_empty(), "{loaded:?}");
}

#[test]
fn a_second_daemon_is_refused_with_the_pid_of_the_first() {
    let work_dir = temp_dir();
    let first = open(work_dir.path());
    let refused = Store::open(work_dir.path()).unwrap_err();
    let (pid, path) = (std::process::id(), work_dir.path().display());
    assert!(matches!(&refused, StoreError::Locked(_, Some(named)) if *named == pid));
    let expected = format!("another daemon (pid {pid}) uses {path}: stop it, or set another `work_dir`");
    assert_eq!(refused.to_string(), expected);
    drop(first);
    open(work_dir.path());
}

#[test]
fn a_damaged_registry_is_quarantined_and_reported() {
    let work_dir = temp_dir();
    let file = work_dir.path().join("registry.ron");
    block_on(open(work_dir.path()).0.save(registry(&["a"]))).unwrap();
    let whole = fs::read_to_string(&file).unwrap();
    for damaged in [&whole[..whole.len() / 2], "", &whole.replace("fingerprint: 7", "fingerprint: 8"), "\0\0\0\0"] {
        fs::write(&file, damaged).unwrap();
        let (store, loaded) = open(work_dir.path());
        assert!(loaded.registry.is_none());
        let note = loaded.notes.join("\n");
        assert!(note.contains("checksum of the saved registry is wrong; it is kept as"), "{note}");
        assert_eq!(fs::read_to_string(work_dir.path().join("registry.ron.corrupt")).unwrap(), damaged);
        block_on(store.save(registry(&["a"]))).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), whole, "and it goes on as if there had been none");
    }
}

#[test]
fn a_path_that_is_no_regular_file_is_not_overwritten() {
    let work_dir = temp_dir();
    fs::create_dir(work_dir.path().join("registry.ron")).unwrap();
    assert!(matches!(Store::open(work_dir.path()), Err(StoreError::NotAFile(_))));
}

#[test]
fn a_failed_save_is_reported_and_the_next_one_clears_it() {
    let root = temp_dir();
    let work_dir = root.path().join("daemon");
    let (store, _) = open(&work_dir);
    fs::rename(&work_dir, root.path().join("away")).unwrap();
    let error = block_on(store.save(registry(&["a"]))).unwrap_err();
    assert!(error.to_string().contains("not saved (open the directory failed): the directory is missing"), "{error}");
    fs::create_dir(&work_dir).unwrap();
    block_on(store.save(registry(&["a"]))).unwrap();
    drop(store);
    assert_eq!(open(&work_dir).1.registry, Some(registry(&["a"])));
}
