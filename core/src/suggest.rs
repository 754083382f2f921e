//! "Did you mean": the nearest of the words that would have been right.

/// The candidate most like `word`, if any is like it enough to be worth proposing.
#[must_use]
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Below 0.75 a proposal is more often noise than help: `states`/`statse` is 0.96, `host`/`tls` 0.
    const WORTH_PROPOSING: f64 = 0.75;
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= WORTH_PROPOSING)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn proposes_the_likely_and_nothing_far_off() {
        let keys = ["host", "states", "tls", "namespaces"];
        assert_eq!(nearest("statse", keys), Some("states"));
        assert_eq!(nearest("namespace", keys), Some("namespaces"));
        assert_eq!(nearest("colour", keys), None);
    }
}
