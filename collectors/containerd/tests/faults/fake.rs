//! A containerd over a real socket that says whatever a test wants, a message at a time.

use std::{
    future::poll_fn,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tempfile::TempDir;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Notify,
    task::JoinHandle,
};

/// Messages of an answer, and what comes after them. As gRPC for Go has it, its head comes with the first.
pub(crate) struct Answer {
    pub(crate) messages: Vec<Vec<u8>>,
    pub(crate) end: End,
}

/// How an answer ends.
#[derive(Clone, Copy)]
pub(crate) enum End {
    /// With a gRPC status, of which 0 is success.
    Status(&'static str),
    /// Not: the last message comes for as long as anyone reads.
    Endless,
    /// Not, and nothing comes any more.
    Silence,
    /// With the connection.
    Cut,
}

impl Answer {
    pub(crate) fn one(message: Vec<u8>) -> Self {
        Self { messages: vec![message], end: End::Status("0") }
    }
}

/// A field of a protobuf message whose value has a length: a text, bytes, or a message.
pub(crate) fn field(number: u8, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let mut bytes = vec![(number << 3) | 2];
    let mut length = value.len();
    while length >= 0x80 {
        bytes.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend_from_slice(value);
    bytes
}

/// A daemon that lives until it is dropped.
pub(crate) struct FakeContainerd {
    folder: TempDir,
    sent: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for FakeContainerd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeContainerd {
    /// Answers each call, by its path and message, by `script`.
    pub(crate) fn start(script: impl Fn(&str, &[u8]) -> Answer + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("containerd.sock")).unwrap();
        let sent = Arc::<AtomicUsize>::default();
        let (script, counter) = (Arc::new(script), Arc::clone(&sent));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, counter) = (Arc::clone(&script), Arc::clone(&counter));
                // What fails here is the client having gone away, which is its right.
                tokio::spawn(async move { drop(serve(stream, script, counter).await) });
            }
        });
        Self { folder, sent, task }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        Path::join(self.folder.path(), "containerd.sock")
    }

    /// Bytes of messages that were taken from it.
    pub(crate) fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }
}

type Script = dyn Fn(&str, &[u8]) -> Answer + Send + Sync;

async fn serve(stream: UnixStream, script: Arc<Script>, sent: Arc<AtomicUsize>) -> Result<(), h2::Error> {
    let mut connection = h2::server::handshake(stream).await?;
    let cut = Arc::new(Notify::new());
    loop {
        let call = tokio::select! {
            call = connection.accept() => call,
            () = cut.notified() => return Ok(()),
        };
        let Some(call) = call else { return Ok(()) };
        let (request, respond) = call?;
        let (script, sent, cut) = (Arc::clone(&script), Arc::clone(&sent), Arc::clone(&cut));
        tokio::spawn(async move { drop(answer(request, respond, &*script, &sent, &cut).await) });
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    script: &Script,
    sent: &AtomicUsize,
    cut: &Notify,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut message = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        body.flow_control().release_capacity(chunk.len())?;
        message.extend_from_slice(&chunk);
    }
    // Behind the five bytes that gRPC puts before a message.
    let Answer { messages, end } = script(head.uri.path(), message.get(5..).unwrap_or_default());
    if messages.is_empty() && matches!(end, End::Silence) {
        poll_fn(|cx| respond.poll_reset(cx)).await?;
        return Ok(());
    }
    let response = Response::builder().header("content-type", "application/grpc").body(()).unwrap();
    let mut stream = respond.send_response(response, false)?;
    for message in &messages {
        send(&mut stream, message, sent).await?;
    }
    match end {
        End::Endless => loop {
            send(&mut stream, messages.last().unwrap(), sent).await?;
        },
        End::Silence => poll_fn(|cx| stream.poll_reset(cx)).await.map(drop),
        End::Cut => {
            cut.notify_one();
            Ok(())
        }
        End::Status(code) => {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static(code));
            stream.send_trailers(trailers)
        }
    }
}

async fn send(stream: &mut SendStream<Bytes>, message: &[u8], sent: &AtomicUsize) -> Result<(), h2::Error> {
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.put_slice(message);
    let mut frame = frame.freeze();
    while !frame.is_empty() {
        stream.reserve_capacity(frame.len());
        let Some(capacity) = poll_fn(|cx| stream.poll_capacity(cx)).await else {
            return Err(h2::Reason::CANCEL.into());
        };
        let part = frame.split_to(capacity?.min(frame.len()));
        sent.fetch_add(part.len(), Ordering::Relaxed);
        stream.send_data(part, false)?;
    }
    Ok(())
}
