//! HTTP, as plain as an agent needs it.

use std::time::Duration;

use axum::body::Bytes;
use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client as Http, connect::HttpConnector},
    rt::TokioExecutor,
};

/// How long an answer is waited for. It is for what is stuck, and longer than a server lets anybody wait.
const PATIENCE: Duration = Duration::from_mins(5);

/// Asks a server, with a token. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: Http<HttpConnector, Full<Bytes>>,
    authorization: String,
}

/// What a server answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Seconds to wait before it is tried again, if the server says so.
    pub retry_after: Option<u64>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Asks in the name of `token`.
    #[must_use]
    pub fn new(token: &str) -> Self {
        let http = Http::builder(TokioExecutor::new()).build_http();
        Self { http, authorization: format!("Bearer {token}") }
    }

    /// Posts frames, or whatever else `headers` say that it is.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post(&self, url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answer, String> {
        self.ask(Method::POST, url, headers, body.into()).await
    }

    /// Asks for what is there.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&self, url: &str) -> Result<Answer, String> {
        self.ask(Method::GET, url, &[], Bytes::new()).await
    }

    async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer, String> {
        let mut request = Request::builder().method(method).uri(url).header(header::AUTHORIZATION, &self.authorization);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).expect("a request");
        let answer = async {
            let response = self.http.request(request).await.map_err(|error| format!("{error:?}"))?;
            let (parts, body) = response.into_parts();
            let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
            let retry_after =
                parts.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Answer { status: parts.status.as_u16(), retry_after, body })
        };
        tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(format!("no answer in {PATIENCE:?}")))
    }
}
