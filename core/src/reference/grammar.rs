//! The grammar of image names, as `distribution/reference` has it (regexp.go of its version 0.6):
//!
//! ```text
//! reference      := name [ ":" tag ] [ "@" digest ]
//! name           := [ domain "/" ] path-component { "/" path-component }
//! domain         := label { "." label } [ ":" /[0-9]+/ ]
//! label          := /[a-zA-Z0-9]/ | /[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]/
//! path-component := /[a-z0-9]+/ { ( /[._]/ | /__/ | /[-]*/ ) /[a-z0-9]+/ }
//! tag            := /[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}/
//! ```
//!
//! A regular expression for it takes 17 MB, because it counts to 128.

use crate::Digest;

/// The longest repository, in bytes, with the `library/` that Docker puts before it.
const LONGEST_REPOSITORY: usize = 255;
/// The longest tag.
const LONGEST_TAG: usize = 128;

const DOCKER_HUB: &str = "docker.io";
/// What Docker Hub was called before. Docker still writes it into its configuration.
const DOCKER_HUB_BEFORE: &str = "index.docker.io";
/// What Docker Hub's own images stand under.
pub(super) const LIBRARY: &str = "library/";

/// An image name in its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) registry: &'a str,
    /// Whether `library/` belongs before `repository`.
    pub(super) is_library: bool,
    pub(super) repository: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) digest: Option<&'a str>,
}

/// The parts of `reference`, or what is wrong with it. The digest is left to [`Digest`], which knows more of its form.
pub(super) fn read(reference: &str) -> Result<Parts<'_>, &'static str> {
    let (named, digest) = match reference.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (reference, None),
    };
    // In `localhost:5000/x` the colon stands before the last slash; in `x:1.0` behind it.
    let last = named.rfind('/').map_or(0, |slash| slash + 1);
    let (name, tag) = match named[last..].find(':') {
        Some(colon) => (&named[..last + colon], Some(&named[last + colon + 1..])),
        None => (named, None),
    };
    if !is_name(name) {
        return Err("its name is not `[registry[:port]/]repository`, the repository in lower case");
    }
    if tag.is_some_and(|tag| !is_tag(tag)) {
        return Err(
            "its tag has other characters than letters, digits, `_`, `.` and `-`, or more than 128, or begins ill",
        );
    }
    let parts = Parts { tag, digest, ..split_domain(name) };
    if parts.repository.len() + if parts.is_library { LIBRARY.len() } else { 0 } > LONGEST_REPOSITORY {
        return Err("its repository has more than 255 characters");
    }
    match digest.map(Digest::is_digest) {
        Some(false) => Err("what stands behind `@` is not a digest"),
        _ => Ok(parts),
    }
}

/// Whose the name is, as Docker resolves it (`distribution/reference`, normalize.go, `splitDockerDomain`): what could be a
/// host names the registry, anything else is a repository of Docker Hub.
fn split_domain(name: &str) -> Parts<'_> {
    let (registry, repository) = match name.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => (DOCKER_HUB, name),
    };
    let registry = if registry == DOCKER_HUB_BEFORE { DOCKER_HUB } else { registry };
    let is_library = registry == DOCKER_HUB && !repository.contains('/');
    Parts { registry, is_library, repository, tag: None, digest: None }
}

