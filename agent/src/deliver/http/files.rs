//! Files that settings name. They are read when they are needed, because they change: who renews a certificate or a token tells
//! nobody.

use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;
use tokio::io::AsyncReadExt as _;

use super::HttpSettings;
use crate::deliver::Failure;

/// More than any bundle of certificates has.
const LIMIT: u64 = 4 << 20;

/// What a client is made from, each with its path.
#[derive(PartialEq, Eq)]
pub(super) struct Tls {
    pub(super) ca: Option<(PathBuf, Vec<u8>)>,
    /// Certificates and key, one behind the other.
    pub(super) identity: Option<(PathBuf, Zeroizing<Vec<u8>>)>,
}

impl Tls {
    pub(super) async fn read(settings: &HttpSettings) -> Result<Self, Failure> {
        let ca = match &settings.ca_file {
            Some(path) => Some((path.clone(), read("ca_file", path).await?.to_vec())),
            None => None,
        };
        let identity = match (&settings.cert_file, &settings.key_file) {
            (Some(certificate), Some(key)) => {
                let mut pem = read("cert_file", certificate).await?;
                pem.push(b'\n');
                pem.extend_from_slice(&read("key_file", key).await?);
                Some((certificate.clone(), pem))
            }
            _ => None,
        };
        Ok(Self { ca, identity })
    }
}

/// Reads the file that a setting names.
pub(super) async fn read(key: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let shown = path.display();
    let unreadable = |error: std::io::Error| {
        let advice = match error.kind() {
            std::io::ErrorKind::PermissionDenied => "let the agent's user read it",
            _ => "correct the path, or create the file",
        };
        unusable(format!("cannot read `{key}` {shown}: {error}; {advice}"))
    };
    // Reading a named pipe may take for ever.
    if !tokio::fs::metadata(path).await.map_err(unreadable)?.is_file() {
        return Err(unusable(format!("`{key}` {shown} is not a regular file")));
    }
    let file = tokio::fs::File::open(path).await.map_err(unreadable)?;
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(LIMIT + 1).read_to_end(&mut bytes).await.map_err(unreadable)?;
    if bytes.len() as u64 > LIMIT {
        return Err(unusable(format!("`{key}` {shown} has more than {} MiB", LIMIT >> 20)));
    }
    Ok(bytes)
}

/// A failure of the agent's own files: whoever mends them loses no report.
pub(super) fn unusable(message: String) -> Failure {
    Failure::Later { after: None, status: "configuration".into(), message }
}
