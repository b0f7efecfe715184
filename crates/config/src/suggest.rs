//! Finds the known name that is similar to an unknown one.

use strsim::osa_distance;

/// The most similar name in `known`, if it is similar enough to be a typing error.
pub(super) fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name is this long, and the distance takes quadratic time.
    if given.len() > 64 {
        return None;
    }
    let known: Vec<&str> = known.into_iter().collect();
    let allowed = given.chars().count().div_ceil(3);
    let lower = given.to_lowercase();
    let distances = known.iter().map(|&name| (osa_distance(&lower, &name.to_lowercase()), name));
    let nearest = distances.filter(|&(distance, _)| distance <= allowed).min_by_key(|&(distance, _)| distance);
    let longer = |name: &&&str| name.strip_prefix(given).is_some_and(|rest| rest.starts_with('_'));
    nearest.map(|(_, name)| name).or_else(|| known.iter().find(longer).copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similar_name_is_found_and_a_different_one_is_not() {
        let known = ["interval", "timeout", "url"];
        assert_eq!(nearest("intreval", known), Some("interval"));
        assert_eq!(nearest("Timeout", known), Some("timeout"));
        assert_eq!(nearest("port", known), None);
        assert_eq!(nearest("socket", ["framing", "socket_path"]), Some("socket_path"));
        assert_eq!(nearest("", known), None);
    }
}
