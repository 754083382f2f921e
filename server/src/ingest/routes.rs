//! The manifest protocol over HTTP.

use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
};
use jiff::Timestamp;
use stocktake_core::wire::{self, Receipt, Stored};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::Sender;
use crate::{
    access::{Caller, Reporter},
    app::App,
    http::Problem,
    metrics::Reported,
};

/// `POST v1/reports` and `POST v1/scopes`.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(reports)).routes(routes!(scopes))
}

#[utoipa::path(post, path = "/v1/reports", tag = "agents",
    description = "Takes a report of `stocktake-agent`, or a bundle. The protocol: docs/protocol.md.",
    request_body(content = String, content_type = "application/vnd.stocktake.frames", description = "Frames of zstd."),
    responses((status = OK, description = "it is here"),
        (status = CONFLICT, description = "something that it names is not here: `type` and `digests` say what to send")))]
async fn reports(
    Reporter(caller): Reporter,
    State(app): State<App>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<(Extension<Reported>, Json<Receipt>), Problem> {
    check_type(&headers)?;
    let sent_at = sent_at(&headers)?;
    let receipt = app.ingest.report(sender(&caller), sent_at, bytes).await?;
    Ok((Extension(receipt.outcome.into()), Json(receipt)))
}

#[utoipa::path(post, path = "/v1/scopes", tag = "agents",
    description = "Takes bodies that go ahead of a report. The protocol: docs/protocol.md.",
    request_body(content = String, content_type = "application/vnd.stocktake.frames", description = "Frames of zstd."),
    responses((status = OK, description = "they are here"),
        (status = CONFLICT, description = "a dictionary that one was made with is not here")))]
async fn scopes(
    Reporter(caller): Reporter,
    State(app): State<App>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Result<Json<Stored>, Problem> {
    check_type(&headers)?;
    Ok(Json(app.ingest.scopes(sender(&caller), bytes).await?))
}

fn sender(caller: &Caller) -> Sender {
    Sender { account: caller.account_id, credential: caller.credential }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(CONTENT_TYPE).is_some_and(|value| value == wire::MEDIA_TYPE) {
        return Ok(());
    }
    let title = format!("the body of this request is expected to be {}", wire::MEDIA_TYPE);
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, title))
}

/// A request without it is a bundle's, or from a client that cannot tell.
fn sent_at(headers: &HeaderMap) -> Result<Option<Timestamp>, Problem> {
    let Some(value) = headers.get(wire::SENT_AT) else { return Ok(None) };
    let time = value.to_str().ok().and_then(|value| value.parse().ok());
    let title = || Problem::bad_request(format!("header {} is no time as in RFC 3339", wire::SENT_AT));
    time.ok_or_else(title).map(Some)
}
