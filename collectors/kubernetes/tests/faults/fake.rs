//! A small HTTP server that answers from a script.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::{JoinHandle, JoinSet},
};

/// The media type of answers in protobuf.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// A request as it was received.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) path: String,
    /// How often this path was asked for with the same query, this time included.
    pub(crate) times: usize,
    target: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
}

impl Recorded {
    /// A parameter of the query, decoded.
    pub(crate) fn query(&self, key: &str) -> Option<&str> {
        self.query.get(key).map(String::as_str)
    }

    /// A header, empty if absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// Whether it asks for a watch.
    pub(crate) fn is_watch(&self) -> bool {
        self.query("watch").is_some()
    }
}

/// What is answered.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    content_type: &'static str,
    headers: String,
    body: Vec<u8>,
    ending: Ending,
}

/// How a body ends.
#[derive(Clone)]
enum Ending {
    Whole,
    /// In its middle.
    Half,
    /// Never: white space follows for as long as anyone reads.
    Never,
    /// As is told meanwhile.
    Open(Arc<Mutex<Option<UnboundedReceiver<Chunk>>>>),
}

/// What happens to an answer that stays open.
#[derive(Debug, Clone)]
pub(crate) enum Chunk {
    /// More is sent.
    Bytes(Vec<u8>),
    /// Nothing is, for so long.
    Wait(Duration),
    /// It ends as it should.
    Close,
    /// The connection ends without that.
    Cut,
}

impl Answer {
    pub(crate) fn ok(body: &Value) -> Self {
        Self::raw(200, body.to_string())
    }

    /// A refusal or failure as the API server words it.
    pub(crate) fn status(code: u16, message: &str) -> Self {
        Self::raw(code, json!({"kind": "Status", "status": "Failure", "message": message, "code": code}).to_string())
    }

    /// The same in protobuf.
    pub(crate) fn status_in_protobuf(code: u16, message: &str) -> Self {
        let body = crate::protobuf::status(&json!({"message": message, "code": code}));
        Self { status: code, ..Self::protobuf(body) }
    }

    pub(crate) fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { status, content_type: "application/json", headers: String::new(), body, ending: Ending::Whole }
    }

    pub(crate) fn protobuf(body: Vec<u8>) -> Self {
        Self { content_type: PROTOBUF, ..Self::raw(200, body) }
    }

    /// One that stays open until it is told otherwise, or for as long as the server lives.
    pub(crate) fn open(content_type: &'static str) -> (Self, UnboundedSender<Chunk>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let ending = Ending::Open(Arc::new(Mutex::new(Some(receiver))));
        (Self { content_type, ending, ..Self::raw(200, "") }, sender)
    }

    /// One that is sent like this, and then stays open unless it is ended.
    pub(crate) fn chunks(content_type: &'static str, chunks: impl IntoIterator<Item = Chunk>) -> Self {
        let (answer, sender) = Self::open(content_type);
        chunks.into_iter().for_each(|chunk| sender.send(chunk).unwrap());
        answer
    }

    /// The same, with a header more.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers = format!("{}{name}: {value}\r\n", self.headers);
        self
    }

    /// The same, broken off in the middle of the body.
    pub(crate) fn cut_in_half(mut self) -> Self {
        self.ending = Ending::Half;
        self
    }

    /// The same, followed by white space without end.
    pub(crate) fn endless(mut self) -> Self {
        self.ending = Ending::Never;
        self
    }
}

/// A list as the API server answers it.
pub(crate) fn list(items: impl IntoIterator<Item = Value>, next: Option<&str>) -> Value {
    json!({"kind": "List", "metadata": {"continue": next}, "items": items.into_iter().collect::<Vec<_>>()})
}

/// A pod with nothing but a name.
pub(crate) fn pod(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}/{name}")}})
}

