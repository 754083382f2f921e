//! Connections that others may listen to or answer in the server's place.

use http::uri::Scheme;
use stocktake_core::{ConfigError, model::Warning};

use crate::{address::Target, proxy::is_loopback};

/// Refuses to send credentials over a network in clear, which would give them to whoever listens. Of what is less than
/// it could be and yet may be meant so the answer is a remark for every collection.
///
/// `key` is the setting that names the server, empty for a kubeconfig.
pub(crate) fn check(key: &str, target: &Target) -> Result<Vec<Warning>, ConfigError> {
    let peer = &target.peer;
    if target.config.cluster_url.scheme() != Some(&Scheme::HTTP) {
        let remark = target.config.accept_invalid_certs.then(|| {
            Warning::new(format!(
                "the certificate of {peer} is not checked, because the kubeconfig has `insecure-skip-tls-verify: true`: \
                 whoever is in between can take the agent's credentials and make up the inventory; name the cluster's \
                 `certificate-authority` instead"
            ))
        });
        return Ok(remark.into_iter().collect());
    }
    let remark = match (has_credentials(target), stays_on_this_machine(target)) {
        (false, true) => return Ok(Vec::new()),
        (true, true) => "any program that listens on that port gets the agent's credentials",
        (false, false) => "whoever is in between can read the inventory and make it up",
        (true, false) => {
            let message =
                format!("the connection to {peer} is unencrypted and not for credentials: {}", peer.credentials);
            return Err(ConfigError::new(key, message).hint("write `https://`, or remove the credentials"));
        }
    };
    Ok(vec![Warning::new(format!(
        "the connection to {peer} is unencrypted: {remark}; use `https://` if the server can"
    ))])
}

fn has_credentials(target: &Target) -> bool {
    let auth = &target.config.auth_info;
    target.token_file.is_some()
        || auth.token_file.is_some()
        || auth.token.is_some()
        || auth.password.is_some()
        || auth.exec.is_some()
        || auth.auth_provider.is_some()
        // Without TLS there is nobody to show a certificate to; whoever configures one means to be known by it.
        || auth.client_certificate.is_some()
        || auth.client_certificate_data.is_some()
}

/// Behind a proxy, `localhost` is the proxy's.
fn stays_on_this_machine(target: &Target) -> bool {
    let host = target.config.cluster_url.host().unwrap_or_default();
    target.config.proxy_url.is_none() && is_loopback(host.trim_start_matches('[').trim_end_matches(']'))
}
