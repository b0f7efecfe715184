//! The user and groups of an agent. The launcher looks them up, because a name service may block.

use std::ffi::{CString, OsStr, OsString};
use std::path::Path;

use nix::unistd::{Gid, Uid, User, getgrouplist, setgroups, setresgid, setresuid};
use ops_config::daemon::{ProcessAttributes, find_group, find_user};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::super::environment::{USER_VARIABLES, name_of, variable};
use super::{Failure, LaunchStep};

/// The permissions of a work directory that the daemon has made and not yet given to the user. The sticky bit tells it
/// from one that an operator made.
pub(crate) const NOT_GIVEN: u32 = 0o1700;

/// The permissions of a work directory that belongs to its user.
const GIVEN: u32 = 0o750;

/// What the process becomes.
pub(super) struct Account {
    user: Option<User>,
    group: Gid,
    groups: Vec<Gid>,
}

impl Account {
    /// Looks up the user and the group. `None`: the process stays what it is.
    pub(super) fn look_up(attributes: &ProcessAttributes) -> Result<Option<Self>, Failure> {
        let user = attributes.user.as_deref().map(|name| found(LaunchStep::User, find_user(name))).transpose()?;
        let group = attributes.group.as_deref().map(|name| found(LaunchStep::Group, find_group(name)));
        let group = group.transpose()?.map(|group| group.gid);
        let Some(gid) = group.or(user.as_ref().map(|user| user.gid)) else { return Ok(None) };
        let groups = match &user {
            Some(user) => {
                let name = CString::new(user.name.as_str()).map_err(|_| at(LaunchStep::User)(Errno::INVAL))?;
                getgrouplist(&name, gid).map_err(|errno| failed(LaunchStep::Group, errno))?
            }
            None => vec![gid],
        };
        Ok(Some(Self { user, group: gid, groups }))
    }

    /// The variables that describe the user.
    pub(super) fn variables(&self) -> Vec<OsString> {
        let Some(user) = &self.user else { return Vec::new() };
        let shell = Some(user.shell.as_os_str()).filter(|shell| !shell.is_empty()).unwrap_or(OsStr::new("/bin/sh"));
        let name = OsStr::new(&user.name);
        let values = [user.dir.as_os_str(), name, name, shell];
        USER_VARIABLES.iter().zip(values).map(|(name, value)| variable(OsStr::new(name), value)).collect()
    }

    /// Gives the work directory to the user if the daemon has just made it.
    fn take_work_dir(&self, work_dir: &Path) -> Result<(), Failure> {
        let Some(user) = &self.user else { return Ok(()) };
        let step = at(LaunchStep::Give);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::open(work_dir, flags, Mode::empty()) {
            Ok(directory) => directory,
            // A link is of an operator, and so is what only an operator can open.
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(step(errno)),
        };
        let stat = rustix::fs::fstat(&directory).map_err(step)?;
        let (uid, gid) = (user.uid.as_raw(), self.group.as_raw());
        let owners = [rustix::process::geteuid().as_raw(), uid];
        if stat.st_mode & 0o7777 != NOT_GIVEN || !owners.contains(&stat.st_uid) {
            return Ok(());
        }
        // The permissions come last: until then, the next start gives it again.
        let (owner, group) = (rustix::fs::Uid::from_raw(uid), rustix::fs::Gid::from_raw(gid));
        rustix::fs::fchown(&directory, Some(owner), Some(group)).map_err(step)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(GIVEN)).map_err(step)
    }

    /// Becomes the user. There is no way back. Before that, gives the work directory to the user if it is new.
    pub(super) fn become_it(&self, work_dir: &Path) -> Result<(), Failure> {
        let step = |errno| failed(LaunchStep::Become, errno);
        setgroups(&self.groups).map_err(step)?;
        setresgid(self.group, self.group, self.group).map_err(step)?;
        self.take_work_dir(work_dir)?;
        let uid = self.user.as_ref().map_or_else(Uid::effective, |user| user.uid);
        setresuid(uid, uid, uid).map_err(step)
    }
}

/// What a name service has found. What it does not know is `ENOENT`.
fn found<T>(step: LaunchStep, found: nix::Result<Option<T>>) -> Result<T, Failure> {
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) | Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ESRCH) => Err(at(step)(Errno::NOENT)),
        Err(errno) => Err(failed(step, errno)),
    }
}

fn at(step: LaunchStep) -> impl Fn(Errno) -> Failure + Copy {
    move |errno| Failure { step, errno }
}

fn failed(step: LaunchStep, errno: nix::errno::Errno) -> Failure {
    Failure { step, errno: Errno::from_raw_os_error(errno as i32) }
}

/// The environment with the variables of the user, where it does not have them.
pub(super) fn with_variables(environment: Vec<OsString>, variables: Vec<OsString>) -> Vec<OsString> {
    let is_given = |wanted: &OsString| environment.iter().any(|given| name_of(given) == name_of(wanted));
    let missing: Vec<OsString> = variables.into_iter().filter(|wanted| !is_given(wanted)).collect();
    missing.into_iter().chain(environment).collect()
}
