//! Errors as people and programs get them: problem details (RFC 9457).

use axum::{
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use stocktake_core::{Digest, wire};

use crate::database::{DatabaseError, Failure};

/// Why a request is not answered as it asks.
#[derive(Debug, thiserror::Error)]
#[error("{title}")]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// Which problem, if it is one that programs solve.
    pub(crate) kind: &'static str,
    /// What happened, to which thing, and what to do.
    pub(crate) title: String,
    /// The digests that it is about.
    pub(crate) digests: Vec<Digest>,
    /// Seconds after which it is worth trying again.
    pub(crate) retry_after: Option<u64>,
    /// What the log gets and the client does not.
    #[source]
    pub(crate) cause: Option<Box<DatabaseError>>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, title: impl Into<String>) -> Self {
        Self { status, kind: "about:blank", title: title.into(), digests: Vec::new(), retry_after: None, cause: None }
    }

    pub(crate) fn bad_request(title: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, title)
    }

    pub(crate) fn not_found(title: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, title)
    }

    pub(crate) fn forbidden(title: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, title)
    }

    /// Nobody is known by what the request came with. The answer says how to log in.
    pub(crate) fn unauthorized(title: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, title)
    }

    /// To be asked again after so many seconds.
    pub(crate) fn too_many(title: impl Into<String>, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..Self::new(StatusCode::TOO_MANY_REQUESTS, title) }
    }

    /// One of [`wire::problem`]'s.
    pub(crate) fn conflict(kind: &'static str, title: impl Into<String>, digests: Vec<Digest>) -> Self {
        Self { kind, digests, ..Self::new(StatusCode::CONFLICT, title) }
    }

    /// The same, for who tries again in so many seconds.
    pub(crate) fn later(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// A database that does not answer, or has no room, is no word on the request: whoever made it tries again. One that does not take it
/// is.
impl From<DatabaseError> for Problem {
    fn from(cause: DatabaseError) -> Self {
        tracing::error!(error = &cause as &dyn std::error::Error, "a request could not be served");
        let (status, retry_after, title) = match cause.failure() {
            Failure::Passing => {
                let title = "the database cannot be used at the moment; try again later";
                (StatusCode::SERVICE_UNAVAILABLE, Some(5), title)
            }
            Failure::Full => {
                let title = "the database has no room left on its disk: make some; then try again";
                (StatusCode::INSUFFICIENT_STORAGE, Some(30), title)
            }
            Failure::Values => {
                let title = "the database does not take what is in the request; its server's log says why";
                (StatusCode::UNPROCESSABLE_ENTITY, None, title)
            }
        };
        Self { retry_after, cause: Some(Box::new(cause)), ..Self::new(status, title) }
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        DatabaseError::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = wire::Problem { kind: self.kind.to_owned(), title: self.title, detail: None, digests: self.digests };
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.status, [(CONTENT_TYPE, "application/problem+json")], body).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let ways = HeaderValue::from_static("Basic realm=\"stocktake\", Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, ways);
        }
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert("retry-after", seconds.into());
        }
        response
    }
}
