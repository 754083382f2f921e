//! Ed25519 (RFC 8032) with keys as `openssl genpkey -algorithm ed25519` makes them (RFC 8410).

use std::{fs, path::Path};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::{Deserialize, Serialize};

/// What stands before the 32 bytes of a public key in a `SubjectPublicKeyInfo` (RFC 8410, section 4).
const PUBLIC_KEY_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A signature, with whose it says to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signature {
    algorithm: String,
    /// In base64. It is for people to find the key by; nobody trusts it.
    public_key: String,
    /// In base64.
    value: String,
}

/// Signs.
pub(crate) struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Reads a private key in PEM.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let pem = fs::read(path).with_context(|| format!("cannot read the key {}", path.display()))?;
        let what = || format!("{} is no Ed25519 key in PEM (`openssl genpkey -algorithm ed25519`)", path.display());
        let key = PrivatePkcs8KeyDer::from_pem_slice(&pem).with_context(what)?;
        // Openssl leaves the public key out, against which the private one could be checked.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.secret_pkcs8_der())
            .map(Self)
            .map_err(anyhow::Error::msg)
            .with_context(what)
    }

    pub(super) fn sign(&self, message: &[u8]) -> Signature {
        Signature {
            algorithm: "ed25519".to_owned(),
            public_key: BASE64_STANDARD.encode(self.0.public_key()),
            value: BASE64_STANDARD.encode(self.0.sign(message)),
        }
    }
}

/// Says whether it is the other half of a key that has signed.
pub(crate) struct VerifyingKey(Vec<u8>);

impl VerifyingKey {
    /// Reads a public key in PEM.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let pem = fs::read(path).with_context(|| format!("cannot read the key {}", path.display()))?;
        let what = || format!("{} is no public Ed25519 key in PEM (`openssl pkey -pubout`)", path.display());
        let key = SubjectPublicKeyInfoDer::from_pem_slice(&pem).with_context(what)?;
        let bytes =
            key.as_ref().strip_prefix(&PUBLIC_KEY_PREFIX).filter(|bytes| bytes.len() == 32).with_context(what)?;
        Ok(Self(bytes.to_vec()))
    }

    pub(super) fn has_made(&self, signature: &Signature, message: &[u8]) -> bool {
        signature.algorithm == "ed25519"
            && BASE64_STANDARD
                .decode(&signature.value)
                .is_ok_and(|value| UnparsedPublicKey::new(&ED25519, &self.0).verify(message, &value).is_ok())
    }
}
