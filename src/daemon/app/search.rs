//! Finds the trees that an earlier daemon left running.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use statemachine::supervision::Identity;

use super::system_effects::SystemEffects;
use crate::daemon::effects::Unproved;
use crate::daemon::processes::{ProcessTable, Search, adopt};
use crate::daemon::registry::{AgentId, Registry};
use ops_config::daemon::find_user;
use ops_runtime::blocking;
use ops_runtime::clock::within;

/// The wait before the next search for processes of which nothing could be told.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long a name service may take for the users of agents without a record.
const NAMES_TIMEOUT: Duration = Duration::from_secs(10);

impl SystemEffects {
    /// Finds the registry's agents that have a tree already. Each is proved to be the agent's. Of others, it cannot be told.
    pub(super) async fn find_all(&self, registry: &Registry) -> (HashMap<AgentId, Identity>, Vec<Unproved>) {
        let (mut found, mut unproved) = (HashMap::new(), Vec::new());
        let users = self.users_without_a_record().await;
        let table = self.trees.scan().await;
        for (id, entry) in registry.iter() {
            let mut search = Unproved {
                id: AgentId::clone(id),
                registered: registry.recorded_process(id),
                user: users.get(id).copied(),
                scope: entry.machine().policy().stop.scope,
                why: String::new(),
            };
            let result = match &table {
                Ok(table) => self.find_in(table, &search).map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            match result {
                Ok(Some(main)) => drop(found.insert(AgentId::clone(id), main)),
                Ok(None) => {}
                Err(why) => {
                    search.why = why;
                    unproved.push(search);
                }
            }
        }
        (found, unproved)
    }

    /// Searches each second, until the tree is found or proved to be gone.
    pub(super) async fn search_until_known(&self, search: &Unproved) -> Option<Identity> {
        loop {
            async_io::Timer::after(SEARCH_INTERVAL).await;
            if let Ok(table) = self.trees.scan().await
                && let Ok(found) = self.find_in(&table, search)
            {
                return found;
            }
        }
    }

    fn find_in(&self, table: &ProcessTable, search: &Unproved) -> io::Result<Option<Identity>> {
        let Unproved { id, registered, user, scope, .. } = search;
        let search = Search { id, registered: *registered, record: self.starts.get(id), user: *user, scope: *scope };
        adopt(&self.trees, table, &self.key, &search)
    }

    /// The users that agents are configured to run as, where no record of a start tells. Empty if the name service does not answer.
    async fn users_without_a_record(&self) -> HashMap<AgentId, u32> {
        let named = self.named_users();
        if named.is_empty() {
            return HashMap::new();
        }
        let user = |(id, name): (AgentId, String)| Some((id, find_user(&name).ok()??.uid.as_raw()));
        let found = blocking::unblock(move || named.into_iter().filter_map(user).collect());
        within(NAMES_TIMEOUT, found).await.and_then(Result::ok).unwrap_or_default()
    }

    fn named_users(&self) -> Vec<(AgentId, String)> {
        let agents = self.agents.borrow();
        let without = agents.iter().filter(|(id, _)| self.starts.get(id).is_none());
        without.filter_map(|(id, agent)| Some((AgentId::clone(id), agent.user()?.to_owned()))).collect()
    }
}
