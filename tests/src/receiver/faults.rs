//! What a server, or what stands before it, can do wrong.

use std::{collections::VecDeque, time::Duration};

use axum::{
    body::Body,
    http::{Response, StatusCode},
};
use futures_util::StreamExt as _;

/// A fault.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers with a status and a body, without looking at the request.
    Status(u16, &'static str),
    /// Asks to come back so many seconds later (429).
    RetryAfter(u64),
    /// Answers with a page to log in at, and 200.
    LoginPage,
    /// Refuses what has more bytes than that (413).
    LargerThan(usize),
    /// Reads so many bytes of the request and closes the connection.
    CutAfter(usize),
    /// Takes the report, and closes the connection instead of answering.
    TakenUnanswered,
    /// Takes that long to answer, then does it soundly.
    Slow(Duration),
    /// Never answers.
    Hang,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) next: VecDeque<Fault>,
    pub(super) always: Option<Fault>,
}

impl Faults {
    pub(super) fn take(&mut self) -> Option<Fault> {
        self.next.pop_front().or_else(|| self.always.clone())
    }
}

/// How a request is answered that was taken.
pub(super) enum Answered {
    Soundly,
    Not,
}

pub(super) enum Before {
    Answer(Response<Body>),
    GoOn(Body, Answered),
}

impl Fault {
    pub(super) async fn before(self, body: Body) -> Before {
        let respond = |status: u16, text: &'static str| {
            Response::builder().status(status).body(Body::from(text)).expect("a response")
        };
        match self {
            Self::Status(status, text) => {
                drain(body).await;
                Before::Answer(respond(status, text))
            }
            Self::RetryAfter(seconds) => {
                drain(body).await;
                let response = Response::builder().status(429).header("retry-after", seconds);
                Before::Answer(response.body(Body::empty()).expect("a response"))
            }
            Self::LoginPage => {
                drain(body).await;
                Before::Answer(respond(200, "<!DOCTYPE html><html><body>Please log in</body></html>"))
            }
            Self::LargerThan(limit) => match axum::body::to_bytes(body, usize::MAX).await {
                Ok(bytes) if bytes.len() <= limit => Before::GoOn(Body::from(bytes), Answered::Soundly),
                _ => Before::Answer(respond(413, "")),
            },
            Self::CutAfter(limit) => {
                let (mut read, mut stream) = (0, body.into_data_stream());
                while read < limit
                    && let Some(Ok(chunk)) = stream.next().await
                {
                    read += chunk.len();
                }
                Before::Answer(cut())
            }
            Self::TakenUnanswered => Before::GoOn(body, Answered::Not),
            Self::Slow(time) => {
                tokio::time::sleep(time).await;
                Before::GoOn(body, Answered::Soundly)
            }
            Self::Hang => std::future::pending().await,
        }
    }
}

/// An answer whose body breaks off, at which the server closes the connection.
pub(super) fn cut() -> Response<Body> {
    let broken = futures_util::stream::iter([Err::<&[u8], _>(std::io::Error::other("cut"))]);
    Response::builder().status(StatusCode::OK).body(Body::from_stream(broken)).expect("a response")
}

async fn drain(body: Body) {
    let mut stream = body.into_data_stream();
    while let Some(Ok(_)) = stream.next().await {}
}
