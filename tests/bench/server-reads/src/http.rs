//! A client of a server on this machine: one connection, one request at a time.

use anyhow::{Context as _, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// The administrator's password.
pub(crate) const PASSWORD: &str = "a password of benchmarks";

/// A connection.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    address: String,
}

impl Connection {
    /// Connects to a port of this machine.
    pub(crate) async fn to(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await.context("the server does not listen")?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address: format!("127.0.0.1:{port}") })
    }

    /// Asks as the administrator, and returns an answer of status 200.
    pub(crate) async fn ask(&mut self, path: &str, body: Option<Bytes>) -> anyhow::Result<Bytes> {
        let request = Request::builder().method(if body.is_some() { "POST" } else { "GET" }).uri(path);
        let request = request
            .header(header::HOST, &self.address)
            .header(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(format!("admin:{PASSWORD}"))));
        let request = request.header(header::CONTENT_TYPE, stocktake_core::wire::MEDIA_TYPE);
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(body.unwrap_or_default()))?).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        if status != 200 {
            bail!("{path} is answered {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }
}
