//! HTTP as every target speaks it: one client with its settings, credentials that are read where they are, and what an answer
//! means for the report that was sent.

mod answer;
mod files;
mod proxy;
mod secret;
mod settings;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::error::Error as _;

use bytes::{Bytes, BytesMut};
use reqwest::{
    Certificate, Identity, Method, Proxy, Url,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use stocktake_core::ConfigError;
use tokio::sync::Mutex;

pub(crate) use self::{
    answer::Answer,
    secret::{Credentials, Secret},
    settings::{HttpSettings, schema, split},
};
use super::{Failure, Sent, TargetContext};
use crate::environment::USER_AGENT;

/// How much is read of an answer.
const ANSWER_LIMIT: usize = 1 << 20;

/// Talks to one server.
pub(crate) struct Client {
    /// Ends with a slash.
    base: Url,
    settings: HttpSettings,
    proxy: Option<Proxy>,
    /// What requests are sent with, and the files that it was made from: they may change while the agent runs.
    built: Mutex<Option<(files::Tls, reqwest::Client)>>,
}

/// What is asked of the server.
pub(crate) struct Request<'a> {
    pub(crate) method: Method,
    /// Below the configured URL, without a slash at its front: `v2/kubernetes-inventory`.
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    pub(crate) credentials: &'a Credentials,
}

impl Client {
    /// A client with these settings. Touches no network and reads no file.
    pub(crate) fn new(settings: HttpSettings, context: &TargetContext) -> Result<Self, ConfigError> {
        let base = settings.check()?;
        let proxy = proxy::choose(&base, settings.proxy.as_ref(), &context.environment)?;
        let target = &context.name;
        if settings.danger_accept_invalid_certificates {
            tracing::warn!(
                "target {target}: the certificate of {base} is not checked (danger_accept_invalid_certificates): whoever is \
                 in between can take the credentials and the reports; set `ca_file` instead"
            );
        }
        Ok(Self { base, settings, proxy, built: Mutex::new(None) })
    }

    /// Says so if these credentials go over a network in clear.
    pub(crate) fn warn_of_clear_text(&self, target: &str, credentials: &Credentials) {
        let host = self.base.host_str().unwrap_or_default();
        let stays = self.proxy.is_none() && proxy::is_loopback(host);
        if self.base.scheme() == "http" && !stays && !matches!(credentials, Credentials::None) {
            tracing::warn!(
                "target {target}: the connection to {} is unencrypted: whoever is in between can take the credentials; write \
                 `https://`",
                self.base
            );
        }
    }

    /// The URL of a path, for messages.
    pub(crate) fn url(&self, path: &str) -> String {
        // A query may hold anything; what was asked for is told by the path.
        let path = path.split('?').next().unwrap_or_default();
        format!("{}{path}", self.base)
    }

    /// Sends a request and reads the answer, whatever its status is. Nothing is followed: credentials go where a person said.
    /// What was sent is added to `sent`, also where it fails.
    ///
    /// May be dropped at any await point.
    pub(crate) async fn send(&self, request: Request<'_>, sent: &mut Sent) -> Result<Answer, Failure> {
        let Request { method, path, headers, body, credentials } = request;
        let shown = self.url(path);
        let authorization = credentials.read().await?;
        let client = self.client().await?;
        let url = Url::parse(&format!("{}{path}", self.base)).map_err(|error| Failure::Later {
            after: None,
            status: "protocol".into(),
            message: format!("cannot ask {shown}: {error}"),
        })?;
        sent.requests += 1;
        sent.bytes += body.len() as u64;
        let headers: HeaderMap = headers.into_iter().collect();
        let mut builder = client.request(method, url).headers(headers).body(body);
        if let Some(authorization) = &authorization {
            builder = builder.header(reqwest::header::AUTHORIZATION, authorization.header.clone());
        }
        let unanswered = |error: reqwest::Error| self.unanswered(&shown, error);
        let response = builder.send().await.map_err(unanswered)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let (body, is_whole) = body_of(response).await.map_err(unanswered)?;
        Ok(Answer::new(shown, status, headers, body, is_whole, authorization.as_ref()))
    }

