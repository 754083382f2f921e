//! Lists that are written piece by piece, as no list of theirs has an end that is near.

use std::future::Future;

use axum::{
    body::Body,
    http::header::CONTENT_TYPE,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde::Serialize;

use super::answer::ForeignProblem;
use crate::http::Problem;

/// Some of a list, and where it goes on, if it does.
pub(super) type Piece<T, P> = (Vec<T>, Option<P>);

/// Answers with a list: within an object, under `key`, or bare. The first piece is asked for before the answer begins, so that what
/// fails at once is told as an error. What fails later breaks the answer off, so that nobody takes it for all.
pub(super) async fn list<T, P, F>(
    key: Option<&'static str>,
    from: P,
    next: impl Fn(P) -> F + Send + 'static,
) -> Result<Response, ForeignProblem>
where
    T: Serialize + Send + 'static,
    P: Send + 'static,
    F: Future<Output = Result<Piece<T, P>, Problem>> + Send,
{
    let first = next(from).await?;
    let (head, tail) = match key {
        Some(key) => (format!("{{\"{key}\":["), "]}"),
        None => ("[".to_owned(), "]"),
    };
    let pieces = stream::try_unfold((Some(first), None, true, next), |(ready, at, is_first, next)| async move {
        let (items, at) = match (ready, at) {
            (Some(piece), _) => piece,
            (None, Some(at)) => next(at).await.map_err(std::io::Error::other)?,
            (None, None) => return Ok::<_, std::io::Error>(None),
        };
        let written = written(&items, is_first)?;
        let is_first = is_first && items.is_empty();
        Ok(Some((written, (None, at, is_first, next))))
    });
    let head = stream::once(async { Ok(Bytes::from(head)) });
    let tail = stream::once(async move { Ok(Bytes::from_static(tail.as_bytes())) });
    let body = Body::from_stream(head.chain(pieces).chain(tail));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn written<T: Serialize>(items: &[T], mut is_first: bool) -> Result<Bytes, std::io::Error> {
    let mut out = Vec::new();
    for item in items {
        if !is_first {
            out.push(b',');
        }
        is_first = false;
        serde_json::to_writer(&mut out, item)?;
    }
    Ok(out.into())
}
