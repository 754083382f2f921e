//! What a receiver is sent: an event as `CloudEvents` 1.0 in JSON, in the structured mode (<https://github.com/cloudevents/spec>).

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::log::Told;

/// Media type of an event.
pub(crate) const MEDIA_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// How long a line may be, in characters.
const LINE: usize = 300;

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
        id: &told.change.event_id,
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
        id: &format!("removed-{first}-{last}"),
        source: source(account),
        kind: "stocktake.events.removed".to_owned(),
        subject: None,
        time: &Timestamp::now().to_string(),
        datacontenttype: "application/json",
        data: &serde_json::value::to_raw_value(&serde_json::json!({"first": first, "last": last}))?,
    })
}

/// An event for people, in a line.
pub(crate) fn line(told: &Told) -> String {
    let event: Value = serde_json::from_str(told.json.get()).unwrap_or_default();
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let context = told.change.context.as_deref().unwrap_or_default();
    let change = told.change.change.replace('_', " ");
    let line = match told.change.entity {
        "container" => {
            let name = [text("/container/pod/name"), text("/container/name")];
            let name = name.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            let detail = if event["detail"].is_null() { String::new() } else { format!(" {}", event["detail"]) };
            format!("container {name} ({}) {change} in {context}{detail}", text("/container/image"))
        }
        "image" => format!("image {} {change} in {context}", text("/image/image")),
        "agent" => {
            let places = event["detail"]["places"].as_array().into_iter().flatten();
            let places: Vec<&str> = places.filter_map(Value::as_str).collect();
            format!("agent {} ({}) is {change}", text("/detail/hostname"), places.join(", "))
        }
        _ => {
            let (now, reason) = (text("/detail/coverage/1"), text("/detail/reason"));
            format!("{change} of {context}: {now} {reason}").trim_end().to_owned()
        }
    };
    line.chars().filter(|character| !character.is_control()).take(LINE).collect()
}

fn source(account: &str) -> String {
    // Names of accounts have no character that a URI does not.
    format!("/stocktake/accounts/{account}")
}

fn written(event: &CloudEvent<'_>) -> Result<Bytes, serde_json::Error> {
    serde_json::to_vec(event).map(Bytes::from)
}
