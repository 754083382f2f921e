//! What is exposed is what the table says, all of it and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use prometheus_client::metrics::MetricType;
use stocktake_core::model::Coverage;

use super::{denied, good, look, seconds, telemetry};
use crate::{
    deliver::{Failure, Sent},
    spool::Backlog,
    telemetry::{
        Telemetry,
        exposition::{exposed, page},
        metrics::{METRICS, Metric},
    },
};

/// An agent to which everything has happened of which something is measured.
fn eventful() -> Telemetry {
    let (telemetry, now) = telemetry(&["a", "b"], &["x"]);
    telemetry.looked_at(&good("a"), now);
    telemetry.looked_at(&good("a"), now);
    telemetry.looked_at(&look("b", Coverage::Complete, &[Coverage::Complete, denied("no")]), now);
    telemetry.reported(7);
    telemetry.delivered("x", 7, &Sent { bytes: 1000, requests: 2 }, seconds(1));
    let failure = Failure::Later { after: None, status: "unreachable".into(), message: String::new() };
    telemetry.not_delivered("x", 8, &failure, seconds(2), None);
    telemetry.dropped("x", 2, "age");
    telemetry.backlog("x", Backlog { reports: 2, bytes: 500, oldest: Some(now.at - seconds(90)) });
    telemetry
}

/// The names with their types, and the values by name and labels.
fn read(body: &str) -> (BTreeMap<&str, &str>, BTreeMap<&str, f64>) {
    let types = body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let values = body.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
    (types, values.map(|(series, value)| (series, value.parse().unwrap())).collect())
}

fn labels(series: &str) -> BTreeSet<&str> {
    let inner = series.split_once('{').map_or("", |(_, labels)| labels.trim_end_matches('}'));
    inner.split(',').filter_map(|label| label.split_once('=')).map(|(key, _)| key).filter(|key| *key != "le").collect()
}

#[test]
fn everything_in_the_table_is_exposed_and_everything_exposed_is_in_it() {
    let (body, media_type) = exposed(&eventful(), false).unwrap();
    assert_eq!(media_type, "text/plain; version=0.0.4; charset=utf-8");
    let (types, values) = read(&body);
    let of_table: BTreeMap<String, &str> = METRICS.iter().map(|it| (it.full_name(), it.kind.as_str())).collect();
    let exposed: BTreeMap<String, &str> = types.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    assert_eq!(exposed, of_table, "{body}");
    assert_eq!(of_table.len(), METRICS.len(), "a name is there twice");
    for metric in METRICS {
        let name = metric.full_name();
        let is_of_it = |series: &str| {
            let rest = series.strip_prefix(&name)?;
            let is_part = ["_bucket", "_sum", "_count"].iter().any(|part| rest.starts_with(part));
            (rest.is_empty() || rest.starts_with('{') || is_part).then_some(())
        };
        let series: Vec<&str> = values.keys().copied().filter(|series| is_of_it(series).is_some()).collect();
        assert!(!series.is_empty(), "{name} has no value\n{body}");
        let expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
        assert!(series.iter().all(|series| labels(series) == expected), "{name}: {series:?}");
    }
}

#[test]
fn names_are_as_prometheus_wants_them() {
    for metric in METRICS {
        let name = metric.full_name();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(name.ends_with("_total"), matches!(metric.kind, MetricType::Counter), "{name}");
        assert!(!metric.help.is_empty() && !metric.help.ends_with('.') && !metric.help.contains('|'), "{name}");
        let is_unit_said = |word: &str| metric.name.split('_').all(|part| part != word);
        assert!(is_unit_said("seconds") && is_unit_said("bytes"), "{name}: a unit belongs into its field");
    }
}

#[test]
fn values_are_what_happened() {
    let (body, _) = exposed(&eventful(), false).unwrap();
    let (_, values) = read(&body);
    for (series, value) in [
        ("ready", 1.0),
        ("collector_up{collector=\"a\",kind=\"docker\"}", 1.0),
        ("collector_looks_total{collector=\"a\",outcome=\"complete\"}", 2.0),
        ("collector_looks_total{collector=\"a\",outcome=\"timeout\"}", 0.0),
        ("collector_looks_total{collector=\"b\",outcome=\"partial\"}", 1.0),
        ("collection_duration_seconds_count{collector=\"a\"}", 2.0),
        ("collection_duration_seconds_bucket{collector=\"a\",le=\"0.05\"}", 2.0),
        ("collection_duration_seconds_bucket{collector=\"a\",le=\"0.01\"}", 0.0),
        ("collector_scopes{collector=\"b\",coverage=\"complete\"}", 1.0),
        ("collector_scopes{collector=\"b\",coverage=\"denied\"}", 1.0),
        ("collector_scopes{collector=\"b\",coverage=\"failed\"}", 0.0),
        ("collector_entities{collector=\"a\",kind=\"containers\"}", 3.0),
        ("collector_requests_total{collector=\"a\"}", 6.0),
        ("collector_received_bytes_total{collector=\"a\"}", 2000.0),
        ("collector_kept_bytes{collector=\"a\"}", 50.0),
        ("collector_warnings{collector=\"a\"}", 1.0),
        ("reports_total", 1.0),
        ("spool_writable", 1.0),
        ("target_up{target=\"x\",kind=\"file\"}", 0.0),
        ("target_deliveries_total{target=\"x\",status=\"ok\"}", 1.0),
        ("target_deliveries_total{target=\"x\",status=\"unreachable\"}", 1.0),
        ("target_sent_bytes_total{target=\"x\"}", 1000.0),
        ("target_queue_reports{target=\"x\"}", 2.0),
        ("reports_dropped_total{target=\"x\",reason=\"age\"}", 2.0),
    ] {
        assert_eq!(values.get(format!("stocktake_agent_{series}").as_str()), Some(&value), "{series}\n{body}");
    }
    let oldest = values["stocktake_agent_target_queue_oldest_seconds{target=\"x\"}"];
    assert!((90.0..5000.0).contains(&oldest), "{oldest}");
}

#[test]
fn who_wants_open_metrics_gets_them() {
    let (body, media_type) = exposed(&eventful(), true).unwrap();
    assert!(media_type.starts_with("application/openmetrics-text"));
    assert!(body.ends_with("# EOF\n") && body.contains("\n# UNIT stocktake_agent_target_sent_bytes bytes\n"), "{body}");
}

#[test]
fn the_page_tells_of_every_metric() {
    let page = page();
    for metric in METRICS {
        assert!(page.contains(&format!("| `{}` |", metric.full_name())), "{}", metric.full_name());
    }
    // And what it proposes to watch is there.
    let words = page.split('`').flat_map(|code| code.split(|it: char| !(it.is_ascii_lowercase() || it == '_')));
    let watched: BTreeSet<&str> = words.filter(|word| word.starts_with("stocktake_agent_")).collect();
    let names: BTreeSet<String> = METRICS.iter().map(Metric::full_name).collect();
    assert!(watched.len() > METRICS.len() / 2);
    assert!(watched.iter().all(|name| names.contains(*name)), "{watched:?}");
}