fn is_name(name: &str) -> bool {
    match name.split_once('/') {
        Some((first, rest)) => (is_path_component(first) || is_domain(first)) && rest.split('/').all(is_path_component),
        None => is_path_component(name),
    }
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_label(text: &str) -> bool {
    let has_ends = |text: &str| !text.starts_with('-') && !text.ends_with('-');
    !text.is_empty() && has_ends(text) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Letters and digits, with nothing else between two of them than one dot, one or two underscores, or dashes.
fn is_path_component(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut separators = text.split(|character: char| character.is_ascii() && is_inner(character as u8));
    // Before the first letter and behind the last there is nothing.
    let (Some(""), Some("")) = (separators.next(), separators.next_back()) else { return false };
    separators.all(|between| matches!(between, "." | "_" | "__") || between.bytes().all(|byte| byte == b'-'))
}

/// Letters are those of ASCII, as Go and the distribution specification ("Pulling manifests") have it.
fn is_tag(text: &str) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut bytes = text.bytes();
    bytes.next().is_some_and(is_first)
        && bytes.all(|byte| is_first(byte) || matches!(byte, b'.' | b'-'))
        && text.len() <= LONGEST_TAG
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use proptest::prelude::*;

    use super::*;

    /// Registry, repository, tag and digest, as they are written; `oci-spec` fills in a tag where there is neither.
    type Read = (String, String, Option<String>, Option<String>);

    fn ours(text: &str) -> Option<Read> {
        let parts = read(text).ok()?;
        let library = if parts.is_library { LIBRARY } else { "" };
        let owned = |text: &str| text.to_owned();
        let repository = format!("{library}{}", parts.repository);
        Some((parts.registry.to_owned(), repository, parts.tag.map(owned), parts.digest.map(owned)))
    }

    /// What `oci-spec` reads, by the regular expressions of `distribution/reference`. It takes two things that Docker does not:
    /// letters of all scripts in tags (Go's `\w` is ASCII), and upper-case digits in digests.
    fn theirs(text: &str) -> Option<Read> {
        let reference = oci_spec::distribution::Reference::from_str(text).ok()?;
        if !text.is_ascii() || reference.digest().is_some_and(|digest| !Digest::is_digest(digest)) {
            return None;
        }
        let owned = |text: &str| text.to_owned();
        let is_invented = reference.digest().is_none() && !text.ends_with(&format!(":{}", reference.tag()?));
        let tag = reference.tag().filter(|_| !is_invented).map(owned);
        Some((owned(reference.registry()), owned(reference.repository()), tag, reference.digest().map(owned)))
    }

    const SHA256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hard_names_are_read_as_by_the_expressions() {
        let hard = "a|a/b|a:b|a:5000/b|a:5000|a:5000/b:5000|a:/b|a:b/c|a:5000/b/c:d|A/b|A|A.b/c|A.b/C|a.b:c|.a/b|a./b|a..b/c|a-/b|-a/b\
            |a--b|a--b/c|a-b-/c|a_b/c|a__b/c|a___b/c|a_.b|a._b|a.b|a..b|a.-b|a-.b|a-_b|_a|a_|a.|a-|__a|/a|a/|a//b|a/b/|:|@|a:|a@|:a|@a|a::b|a:b:c\
            |localhost/a|localhost:1/a|LOCALHOST/a|localhost|index.docker.io/a|docker.io/a|docker.io/a/b|index.docker.io/a/b|docker.io|io.docker/a\
            |a/localhost/b|a:-b|a:.b|a:_b|a:b-|a:b.|a:B|a:b/|a b|a\tb|a\n|a:b\n|a:\u{e9}|\u{e9}|a/\u{e9}|\u{e9}.b/c|a:\u{661}|10.0.0.1:5000/a\
            |[::1]/a|[::1]:5000/a|a:0/b|a:99999999/b|a:+1/b|a.b-c.d/e|a.b-.d/e|a.-b.d/e|0/0|0:0/0|<none>|<none>:<none>|a/B|a/b:C/d|xn--n3h.com/a";
        let cases = hard.split('|').map(|case| case.trim_start_matches(' ').to_owned());
        let digests = [
            SHA256,
            &SHA256.to_uppercase(),
            &SHA256[..70],
            &SHA256[7..],
            "sha512:00",
            "md5:d41d8cd98f00b204e9800998ecf8427e",
        ];
        let pinned = digests
            .iter()
            .flat_map(|digest| ["a@", "a:b@", "a:5/b@", "a@@", "@", "A@"].map(|name| format!("{name}{digest}")));
        let long = [128, 129, 247, 248, 249, 255, 256].map(|length| "a".repeat(length));
        let long = long
            .iter()
            .flat_map(|a| [a.clone(), format!("a/{a}"), format!("a:{a}"), format!("a.b/{a}"), format!("{a}.b/c")]);
        for case in cases.chain(pinned).chain(long) {
            assert_eq!(ours(&case), theirs(&case), "{case:?}");
        }
        assert!(ours("a").is_some() && ours(&format!("a@{SHA256}")).is_some(), "the comparison compares something");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn what_looks_like_a_name_is_read_as_by_the_expressions(text in "[aB0._:/@-]{0,12}") {
            prop_assert_eq!(ours(&text), theirs(&text));
        }

        #[test]
        fn names_are_read_as_by_the_expressions(
            text in "([aB0.-]{1,4}(:[0-9]{0,2})?/)?[a0]{1,2}([._-]{0,3}[a0B]){0,2}(/[a0._-]{1,4}){0,2}(:[_aB0é.-]{0,5})?"
        ) {
            prop_assert_eq!(ours(&text), theirs(&text));
        }

        #[test]
        fn digests_are_read_as_by_the_expressions(text in "a(:b)?@sha(256:[0-9a-f]{63,65}|384:[0-9a-fA]{96}|512:[0-9a-f]{128}|1:[0-9]{40})") {
            prop_assert_eq!(ours(&text), theirs(&text));
        }

        #[test]
        fn anything_is_read_as_by_the_expressions(text in "\\PC{0,20}") {
            prop_assert_eq!(ours(&text), theirs(&text));
        }
    }
}