/// A server that lives until it is dropped.
pub(crate) struct FakeServer {
    port: u16,
    log: Arc<Log>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Log {
    requests: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeServer {
    /// Answers every request by `script`. A script that panics leaves its request without an answer.
    pub(crate) fn start(script: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let listener = TcpListener::from_std(listener).unwrap();
        let (script, log) = (Arc::new(script), Arc::<Log>::default());
        let seen = Arc::clone(&log);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Relaxed);
                let (script, log) = (Arc::clone(&script), Arc::clone(&seen));
                connections.spawn(serve(stream, move |target, headers| script(&log.take(target, headers))));
            }
        });
        Self { port, log, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.log.requests.lock().unwrap().len()
    }

    /// How many requests for a path there were.
    pub(crate) fn requests_of(&self, path: &str) -> usize {
        self.asked(|request| request.path == path).len()
    }

    /// The requests that are like this, in their order.
    pub(crate) fn asked(&self, is_like: impl Fn(&Recorded) -> bool) -> Vec<Recorded> {
        self.log.requests.lock().unwrap().iter().filter(|request| is_like(request)).cloned().collect()
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.log.connections.load(Relaxed)
    }
}

impl Log {
    fn take(&self, target: &str, headers: &str) -> Recorded {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        let headers = headers.lines().filter_map(|line| line.split_once(": "));
        let mut requests = self.requests.lock().unwrap();
        let request = Recorded {
            path: path.to_owned(),
            times: requests.iter().filter(|known| known.target == target).count() + 1,
            target: target.to_owned(),
            query: pairs.map(|(key, value)| (key.to_owned(), percent_decode(value))).collect(),
            headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
        };
        requests.push(request.clone());
        request
    }
}

/// Answers one request after the other.
async fn serve(stream: TcpStream, answer: impl Fn(&str, &str) -> Answer) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(stream.read_line(&mut head).await, Ok(1..)) {
                return;
            }
        }
        let (line, headers) = head.split_once("\r\n").unwrap();
        let target = line.split(' ').nth(1).unwrap();
        let answer = answer(target, headers);
        if !send(stream.get_mut(), answer).await {
            let _ = stream.get_mut().shutdown().await;
            return;
        }
    }
}

/// Sends an answer. Whether another request may follow.
async fn send(stream: &mut TcpStream, answer: Answer) -> bool {
    let Answer { status, content_type, headers, body, ending } = answer;
    let (sent, framing) = match &ending {
        Ending::Whole => (&body[..], format!("content-length: {}\r\n", body.len())),
        Ending::Half => (&body[..body.len() / 2], format!("content-length: {}\r\n", body.len())),
        Ending::Never => (&body[..], "connection: close\r\n".into()),
        Ending::Open(_) => (&body[..], "transfer-encoding: chunked\r\n".into()),
    };
    let head = format!("HTTP/1.1 {status} x\r\ncontent-type: {content_type}\r\n{headers}{framing}\r\n");
    if stream.write_all(&[head.as_bytes(), sent].concat()).await.is_err() {
        return false;
    }
    match ending {
        Ending::Whole => true,
        Ending::Half => false,
        Ending::Never => {
            let spaces = vec![b' '; 1 << 20];
            while stream.write_all(&spaces).await.is_ok() {}
            false
        }
        Ending::Open(chunks) => {
            let chunks = chunks.lock().unwrap().take().expect("an open answer is given once");
            send_chunks(stream, chunks).await
        }
    }
}

async fn send_chunks(stream: &mut TcpStream, mut chunks: UnboundedReceiver<Chunk>) -> bool {
    loop {
        match chunks.recv().await {
            Some(Chunk::Bytes(bytes)) => {
                let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
                if stream.write_all(&chunk).await.is_err() {
                    return false;
                }
            }
            Some(Chunk::Wait(time)) => tokio::time::sleep(time).await,
            Some(Chunk::Close) => return stream.write_all(b"0\r\n\r\n").await.is_ok(),
            Some(Chunk::Cut) => return false,
            None => std::future::pending().await,
        }
    }
}

fn percent_decode(text: &str) -> String {
    let mut parts = text.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).unwrap()
}
