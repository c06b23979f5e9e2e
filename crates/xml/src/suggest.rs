//! The nearest known name to one that was misspelt.

/// The known name that a typing mistake most likely meant, if any is near enough.
///
/// Near means: at most a third of the characters differ (Damerau-Levenshtein), or only the case.
#[must_use]
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer input is no typing mistake, and the distance costs its square.
    if name.len() > 64 {
        return None;
    }
    let limit = (name.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= limit && *distance < candidate.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

fn distance(a: &str, b: &str) -> usize {
    if a.eq_ignore_ascii_case(b) { 0 } else { strsim::damerau_levenshtein(a, b) }
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_the_misspelt_name() {
        let known = ["memory", "memnode", "currentMemory"];
        assert_eq!(nearest("memroy", known), Some("memory"));
        assert_eq!(nearest("CurrentMemory", known), Some("currentMemory"));
        assert_eq!(nearest("disk", known), None);
        assert_eq!(nearest("", known), None);
    }
}
