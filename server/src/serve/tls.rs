//! TLS, whose files may change while the server runs.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use anyhow::Context as _;
use rustls::{RootCertStore, ServerConfig, server::WebPkiClientVerifier};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::config::TlsSettings;

/// How often to look whether the files have changed.
pub(super) const LOOK: Duration = Duration::from_secs(5);

/// What connections are secured with. Those that there are keep what they have.
#[derive(Debug)]
pub(super) struct Tls {
    settings: TlsSettings,
    current: RwLock<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    files: Files,
    config: Arc<ServerConfig>,
}

/// What is in the files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Tls {
    pub(super) fn load(settings: &TlsSettings) -> anyhow::Result<Self> {
        let files = Files::read(settings)?;
        let config = Arc::new(files.config(settings)?);
        Ok(Self { settings: settings.clone(), current: RwLock::new(Current { files, config }) })
    }

    /// What the next connection is secured with.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// Takes up what is in the files, if that has changed. Files that are not sound change nothing.
    pub(super) fn renew(&self) -> anyhow::Result<bool> {
        let files = Files::read(&self.settings)?;
        if self.current.read().unwrap_or_else(PoisonError::into_inner).files == files {
            return Ok(false);
        }
        let config = Arc::new(files.config(&self.settings)?);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Current { files, config };
        Ok(true)
    }

    /// Renews it whenever the files change.
    pub(super) async fn keep_current(self: Arc<Self>) {
        let mut complaint = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            let tls = Arc::clone(&self);
            let renewed = tokio::task::spawn_blocking(move || tls.renew()).await;
            match renewed.map_err(anyhow::Error::from).flatten() {
                Ok(true) => tracing::info!("the certificate is renewed"),
                Ok(false) => {}
                // Once, and not every few seconds: a certificate and its key are seldom written at once.
                Err(error) => {
                    let text = format!("{error:#}");
                    if text != complaint {
                        tracing::warn!("the certificate is not renewed, and the former one stays in force: {text}");
                        complaint = text;
                    }
                    continue;
                }
            }
            complaint.clear();
        }
    }
}

impl Files {
    fn read(settings: &TlsSettings) -> anyhow::Result<Self> {
        let read = |path: &PathBuf| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        Ok(Self {
            certificate: read(&settings.certificate)?,
            key: read(&settings.key)?,
            client_ca: settings.client_ca.as_ref().map(read).transpose()?,
        })
    }

    fn config(&self, settings: &TlsSettings) -> anyhow::Result<ServerConfig> {
        let chain = certificates(&self.certificate, &settings.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .with_context(|| format!("no private key in PEM is in {}", settings.key.display()))?;
        let builder = ServerConfig::builder();
        let builder = match (&self.client_ca, &settings.client_ca) {
            (Some(text), Some(path)) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(text, path)? {
                    roots.add(certificate).with_context(|| format!("no issuer is in {}", path.display()))?;
                }
                builder.with_client_cert_verifier(WebPkiClientVerifier::builder(Arc::new(roots)).build()?)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain, key)
            .with_context(|| format!("{} is no key of {}", settings.key.display(), settings.certificate.display()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn certificates(text: &[u8], path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let found = found.with_context(|| format!("{} is not in PEM", path.display()))?;
    if found.is_empty() {
        return Err(io::Error::other("it is empty"))
            .with_context(|| format!("no certificate is in {}", path.display()));
    }
    Ok(found)
}
