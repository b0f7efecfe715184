//! The attributes of a process: how orders name them, and how the launcher sets them.

use std::fs;

use ops_config::daemon::{LimitedResource, ProcessAttributes};
use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, setpriority_process, setrlimit, umask};

use super::{Failure, LaunchStep};

/// The attributes as `NAME=value`.
pub(super) fn encode(attributes: &ProcessAttributes) -> Vec<String> {
    let ProcessAttributes { user, group, umask, nice, oom_score_adj, limits } = attributes;
    let text = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={value}"));
    let number = |name: &str, value: Option<i64>| value.map(|value| format!("{name}={value}"));
    let settings = [
        text("user", user),
        text("group", group),
        number("umask", umask.map(i64::from)),
        number("nice", nice.map(i64::from)),
        number("oom_score_adj", oom_score_adj.map(i64::from)),
    ];
    let limit = |(resource, limit): (&LimitedResource, &Option<u64>)| {
        format!("{}={}", resource.key(), limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string()))
    };
    settings.into_iter().flatten().chain(limits.iter().map(limit)).collect()
}

/// Reads what [`encode`] has written.
pub(super) fn decode<'a>(fields: impl Iterator<Item = &'a str>) -> Option<ProcessAttributes> {
    let mut attributes = ProcessAttributes::default();
    for field in fields {
        let (name, value) = field.split_once('=')?;
        match name {
            "user" => attributes.user = Some(value.to_owned()),
            "group" => attributes.group = Some(value.to_owned()),
            "umask" => attributes.umask = Some(value.parse().ok()?),
            "nice" => attributes.nice = Some(value.parse().ok()?),
            "oom_score_adj" => attributes.oom_score_adj = Some(value.parse().ok()?),
            _ => {
                let resource = LimitedResource::ALL.into_iter().find(|resource| resource.key() == name)?;
                let limit = if value == "-" { None } else { Some(value.parse().ok()?) };
                attributes.limits.insert(resource, limit);
            }
        }
    }
    Some(attributes)
}

/// Sets everything but the user and the limit on the address space, which the launcher itself may exceed.
pub(super) fn set(attributes: &ProcessAttributes) -> Result<(), Failure> {
    let ProcessAttributes { umask: mask, nice, oom_score_adj, limits, .. } = attributes;
    for (resource, limit) in limits.iter().filter(|(resource, _)| **resource != LimitedResource::AddressSpace) {
        set_limit(*resource, *limit)?;
    }
    if let Some(nice) = *nice {
        let done = setpriority_process(None, nice);
        done.map_err(|errno| Failure { step: LaunchStep::Nice, errno })?;
    }
    if let Some(adjustment) = oom_score_adj {
        let done = fs::write("/proc/self/oom_score_adj", adjustment.to_string());
        done.map_err(|error| Failure {
            step: LaunchStep::OomScoreAdj,
            errno: Errno::from_io_error(&error).unwrap_or(Errno::IO),
        })?;
    }
    if let Some(mask) = *mask {
        umask(Mode::from_raw_mode(mask));
    }
    Ok(())
}

/// Sets the limit on the address space, right before the program is executed.
pub(super) fn limit_address_space(attributes: &ProcessAttributes) -> Result<(), Failure> {
    let limit = attributes.limits.get(&LimitedResource::AddressSpace);
    limit.map_or(Ok(()), |limit| set_limit(LimitedResource::AddressSpace, *limit))
}

fn set_limit(resource: LimitedResource, limit: Option<u64>) -> Result<(), Failure> {
    let (kernels, step) = match resource {
        LimitedResource::OpenFiles => (Resource::Nofile, LaunchStep::OpenFiles),
        LimitedResource::Processes => (Resource::Nproc, LaunchStep::Processes),
        LimitedResource::Core => (Resource::Core, LaunchStep::Core),
        LimitedResource::AddressSpace => (Resource::As, LaunchStep::AddressSpace),
        LimitedResource::FileSize => (Resource::Fsize, LaunchStep::FileSize),
        LimitedResource::LockedMemory => (Resource::Memlock, LaunchStep::LockedMemory),
    };
    setrlimit(kernels, Rlimit { current: limit, maximum: limit }).map_err(|errno| Failure { step, errno })
}
