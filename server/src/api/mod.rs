//! The server's own REST interface: `/v1/…`. What it asks the database is led by the caller's account, always.
//!
//! A question is read by `asked`, made into SQL by `visible` (what is in the inventory now) and `filters`, and answered by
//! `answer`: a page, or all pages as a stream. A file a view has its lines and its columns.

#![allow(clippy::format_push_string, reason = "statements are put together")]

mod answer;
mod asked;
pub(crate) mod changes;
mod containers;
mod dead_letters;
mod document;
mod event_id;
mod events;
mod filters;
mod find;
mod fragments;
mod images;
mod images_named;
mod pods;
mod shared;
mod sources;
pub(crate) mod statement;
mod subscriptions;
pub(crate) mod visible;
mod whereabouts;

#[cfg(test)]
mod tests;

use axum::{Json, Router, response::IntoResponse as _};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{access::Reader, app::App};

/// All of `/v1/` that is read.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(description())
        .routes(routes!(sources::agents))
        .routes(routes!(sources::list))
        .routes(routes!(sources::set))
        .routes(routes!(sources::scopes))
        .routes(routes!(pods::workloads))
        .routes(routes!(pods::pods))
        .routes(routes!(containers::containers))
        .routes(routes!(containers::container))
        .routes(routes!(images::images))
        .routes(routes!(whereabouts::whereabouts))
        .routes(routes!(changes::changes))
        .routes(routes!(events::events))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::replay))
        .routes(routes!(subscriptions::list, subscriptions::create))
        .routes(routes!(subscriptions::one, subscriptions::change, subscriptions::delete))
}

/// Where the description is served.
pub(crate) const DOCUMENT: &str = "/v1/openapi.json";

/// A router beside the description of all that it serves.
pub(crate) fn described(router: OpenApiRouter<App>) -> Router<App> {
    let (router, document) = router.split_for_parts();
    let document = document::complete(&document);
    let served = move |_: Reader| {
        let document = document.clone();
        async move { Json(document).into_response() }
    };
    router.route(DOCUMENT, axum::routing::get(served))
}

fn description() -> OpenApi {
    let info = InfoBuilder::new()
        .title("Stocktake")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Which container images are running, where, and since when."));
    OpenApiBuilder::new().info(info.build()).build()
}
