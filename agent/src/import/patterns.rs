//! From Anchore's patterns to ours: theirs are regular expressions that have to match somewhere in a name, ours have to match all
//! of it.

/// Whether a namespace can be called that (RFC 1123 label). Their programs take such an entry of `exclude` as a name.
pub(super) fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The pattern that covers what the expression is found in.
pub(super) fn found_in(expression: &str) -> String {
    if is_label(expression) {
        return format!("*{expression}*");
    }
    // An anchor belongs to one side of an alternative alone.
    if expression.contains('|') {
        return format!("/.*(?:{expression}).*/");
    }
    let (before, rest) = match expression.strip_prefix('^') {
        Some(rest) => ("", rest),
        None if expression.starts_with(".*") => ("", expression),
        None => (".*", expression),
    };
    let is_escaped = |end: &str| end.ends_with('\\');
    let (rest, after) = match (rest.strip_suffix('$'), rest.strip_suffix(".*")) {
        (Some(rest), _) if !is_escaped(rest) => (rest, ""),
        (_, Some(begin)) if !is_escaped(begin) => (rest, ""),
        _ => (rest, ".*"),
    };
    if before.is_empty() && after.is_empty() && is_label(rest) {
        return rest.to_owned();
    }
    format!("/{before}{rest}{after}/")
}

#[cfg(test)]
mod tests {
    use stocktake_core::select::NamePattern;

    use super::*;

    #[test]
    fn a_pattern_covers_what_the_expression_is_found_in() {
        for (expression, pattern, covered, others) in [
            ("kube", "*kube*", &["kube", "my-kube-x"][..], &["kub"][..]),
            ("^kube-.*", "/kube-.*/", &["kube-system"], &["my-kube-system"]),
            ("^kube-", "/kube-.*/", &["kube-system", "kube-"], &["my-kube-system"]),
            ("-system$", "/.*-system/", &["kube-system"], &["kube-system-2"]),
            ("^team-a$", "team-a", &["team-a"], &["team-ab"]),
            ("team-[0-9]+", "/.*team-[0-9]+.*/", &["team-1", "my-team-12-x"], &["team-"]),
            (".*-dev", "/.*-dev.*/", &["a-dev", "a-dev-2"], &["dev"]),
            ("^a|b$", "/.*(?:^a|b$).*/", &["ax", "xb"], &["xax"]),
            (r"price\$", r"/.*price\$.*/", &["my price$ x"], &["price"]),
            (r"x\.*", r"/.*x\.*.*/", &["ax..y"], &["y"]),
        ] {
            assert_eq!(found_in(expression), pattern);
            let pattern: NamePattern = pattern.parse().unwrap();
            assert!(covered.iter().all(|name| pattern.matches(name)), "{expression}");
            assert!(!others.iter().any(|name| pattern.matches(name)), "{expression}");
        }
    }

    #[test]
    fn labels() {
        assert!(is_label("a") && is_label("kube-system") && is_label("0a"));
        assert!(!is_label("") && !is_label("-a") && !is_label("a-") && !is_label("A") && !is_label("a.b"));
    }
}
