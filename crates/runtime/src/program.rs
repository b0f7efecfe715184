//! The name that the program was started with. `make install` installs it under another name than the build gives it.

use std::ffi::OsString;
use std::path::Path;
use std::sync::OnceLock;

/// The longest name that is taken over.
const MAX_LENGTH: usize = 64;

static NAME: OnceLock<String> = OnceLock::new();

/// Takes the name from the first argument of the process, or else the build's name.
pub fn started_as(arguments: &[OsString], built_as: &str) -> &'static str {
    NAME.get_or_init(|| name_in(arguments.first(), built_as).to_owned())
}

/// The name of this program in messages. Without [`started_as`], as in tests, it is `daemon`.
#[must_use]
pub fn name() -> &'static str {
    NAME.get().map_or("daemon", String::as_str)
}

/// A name is used in completions, which a shell executes. So it has only characters without a meaning for shells.
fn name_in<'a>(argument: Option<&'a OsString>, built_as: &'a str) -> &'a str {
    let is_plain = |name: &&str| {
        let mut characters = name.chars();
        let first = characters.next().is_some_and(|first| first.is_ascii_alphanumeric());
        first && name.len() <= MAX_LENGTH && characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    argument.and_then(|path| Path::new(path).file_name()?.to_str()).filter(is_plain).unwrap_or(built_as)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_that_of_the_first_argument_if_it_is_plain() {
        let name_of = |argument: &str| name_in(Some(&argument.into()), "daemon").to_owned();
        for (argument, expected) in [
            ("ops-daemon", "ops-daemon"),
            ("/usr/local/bin/ops-daemon", "ops-daemon"),
            ("./daemon", "daemon"),
            ("-sh", "daemon"),
            ("", "daemon"),
            ("/", "daemon"),
            ("a$(reboot)", "daemon"),
            ("a b", "daemon"),
            (&"a".repeat(65), "daemon"),
        ] {
            assert_eq!(name_of(argument), expected, "{argument:?}");
        }
        assert_eq!(name_in(None, "daemon"), "daemon");
    }
}
