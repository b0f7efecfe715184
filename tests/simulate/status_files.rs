//! What a reader of the status file sees.

use std::fs;

use ops_protocol::status_file::{DecodeError, StatusFile};
use ops_runtime::clock;

use super::trial::Trial;
use crate::support::agent::wait_until;

/// An agent with a short refresh interval that does this from its readiness on, and marks in its evidence.
fn does(act: &str) -> Trial {
    Trial::configured(
        "state: { refresh: 500ms }\n",
        &format!(
            "{{ from: ready, at: 200ms, act: {act} }}\n{{ from: ready, at: 800ms, act: ignore_sigterm }}\n\
             {{ from: ready, at: 1500ms, act: leak_descriptors }}"
        ),
    )
}

#[test]
fn a_stale_file_keeps_its_content_and_a_touched_one_changes_its_time_only() {
    let (stale, touched) = (does("file_stale"), does("file_touched"));
    let look =
        |trial: &Trial| (fs::read(trial.file()).unwrap(), fs::metadata(trial.file()).unwrap().modified().unwrap());
    stale.begun(1, "ignore_sigterm");
    touched.begun(1, "ignore_sigterm");
    let before = (look(&stale), look(&touched));
    stale.begun(2, "leak_descriptors");
    touched.begun(2, "leak_descriptors");
    assert_eq!(look(&stale), before.0, "a refresh was due");
    wait_until("it is touched", || look(&touched).1 > before.1.1);
    assert_eq!(look(&touched).0, before.1.0);
}

#[test]
fn a_deleted_file_is_gone_and_a_missing_one_comes_back() {
    let (deleted, missing) = (does("file_deleted"), does("file_missing"));
    wait_until("it is missing", || !missing.file().exists());
    wait_until("it is back", || missing.file().exists());
    wait_until("it is missing again", || !missing.file().exists());
    deleted.begun(1, "ignore_sigterm");
    assert!(!deleted.file().exists());
    deleted.begun(2, "leak_descriptors");
    assert!(!deleted.file().exists());
}

#[test]
fn a_torn_file_is_torn() {
    let trial = does("file_torn");
    wait_until("it is torn", || {
        fs::read(trial.file()).is_ok_and(|bytes| StatusFile::decode(&bytes) == Err(DecodeError::Torn))
    });
}

#[test]
fn a_changed_record_is_valid_and_wrong() {
    let future = does("{ file_future: { by: 2h } }");
    let pid = does("{ file_pid: { pid: 4194304 } }");
    let old = does("{ file_incarnation: { back: 1 } }");
    let status = future.wait_for_status("it is from the future", |status| {
        status.updated_boottime_ns > u64::try_from(clock::boottime().as_nanos()).unwrap() + 3_600_000_000_000
    });
    assert!(status.updated_at.0 > clock::wall() && status.valid_until > status.updated_at);
    pid.wait_for_status("it names another process", |status| status.pid == 4_194_304);
    old.wait_for_status("it is old", |status| status.incarnation == 0);
}

#[test]
fn a_writer_that_hangs_is_the_fault_of_a_disk_that_does_not_answer() {
    let trial = does("hang_writer");
    let line = trial.agent.borrow_mut().wait_for_state("Degraded");
    assert!(line["cause"].as_str().unwrap().contains("the disk has not answered"), "{line}");
    assert_eq!(trial.status().unwrap().state.as_str(), "running", "the file is the one from before");
}
