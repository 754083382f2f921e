//! How their agents and tools are answered: errors in their form, whatever refused the request.

use axum::{
    extract::{FromRequestParts, Query},
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{access::NO_SUCH_ACCOUNT, app::App, http::Problem, ingest::has_nul};

/// An error as Anchore's agents and tools print it.
#[derive(Debug)]
pub(super) struct ForeignProblem(Problem);

impl From<Problem> for ForeignProblem {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl From<sqlx::Error> for ForeignProblem {
    fn from(error: sqlx::Error) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for ForeignProblem {
    fn into_response(self) -> Response {
        let Self(problem) = self;
        let status = problem.status;
        let kind = status.canonical_reason().unwrap_or("error").to_lowercase().replace(' ', "_");
        // Agents look for these words.
        let message = match status {
            _ if problem.kind == NO_SUCH_ACCOUNT => format!("User account not found: {}", problem.title),
            StatusCode::FORBIDDEN => format!("Not authorized. Requires permissions: {}", problem.title),
            _ => problem.title.clone(),
        };
        let body = json!({
            "code": status.as_u16(),
            "httpcode": status.as_u16(),
            "error_type": kind,
            "message": message,
            "detail": {},
        });
        let mut response = problem.into_response();
        let headers = std::mem::take(response.headers_mut());
        let mut answer = (status, axum::Json(body)).into_response();
        for name in ["retry-after", "www-authenticate"] {
            if let Some(value) = headers.get(name) {
                answer.headers_mut().insert(name, value.clone());
            }
        }
        answer
    }
}

/// What another extractor makes, with errors in their form.
pub(super) struct Foreign<T>(pub(super) T);

impl<T: FromRequestParts<App, Rejection = Problem>> FromRequestParts<App> for Foreign<T> {
    type Rejection = ForeignProblem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ForeignProblem> {
        Ok(Self(T::from_request_parts(parts, app).await?))
    }
}

/// The parameters of a request.
pub(super) struct Asks<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Asks<T> {
    type Rejection = ForeignProblem;

    async fn from_request_parts(parts: &mut Parts, _app: &App) -> Result<Self, ForeignProblem> {
        let query = parts.uri.query().unwrap_or_default();
        // No name has it, and PostgreSQL takes no text with it.
        if query.contains("%00") || query.contains('\0') {
            return Err(Problem::bad_request("a parameter has a character that no name has").into());
        }
        let Query(asked) = Query::try_from_uri(&parts.uri)
            .map_err(|error| Problem::bad_request(format!("the parameters cannot be read: {error}")))?;
        Ok(Self(asked))
    }
}

/// Reads a body.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if has_nul(bytes) {
        return Err(Problem::bad_request("the body has a text with a NUL character in it"));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json)
        .map_err(|error| Problem::bad_request(format!("the body is not what belongs here: {error}")))
}
