//! What a receiver is sent: an event as `CloudEvents` 1.0 in JSON, in the structured mode (<https://github.com/cloudevents/spec>).

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::log::Told;

/// Media type of an event.
pub(crate) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    /// With `source` no two events have the same.
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    /// The context.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: &'a str,
    datacontenttype: &'static str,
    data: &'a RawValue,
}

/// An event of an account.
pub(crate) fn event(account: &str, told: &Told) -> Result<Bytes, serde_json::Error> {
    written(&CloudEvent {
        specversion: "1.0",
        id: &told.change.id.to_string(),
        source: source(account),
        kind: format!("stocktake.{}", told.facets.kind()),
        subject: told.change.context.as_deref(),
        time: &told.change.at,
        datacontenttype: "application/json",
        data: &told.json,
    })
}

/// That events were removed with age before they could be sent: the first one's number and the last one's.
pub(crate) fn removed(account: &str, first: i64, last: i64) -> Result<Bytes, serde_json::Error> {
    written(&CloudEvent {
        specversion: "1.0",
        id: &format!("removed-{last}"),
        source: source(account),
        kind: "stocktake.events.removed".to_owned(),
        subject: None,
        time: &Timestamp::now().to_string(),
        datacontenttype: "application/json",
        data: &serde_json::value::to_raw_value(&serde_json::json!({"first": first, "last": last}))?,
    })
}

fn source(account: &str) -> String {
    // Names of accounts have no character that a URI does not.
    format!("/stocktake/accounts/{account}")
}

fn written(event: &CloudEvent<'_>) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(event).map(Bytes::from)
}
