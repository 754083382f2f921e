//! Requests, and what their answers mean.

use std::{error::Error as _, time::Duration};

use bytes::Bytes;
use reqwest::{
    Certificate, Method, RequestBuilder, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    redirect::Policy,
};
use serde::{Deserialize, de::DeserializeOwned};
use stocktake_core::wire::{self, Receipt};

use crate::{
    connection::{Connection, is_loopback},
    failure::Failure,
};

/// How long the connection may take.
const TO_CONNECT: Duration = Duration::from_secs(10);

/// How long the server may be silent: a large report takes it a while.
const SILENCE: Duration = Duration::from_mins(2);

/// Names another account than one's own, as Anchore has it.
const ACCOUNT: &str = "x-anchore-account";

/// Parameters of a question.
pub(crate) type Query = Vec<(&'static str, String)>;

/// Talks to one server.
pub(crate) struct Client {
    connection: Connection,
    http: reqwest::Client,
}

/// A page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// Where the next one begins.
    #[serde(default)]
    pub(crate) next: Option<String>,
}

impl Client {
    /// A client for this server. Touches no network.
    pub(crate) fn new(connection: Connection) -> Result<Self, Failure> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("stocktake/", env!("CARGO_PKG_VERSION")))
            // Credentials go where a person said.
            .redirect(Policy::none())
            .referer(false)
            .connect_timeout(TO_CONNECT)
            .read_timeout(SILENCE);
        if is_loopback(&connection.url) {
            builder = builder.no_proxy();
        }
        if let Some((path, pem)) = &connection.authorities {
            let certificates = Certificate::from_pem_bundle(pem).ok().filter(|certificates| !certificates.is_empty());
            let none = || Failure::Config(format!("{} has no certificate in PEM", path.display()));
            builder = builder.tls_certs_only(certificates.ok_or_else(none)?);
        } else if connection.url.scheme() == "http" && is_loopback(&connection.url) {
            // Without TLS nobody needs the system's certificates, which some containers do not have.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|error| {
            let causes = causes(&error);
            Failure::Config(format!(
                "cannot set up TLS (without `ca_file` the system's certificates are needed): {causes}"
            ))
        })?;
        Ok(Self { connection, http })
    }

    /// Asks for JSON.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str, query: &Query) -> Result<T, Failure> {
        let response = self.send(self.request(Method::GET, path, query)).await?;
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        self.read(&bytes)
    }

    /// Asks for something that is read piece by piece.
    pub(crate) async fn stream(&self, path: &str, query: &Query) -> Result<Response, Failure> {
        self.send(self.request(Method::GET, path, query)).await
    }

    /// Asks for a stream of events, from behind the one of that number.
    pub(crate) async fn listen(&self, path: &str, query: &Query, last: Option<&str>) -> Result<Response, Failure> {
        let request = self.request(Method::GET, path, query);
        self.send(last.into_iter().fold(request, |request, last| request.header("last-event-id", last))).await
    }

    /// The next piece of what [`Self::stream`] or [`Self::listen`] has begun.
    pub(crate) async fn chunk(&self, response: &mut Response) -> Result<Option<Bytes>, Failure> {
        response.chunk().await.map_err(|error| self.broken(&error))
    }

    /// Has something removed.
    pub(crate) async fn delete(&self, path: &str, query: &Query) -> Result<(), Failure> {
        self.send(self.request(Method::DELETE, path, query)).await.map(drop)
    }

    /// Has something made or changed: the answer, which says how it is then.
    pub(crate) async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<T, Failure> {
        let request = self.request(method, path, &Query::new()).header(CONTENT_TYPE, "application/json");
        let response = self.send(request.body(body.to_string())).await?;
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        self.read(&bytes)
    }

    /// Hands a report over, as the frames that it travels in.
    pub(crate) async fn submit(&self, bundle: Bytes) -> Result<Receipt, Failure> {
        let request = self.request(Method::POST, wire::REPORTS, &Query::new()).header(CONTENT_TYPE, wire::MEDIA_TYPE);
        let response = self.send(request.body(bundle)).await?;
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        self.read(&bytes)
    }

    fn request(&self, method: Method, path: &str, query: &Query) -> RequestBuilder {
        let mut url = self.connection.url.clone();
        url.set_path(&format!("{}{path}", self.connection.url.path()));
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
        if let Some(authorization) = &self.connection.authorization {
            request = request.header(AUTHORIZATION, authorization.clone());
        }
        if let Some(account) = &self.connection.account {
            request = request.header(ACCOUNT, account.clone());
        }
        request
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let response = request.send().await.map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        Err(self.refused(status, &bytes))
    }

    fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(bytes).map_err(|error| {
            let url = &self.connection.url;
            Failure::Unavailable(format!("what {url} answered is none of a Stocktake server's: {error}; check the URL"))
        })
    }

    /// What an answer that is none of success comes to.
    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let said = said(body);
        let url = &self.connection.url;
        let title = said.unwrap_or_else(|| format!("{url} answered with status {status}"));
        match status {
            StatusCode::UNAUTHORIZED if self.connection.authorization.is_none() => Failure::Denied(format!(
                "{title}; say as whom with `--user`, `--token-file`, STOCKTAKE_TOKEN or a context (`stocktake contexts --help`)"
            )),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Denied(title),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                Failure::Unavailable(title)
            }
            _ if status.is_redirection() => {
                Failure::Unavailable(format!("{title}, which leads elsewhere; check the URL, nothing is followed"))
            }
            _ => Failure::Refused(title),
        }
    }

    fn unanswered(&self, error: &reqwest::Error) -> Failure {
        let (url, causes) = (&self.connection.url, causes(error));
        Failure::Unavailable(if is_certificate(error) {
            let advice = "name its certificate authority with `--ca-file` or `ca_file`, or correct the URL's host name";
            format!("the certificate of {url} is not accepted: {causes}; {advice}")
        } else if error.is_timeout() {
            format!("{url} has not answered in time; check the URL, the network and the server")
        } else if error.is_connect() {
            format!("cannot connect to {url}: {causes}; check the URL, the network and the server")
        } else {
            format!("{url} broke off or did not speak HTTP: {causes}; check the URL and any proxy in between")
        })
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        let (url, causes) = (&self.connection.url, causes(error));
        Failure::Unavailable(format!("{url} broke off: {causes}; what is printed is not all, so try again"))
    }
}

/// What the server says that is wrong: the title of problem details, or the message of Anchore's errors.
fn said(body: &[u8]) -> Option<String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        title: String,
        detail: serde_json::Value,
        message: String,
    }
    let Said { title, detail, message } = serde_json::from_slice(body).ok()?;
    let detail = detail.as_str().unwrap_or_default();
    match (title.is_empty(), detail.is_empty()) {
        (false, true) => Some(title),
        (false, false) => Some(format!("{title}: {detail}")),
        (true, _) => Some(message).filter(|message| !message.is_empty()),
    }
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

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_said_is_a_problem_or_an_error_of_anchores() {
        let said = |text: &str| super::said(text.as_bytes());
        assert_eq!(said(r#"{"type":"about:blank","title":"no","digests":[]}"#).as_deref(), Some("no"));
        assert_eq!(said(r#"{"title":"no","detail":"never"}"#).as_deref(), Some("no: never"));
        assert_eq!(said(r#"{"code":404,"message":"none","detail":{}}"#).as_deref(), Some("none"));
        assert_eq!(said("<html>"), None);
        assert_eq!(said("{}"), None);
    }
}
