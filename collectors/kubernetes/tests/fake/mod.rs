//! A small HTTP server that answers from a script.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request as it was received.
pub(crate) struct Recorded {
    pub(crate) path: String,
    /// How often this path was asked for with the same query, this time included.
    pub(crate) times: usize,
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
}

/// What is answered.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    body: String,
    ending: Ending,
}

/// How a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    Whole,
    /// In its middle.
    Half,
    /// Never: white space follows for as long as anyone reads.
    Never,
}

impl Answer {
    pub(crate) fn ok(body: &Value) -> Self {
        Self::raw(200, body.to_string())
    }

    /// A refusal or failure as the API server words it.
    pub(crate) fn status(code: u16, message: &str) -> Self {
        Self::raw(code, json!({"kind": "Status", "status": "Failure", "message": message, "code": code}).to_string())
    }

    pub(crate) fn raw(status: u16, body: impl Into<String>) -> Self {
        Self { status, body: body.into(), ending: Ending::Whole }
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
    paths: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
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
        let (script, paths) = (Arc::new(script), Arc::<Mutex<Vec<String>>>::default());
        let targets = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&paths);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (script, paths, targets) = (Arc::clone(&script), Arc::clone(&seen), Arc::clone(&targets));
                tokio::spawn(serve(stream, move |target, headers| {
                    let mut request = read(target, headers);
                    paths.lock().unwrap().push(request.path.clone());
                    let mut targets = targets.lock().unwrap();
                    targets.push(target.to_owned());
                    request.times = targets.iter().filter(|known| *known == target).count();
                    drop(targets);
                    script(&request)
                }));
            }
        });
        Self { port, paths, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How many requests there were.
    pub(crate) fn requests(&self) -> usize {
        self.paths.lock().unwrap().len()
    }

    /// How many requests for a path there were.
    pub(crate) fn requests_of(&self, path: &str) -> usize {
        self.paths.lock().unwrap().iter().filter(|known| *known == path).count()
    }
}

/// One request a connection: what the client does with a connection that is kept is not tested here.
async fn serve(mut stream: TcpStream, answer: impl Fn(&str, &str) -> Answer) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let (line, headers) = head.split_once("\r\n").unwrap();
    let target = line.split(' ').nth(1).unwrap();
    let Answer { status, body, ending } = answer(target, headers);
    let sent = if ending == Ending::Half { &body[..body.len() / 2] } else { &body };
    let length = if ending == Ending::Never { String::new() } else { format!("content-length: {}\r\n", body.len()) };
    let response =
        format!("HTTP/1.1 {status} x\r\ncontent-type: application/json\r\n{length}connection: close\r\n\r\n{sent}");
    let _ = stream.write_all(response.as_bytes()).await;
    if ending == Ending::Never {
        let spaces = vec![b' '; 1 << 20];
        while stream.write_all(&spaces).await.is_ok() {}
    }
    let _ = stream.shutdown().await;
}

fn read(target: &str, headers: &str) -> Recorded {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let headers = headers.lines().filter_map(|line| line.split_once(": "));
    Recorded {
        path: path.to_owned(),
        times: 0,
        query: pairs.map(|(key, value)| (key.to_owned(), percent_decode(value))).collect(),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect(),
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
