//! Finds the files that a pattern means: `*` stands for any characters of a name, and `?` for one.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// The maximum number of names that are compared with one pattern.
const MAX_NAMES: usize = 65_536;

/// Whether a path is a pattern.
pub(super) fn is_pattern(path: &str) -> bool {
    path.contains(['*', '?'])
}

/// The existing paths that a pattern means, sorted. A relative one starts at `directory`. Directories are left out. Blocks on
/// the disk.
///
/// # Errors
///
/// If a directory exists and cannot be read, or has too many names.
pub(super) fn expand(directory: &Path, pattern: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = vec![directory.to_owned()];
    let mut compared = 0;
    for component in pattern.components() {
        let name = match component {
            Component::Normal(name) => name.to_str().filter(|name| is_pattern(name)),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
        };
        let Some(pattern) = name else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let mut next = Vec::new();
        for directory in &found {
            let listed = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
            let entries = match fs::read_dir(listed) {
                Ok(entries) => entries,
                Err(error) if is_no_directory(&error) => continue,
                Err(error) => return Err(error),
            };
            for entry in entries {
                compared += 1;
                if compared > MAX_NAMES {
                    return Err(io::Error::other(format!("more than {MAX_NAMES} names had to be compared")));
                }
                let name = entry?.file_name();
                if name.to_str().is_some_and(|name| matches(pattern, name)) {
                    next.push(directory.join(name));
                }
            }
        }
        found = next;
    }
    // A link to nothing stays, so that it is reported.
    found.retain(|path| path.symlink_metadata().is_ok() && !path.is_dir());
    found.sort_unstable();
    Ok(found)
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a name fits. As in a shell, a wildcard does not stand for a dot at the start, so hidden files are left out.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut in_name) = (0, 0);
    // The last `*`, and where in the name it ends. To try again, it takes one character more.
    let mut star: Option<(usize, usize)> = None;
    while in_name < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || name.get(in_name) == Some(wanted) => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((of_star, end)) = star else { return false };
                star = Some((of_star, end + 1));
                at = of_star + 1;
                in_name = end + 1;
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names_that_are_not_hidden() {
        for (pattern, name) in [
            ("*.yaml", "a.yaml"),
            ("*", "a"),
            ("a*c?e", "abbcde"),
            ("**", "x"),
            (".*", ".a"),
            ("*a*a*b", "aaaaab"),
            ("é?", "éß"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("*.yaml", "a.yaml~"), ("*", ".a"), ("?", ""), ("a?", "a"), ("a*b", "ac"), ("*aab", "ababa"), ("?", "ab")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
        assert!(!matches(&"*a".repeat(1000), &"a".repeat(900)), "in no more than quadratic time");
    }
}
