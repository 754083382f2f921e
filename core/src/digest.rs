//! Content digests, the only identity of an image that no registry and no retagging can change.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de};

use crate::model::Text;

/// A content digest such as `sha256:` followed by 64 lower-case hexadecimal digits.
///
/// Valid by construction: the grammar is that of the OCI image specification 1.1, "Digests", with the algorithms sha256,
/// sha384 and sha512. Others, which the grammar would allow, are refused: by it `busybox:latest` is a digest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Digest(Text);

/// Why a string is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a digest: expected `sha256:` and 64 hexadecimal digits")]
pub struct InvalidDigest {
    value: String,
}

impl Digest {
    /// The SHA-256 digest of `bytes`.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self::from_sha256(sha2::Sha256::digest(bytes).as_ref())
    }

    pub(crate) fn from_sha256(hash: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::with_capacity(7 + 2 * hash.len());
        text.push_str("sha256:");
        for byte in hash {
            // Writing into a `String` cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Self(text.into())
    }

    /// Whether `text` is a digest.
    #[must_use]
    pub fn is_digest(text: &str) -> bool {
        let length = |algorithm| match algorithm {
            "sha256" => Some(64),
            "sha384" => Some(96),
            "sha512" => Some(128),
            _ => None,
        };
        let is_encoded = |encoded: &str| encoded.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        text.split_once(':')
            .is_some_and(|(algorithm, encoded)| length(algorithm) == Some(encoded.len()) && is_encoded(encoded))
    }

    /// The whole digest, algorithm included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The whole digest, as a text that can be shared.
    #[must_use]
    pub fn text(&self) -> &Text {
        &self.0
    }

    /// The part after the colon.
    #[must_use]
    pub fn encoded(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, encoded)| encoded)
    }

    /// The first 12 digits of the encoded part, as container tools print identifiers for people.
    #[must_use]
    pub fn short(&self) -> &str {
        let encoded = self.encoded();
        encoded.get(..12).unwrap_or(encoded)
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(value: &str) -> Result<Self, InvalidDigest> {
        if Self::is_digest(value) {
            Ok(Self(value.into()))
        } else {
            Err(InvalidDigest { value: value.chars().take(100).collect() })
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Digest {
    fn schema_name() -> Cow<'static, str> {
        "Digest".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "An OCI content digest: algorithm, colon, encoded hash.",
            "pattern": "^sha(256:[0-9a-f]{64}|384:[0-9a-f]{96}|512:[0-9a-f]{128})$",
        })
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::image::DigestAlgorithm;
    use proptest::prelude::*;

    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn hashes_like_sha256sum() {
        assert_eq!(Digest::sha256(b"").as_str(), EMPTY);
    }

    #[test]
    fn accepts_the_oci_grammar_and_nothing_else() {
        let digest: Digest = EMPTY.parse().unwrap();
        assert_eq!(digest.short(), "e3b0c44298fc");
        for bad in
            ["", "sha256:", "sha256:abc", &EMPTY[7..], &EMPTY.to_uppercase(), "sha256:zz", "a b:c", "busybox:latest"]
        {
            assert!(bad.parse::<Digest>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_invalid_digest_does_not_deserialise() {
        assert!(serde_json::from_str::<Digest>("\"sha256:123\"").is_err());
        assert_eq!(serde_json::from_str::<Digest>(&format!("{EMPTY:?}")).unwrap().as_str(), EMPTY);
    }

    proptest! {
        #[test]
        fn digests_are_those_of_the_oci_crate_with_algorithms_of_known_length(
            text in "(sha(256:[0-9a-f]{64}|256:[0-9a-f]{63,65}|384:[0-9a-f]{96}|384:[0-9a-g]{96}|512:[0-9a-fA]{128}|1:[0-9a-f]{40})|[a-z:+0]{0,9})"
        ) {
            let theirs = oci_spec::image::Digest::from_str(&text);
            let is_known = theirs.is_ok_and(|digest| !matches!(digest.algorithm(), DigestAlgorithm::Other(_)));
            prop_assert_eq!(text.parse::<Digest>().is_ok(), is_known, "{}", text);
        }
    }
}
