//! Users and groups by name or number. May ask a name service.

use nix::unistd::{Gid, Group, Uid, User};

/// The user with this name. If there is none: the user with this number.
///
/// # Errors
///
/// The name service fails.
pub fn find_user(name: &str) -> nix::Result<Option<User>> {
    match (User::from_name(name), number(name)) {
        (Ok(None), Some(number)) => User::from_uid(Uid::from_raw(number)),
        (found, _) => found,
    }
}

/// The group with this name. If there is none: the group with this number.
///
/// # Errors
///
/// The name service fails.
pub fn find_group(name: &str) -> nix::Result<Option<Group>> {
    match (Group::from_name(name), number(name)) {
        (Ok(None), Some(number)) => Group::from_gid(Gid::from_raw(number)),
        (found, _) => found,
    }
}

/// The number, unless it is the one that means "unchanged" to the kernel.
fn number(name: &str) -> Option<u32> {
    let digits = name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|number| digits && *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_finds_its_account_and_only_a_number_does() {
        assert_eq!(find_user("0").unwrap(), find_user("root").unwrap());
        assert_eq!(find_group("0").unwrap(), find_group("root").unwrap());
        assert!(find_user("0").unwrap().is_some());
        for none in ["+0", "-1", "4294967295", "4294967296", "0x0", ""] {
            assert_eq!(number(none), None, "{none}");
        }
    }
}