    /// The client, made again if a file that it is made from is another one by now.
    async fn client(&self) -> Result<reqwest::Client, Failure> {
        let files = files::Tls::read(&self.settings).await?;
        let mut built = self.built.lock().await;
        if let Some((of, client)) = &*built
            && *of == files
        {
            return Ok(client.clone());
        }
        let client = self.build(&files)?;
        *built = Some((files, client.clone()));
        Ok(client)
    }

    fn build(&self, files: &files::Tls) -> Result<reqwest::Client, Failure> {
        let bad = |what: &str, error: &reqwest::Error| files::unusable(format!("{what}: {}", causes(error)));
        let mut builder = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(Policy::none())
            .referer(false)
            // What the environment says was decided when the client was made.
            .no_proxy()
            .timeout(self.settings.timeout);
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        let through_tls = self.proxy.is_some() || self.base.scheme() == "https";
        if let Some((path, pem)) = &files.ca {
            let certificates = Certificate::from_pem_bundle(pem)
                .map_err(|error| bad(&format!("`ca_file` {} is not in PEM", path.display()), &error))?;
            if certificates.is_empty() {
                return Err(files::unusable(format!("`ca_file` {} has no certificate in PEM", path.display())));
            }
            builder = builder.tls_certs_only(certificates);
        } else if !through_tls {
            // Without TLS nobody needs the system's certificates, which some containers do not have.
            builder = builder.tls_certs_only([]);
        }
        if let Some((path, pem)) = &files.identity {
            let identity = Identity::from_pem(pem)
                .map_err(|error| bad(&format!("`cert_file` {} and its key cannot be used", path.display()), &error))?;
            builder = builder.identity(identity);
        }
        if self.settings.danger_accept_invalid_certificates {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        builder.build().map_err(|error| {
            bad(
                &format!(
                    "cannot set up TLS for {} (without `ca_file` the system's certificates are needed)",
                    self.base
                ),
                &error,
            )
        })
    }

    /// What a person is told where there is no answer.
    fn unanswered(&self, shown: &str, error: reqwest::Error) -> Failure {
        let error = error.without_url();
        let causes = causes(&error);
        let seconds = self.settings.timeout.as_secs_f32();
        let (status, message) = if is_certificate(&error) {
            let advice = "name its certificate authority in `ca_file`, or correct the URL's host name";
            ("tls", format!("the certificate of {shown} is not accepted: {causes}; {advice}"))
        } else if error.is_timeout() {
            ("timeout", format!("{shown} has not answered within {seconds} s; check it, or raise `timeout`"))
        } else if error.is_connect() {
            let through = self.proxy.as_ref().map_or("", |_| " through the proxy");
            (
                "unreachable",
                format!("cannot connect to {shown}{through}: {causes}; check `url`, the network and the server"),
            )
        } else {
            let advice = "check the server and any proxy in between";
            ("protocol", format!("{shown} broke off or did not speak HTTP: {causes}; {advice}"))
        };
        Failure::Later { after: None, status: status.into(), message }
    }
}

/// The body, as much of it as is read, and whether that is all.
async fn body_of(mut response: reqwest::Response) -> Result<(Bytes, bool), reqwest::Error> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        let room = ANSWER_LIMIT - body.len();
        body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
        if chunk.len() > room {
            return Ok((body.freeze(), false));
        }
    }
    Ok((body.freeze(), true))
}

/// The causes of an error from the outside in, each once. The outermost says only that a request failed.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&message);
        }
        cause = error.source();
    }
    if text.is_empty() { error.to_string() } else { text }
}

/// Whether the server's certificate is what is wrong. An I/O error says with `source` what its error's source is, not its
/// error, so that is asked for.
fn is_certificate(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(rustls::Error::InvalidCertificate(_)) = tls {
            return true;
        }
        cause = inner.map_or_else(|| error.source(), |inner| Some(inner));
    }
    false
}
