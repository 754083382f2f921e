//! Bodies of requests that are a JSON object.

use axum::{Json, extract::rejection::JsonRejection};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Problem;

/// A body as it came.
pub(crate) type Body = Result<Json<Box<RawValue>>, JsonRejection>;

/// Reads a body. It is an object, though serde would also take a list of the values of its fields.
pub(crate) fn body<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let Json(body) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    if !body.get().starts_with('{') {
        return Err(Problem::bad_request("the body is no JSON object"));
    }
    serde_json::from_str(body.get())
        .map_err(|error| Problem::bad_request(format!("the body is not what belongs here: {error}")))
}
