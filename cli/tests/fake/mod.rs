//! A server that answers as it is told and remembers what it was asked, and the program that asks it.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, Response, StatusCode, header::CONTENT_TYPE},
};
use tokio::{net::TcpListener, runtime::Runtime};

/// What the server was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: Method,
    /// Path and query.
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// What it answers to a path and query.
#[derive(Debug, Clone)]
pub struct Answer {
    target: String,
    status: u16,
    kind: &'static str,
    body: String,
}

#[derive(Clone)]
struct Known {
    answers: Arc<Vec<Answer>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

/// A server on loopback.
pub struct Fake {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: Runtime,
}

/// An answer in JSON. The target is decoded: `v1/where?image=nginx:1.25`.
pub fn json(target: &str, status: u16, body: &str) -> Answer {
    let kind = if status < 400 { "application/json" } else { "application/problem+json" };
    Answer { target: target.to_owned(), status, kind, body: body.to_owned() }
}

/// An answer in CSV.
pub fn csv(target: &str, body: &str) -> Answer {
    Answer { target: target.to_owned(), status: 200, kind: "text/csv; charset=utf-8", body: body.to_owned() }
}

/// A stream of events, which ends.
pub fn events(target: &str, body: &str) -> Answer {
    Answer { target: target.to_owned(), status: 200, kind: "text/event-stream", body: body.to_owned() }
}

impl Fake {
    pub fn start(answers: &[Answer]) -> Self {
        let runtime = Runtime::new().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let known = Known { answers: Arc::new(answers.to_vec()), asked: asked.clone() };
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(answer).with_state(known);
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { url, asked, _runtime: runtime }
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The one thing that it was asked.
    pub fn asked_once(&self) -> Asked {
        let [asked] = <[Asked; 1]>::try_from(self.asked()).unwrap();
        asked
    }

    /// Runs the program against it.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Program::new(arguments).variable("STOCKTAKE_URL", &self.url).run()
    }
}

async fn answer(State(known): State<Known>, request: Request) -> Response<axum::body::Body> {
    let (parts, body) = request.into_parts();
    let target = decoded(parts.uri.path_and_query().unwrap().as_str().trim_start_matches('/'));
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let asked = Asked { method: parts.method, target: target.clone(), headers: parts.headers, body };
    known.asked.lock().unwrap().push(asked);
    // What it is asked again, it answers with the next that it was told, and at last always with that.
    let before = known.asked.lock().unwrap().iter().filter(|asked| asked.target == target).count() - 1;
    let mut found: Vec<&Answer> = known.answers.iter().filter(|answer| answer.target == target).collect();
    found.truncate(before + 1);
    let found = found.pop().cloned();
    let answer = found.unwrap_or_else(|| json(&target, 404, &format!(r#"{{"title":"nothing at {target}"}}"#)));
    Response::builder()
        .status(StatusCode::from_u16(answer.status).unwrap())
        .header(CONTENT_TYPE, answer.kind)
        .body(answer.body.into())
        .unwrap()
}

fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
            out.push(u8::from_str_radix(str::from_utf8(&digits).unwrap(), 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}

/// The program, with nothing in its environment but what is said.
pub struct Program {
    command: Command,
    input: Vec<u8>,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Program {
    pub fn new(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stocktake"));
        command.args(arguments).env_clear();
        Self { command, input: Vec::new() }
    }

    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// With this folder as its home.
    pub fn home(self, home: &Path) -> Self {
        self.variable("XDG_CONFIG_HOME", home.to_str().unwrap())
    }

    pub fn input(mut self, input: &[u8]) -> Self {
        self.input = input.to_vec();
        self
    }

    pub fn run(mut self) -> Ended {
        let piped = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap();
        // It may end without having read.
        let _ = child.stdin.take().unwrap().write_all(&self.input);
        let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
        Ended {
            code: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }
}

impl Ended {
    /// Checks that it ended so, and what it said of that.
    pub fn failed(&self, code: i32, told: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(told), "{told:?} is not in {self:?}");
    }

    /// What it printed, having done what was asked for without a word.
    pub fn printed(&self) -> &str {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{self:?}");
        &self.out
    }
}
