//! The keys of an agent's process.

use std::collections::BTreeMap;

use nix::unistd::Uid;

use super::accounts::{find_group, find_user};
use super::daemon_schema::Context;
use super::host_checks::PathUse;
use super::key::Reload::NewProcess;
use super::key::{Key, key};
use super::numbers::Signed;
use super::process::{LimitedResource, ProcessAttributes, ProcessSettings, Variables};
use super::process_values::{AccountName, EnvFilePath, EnvMap, ResourceLimit, Umask};
use super::raw::ValueError;
use super::reader::Sourced;
use super::scope::Scope;
use super::values::OrEmpty;

const ENV: Key<EnvMap> = key(
    "env",
    EnvMap,
    NewProcess,
    "Variables that are added to the environment of the program. Their values are in no answer and no log.",
);

const ENV_FILE: Key<OrEmpty<EnvFilePath>> = key(
    "env_file",
    OrEmpty(EnvFilePath),
    NewProcess,
    "A file with `NAME=value` lines, read at each start. A variable of the same name in `env` replaces that of the \
     file. With a `-` before the path the file may be missing.",
);

/// Reads the keys of an agent's process.
pub(super) fn process(item: &Scope<'_>, context: &Context<'_, '_>) -> ProcessSettings {
    let env = item.value(&ENV, Variables::default());
    let env_file = item.sourced(&ENV_FILE, None);
    if let Some(file) = &env_file.value {
        item.uses_path(PathUse::EnvFile(file.clone()), ENV_FILE.name, &env_file);
    }
    ProcessSettings { env, env_file: env_file.value, attributes: attributes(item, context) }
}

/// Reads the user and the group. `validate` also finds out whether they can be used, which may ask a name service.
fn account(item: &Scope<'_>, context: &Context<'_, '_>) -> (Option<String>, Option<String>) {
    let user = key(
        "user",
        OrEmpty(AccountName),
        NewProcess,
        "The user that the program runs as, with the groups of that user. A work directory that the daemon makes \
         belongs to that user. Needs root. Empty: the user of the daemon.",
    );
    let group = key(
        "group",
        OrEmpty(AccountName),
        NewProcess,
        "The group of the program instead of that of its user. Needs root. Empty: the group of the user.",
    );
    let (user, group) = (item.sourced(&user, None), item.sourced(&group, None));
    if context.files.are_checked() {
        let is_known = |name: &str| !matches!(find_user(name), Ok(None));
        judge_account(item, &user, "user", is_known);
        let is_known = |name: &str| !matches!(find_group(name), Ok(None));
        judge_account(item, &group, "group", is_known);
    }
    (user.value, group.value)
}

/// Reports a name that a start would refuse.
fn judge_account(item: &Scope<'_>, given: &Sourced<Option<String>>, key: &str, is_known: impl Fn(&str) -> bool) {
    let Some(name) = &given.value else { return };
    let error = if !Uid::effective().is_root() {
        let remedy = format!("run the daemon as root, or remove `{key}`");
        ValueError { fact: "needs root, which this user is not".to_owned(), remedy }
    } else if !is_known(name) {
        let remedy = format!("create the {key}, or correct `{key}`");
        ValueError { fact: format!("is `{name}`, a {key} that does not exist"), remedy }
    } else {
        return;
    };
    item.report(given, key, error);
}

fn attributes(item: &Scope<'_>, context: &Context<'_, '_>) -> ProcessAttributes {
    let (user, group) = account(item, context);
    let umask = key("umask", OrEmpty(Umask), NewProcess, "The umask of the process. Empty: that of the daemon.");
    let nice = key(
        "nice",
        Signed(-20, 19),
        NewProcess,
        "The nice value of the process. Absent: that of the daemon. A lower one needs root.",
    );
    let oom_score_adj = key(
        "oom_score_adj",
        Signed(-1000, 1000),
        NewProcess,
        "The higher, the sooner the kernel kills the process when memory runs out. Absent: that of the daemon. A \
         lower one needs root.",
    );
    ProcessAttributes {
        user,
        group,
        umask: item.value(&umask, None),
        nice: item.optional(&nice, "0").map(|given| given.value),
        oom_score_adj: item.optional(&oom_score_adj, "0").map(|given| given.value),
        limits: limits(item),
    }
}

fn limits(item: &Scope<'_>) -> BTreeMap<LimitedResource, Option<u64>> {
    let limits = item.section(
        "limits",
        "Limits of each process, soft and hard. An absent one is that of the daemon. A higher one than that of the \
         daemon needs root.",
    );
    let limit = |resource: LimitedResource| {
        let (doc, example) = match resource {
            LimitedResource::OpenFiles => ("The number of open files.", "1024"),
            LimitedResource::Processes => ("The number of processes and threads of its user.", "4096"),
            LimitedResource::Core => ("The size of a core file, in bytes.", "0"),
            LimitedResource::AddressSpace => ("The size of the address space, in bytes.", "4294967296"),
            LimitedResource::FileSize => {
                ("The size of a file that it writes, in bytes, also of its log.", "1073741824")
            }
            LimitedResource::LockedMemory => ("The memory that it may lock, in bytes.", "65536"),
        };
        let given = limits.optional(&key(resource.key(), ResourceLimit, NewProcess, doc), example);
        given.map(|given| (resource, given.value))
    };
    LimitedResource::ALL.into_iter().filter_map(limit).collect()
}
