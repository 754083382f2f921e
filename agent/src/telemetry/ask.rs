//! Asking an agent that runs how it is.

use std::{io, path::Path, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::Status;
use crate::isolate::Bound;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// Nobody listens, or not to this user.
    #[error("{0}")]
    Connect(#[source] io::Error),
    #[error("it does not answer within {PATIENCE:?}: it hangs, or the machine does")]
    Hangs,
    #[error("what answers is no agent, or one of another version: {0}")]
    Protocol(String),
}

/// Asks the agent at a socket.
pub(crate) async fn ask(socket: &Path) -> Result<Status, AskError> {
    let stream = UnixStream::connect(socket).await.map_err(AskError::Connect)?;
    tokio::time::timeout(PATIENCE, answer(stream)).await.map_err(|_| AskError::Hangs)?
}

async fn answer(stream: UnixStream) -> Result<Status, AskError> {
    let protocol = |error: hyper::Error| AskError::Protocol(error.to_string());
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(protocol)?;
    let _connection = Bound(tokio::spawn(async { drop(connection.await) }));
    let request = Request::get("/status").header("host", "agent").body(Empty::<Bytes>::new());
    let request = request.map_err(|error| AskError::Protocol(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(protocol)?;
    let code = response.status();
    let body = response.into_body().collect().await.map_err(protocol)?.to_bytes();
    if !code.is_success() {
        return Err(AskError::Protocol(format!("it answers {code}")));
    }
    serde_json::from_slice(&body).map_err(|error| AskError::Protocol(error.to_string()))
}
