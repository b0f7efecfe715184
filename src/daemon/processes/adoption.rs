//! What the next daemon does with the trees of an earlier one: it takes over what is proved, and nothing else.
//!
//! * A recorded main process that is alive is the agent.
//! * If the recorded one is gone, whatever carries the secret of its start, or is in the cgroup of its start, is what it left. It
//!   is stopped before a new start.
//! * With the stop scope `group`, only the recorded main process is looked for, since a stop leaves others running on purpose.
//! * Without a record, a process that carries a valid secret and leads a session is the agent. The oldest one counts, because an
//!   agent is older than what it starts.

use std::io;

use statemachine::supervision::{Identity, StopScope};

use super::identity::current_boot;
use super::secret::{IdentityKey, StartSecret};
use super::starts::StartRecord;
use super::table::{Key, ProcessTable};
use super::trees::Trees;

/// What is known of one agent.
#[derive(Debug)]
pub struct Search<'a> {
    /// The agent.
    pub id: &'a str,
    /// Its process in the registry.
    pub registered: Option<Identity>,
    /// The record of its last start.
    pub record: Option<StartRecord>,
    /// The user that it is configured to run as, for an agent without a record. `None`: that of the daemon.
    pub user: Option<u32>,
    /// Which processes its stop concerns.
    pub scope: StopScope,
}

/// Takes over the tree of one agent. `None`: no process of it is left.
///
/// # Errors
///
/// If `/proc` cannot be read. That proves nothing: try again.
pub fn adopt(
    trees: &Trees,
    table: &ProcessTable,
    key: &IdentityKey,
    search: &Search<'_>,
) -> io::Result<Option<Identity>> {
    let boot = current_boot()?;
    let record = search.record.as_ref();
    let recorded = record.and_then(StartRecord::process).filter(|process| process.boot == boot);
    let secret = record.and_then(StartRecord::secret);
    let user = record.map_or(search.user, StartRecord::user);
    for process in recorded.into_iter().chain(search.registered) {
        // The registry may be older than the record, so its process may have had another secret.
        let of_this_start = recorded == Some(process);
        if trees.adopt(process, secret.clone().filter(|_| of_this_start), user)? {
            return Ok(Some(process));
        }
    }
    if search.scope == StopScope::Group && recorded.is_some() {
        // What else carries a secret may be what a stop left running on purpose.
        return Ok(None);
    }
    if let (Some(main), Some(secret)) = (recorded, secret) {
        let mut left: Vec<Key> = carriers(table, user, |carried| *carried == secret);
        if let Some(cgroup) = trees.cgroup_of(&secret) {
            let members = cgroup.members().unwrap_or_else(|error| {
                tracing::warn!(agent_id = search.id, %error, "the agent's cgroup cannot be read: its members are found in /proc");
                Vec::new()
            });
            left.extend(members.into_iter().filter(|key| key.1 >= main.start_ticks));
        }
        if !left.is_empty() {
            trees.adopt_remainder(main, secret, user, left);
            return Ok(Some(main));
        }
    }
    let Some((pid, start_ticks, secret)) = oldest_leader(table, key, search.id, user) else { return Ok(None) };
    let main = Identity { pid, start_ticks, boot };
    Ok(trees.adopt(main, Some(secret), user)?.then_some(main))
}

/// The processes of this user, or of the daemon's, that carry a wanted secret.
fn carriers(table: &ProcessTable, user: Option<u32>, is_wanted: impl Fn(&StartSecret) -> bool) -> Vec<Key> {
    let wanted = table.secrets().filter(|(_, carried)| carried.is_of(user) && is_wanted(&carried.secret));
    wanted.filter_map(|(pid, _)| Some((pid, table.get(pid)?.start))).collect()
}

fn oldest_leader(
    table: &ProcessTable,
    key: &IdentityKey,
    id: &str,
    user: Option<u32>,
) -> Option<(u32, u64, StartSecret)> {
    let proved = carriers(table, user, |secret| key.proves(id, secret));
    let leaders = proved.into_iter().filter(|(pid, _)| table.get(*pid).is_some_and(|stat| stat.session == *pid));
    let (pid, start) = leaders.min_by_key(|(pid, start)| (*start, *pid))?;
    Some((pid, start, table.secret(pid)?.secret.clone()))
}
