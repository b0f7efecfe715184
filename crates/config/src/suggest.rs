//! Finds the name that somebody probably meant.

/// The nearest of `known` to `given`, if it is near enough to be what was meant.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name is as long: what is longer was not meant for one, and the distance is quadratic.
    if given.len() > 64 {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let allowed = given.chars().count().div_ceil(3);
    let longer = |name: &&&str| name.strip_prefix(given).is_some_and(|rest| rest.starts_with('_'));
    let near =
        known.iter().copied().map(|name| (distance(given, name), name)).filter(|&(distance, _)| distance <= allowed);
    let nearest = near.min_by_key(|&(distance, _)| distance).map(|(_, name)| name);
    nearest.or_else(|| known.iter().find(longer).copied())
}

/// How many letters have to be added, dropped, replaced, or swapped with their neighbour to make one name of the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = last[j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["interval", "timeout", "url"];
        assert_eq!(nearest("intreval", known), Some("interval"));
        assert_eq!(nearest("Timeout", known), Some("timeout"));
        assert_eq!(nearest("port", known), None);
        assert_eq!(nearest("socket", ["framing", "socket_path"]), Some("socket_path"));
        assert_eq!(nearest("", known), None);
    }
}
