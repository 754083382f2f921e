//! Metrics as Prometheus reads them, and as people read about them.

use std::fmt::{self, Write as _};

use prometheus_client::{
    collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, prometheus_text, text},
    metrics::MetricType,
    registry::{Registry, Unit},
};

use super::{
    Telemetry,
    metrics::{Known, METRICS, PREFIX, Sample, Value},
    moment::Moment,
};

/// The media type of `OpenMetrics`, which who asks for it gets.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text";

/// What is exposed, and its media type.
pub(super) fn exposed(telemetry: &Telemetry, is_open_metrics: bool) -> Result<(String, String), fmt::Error> {
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(telemetry.clone()));
    let mut body = String::new();
    if is_open_metrics {
        text::encode(&mut body, &registry)?;
        Ok((body, format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8")))
    } else {
        prometheus_text::encode(&mut body, &registry)?;
        Ok((body, prometheus_text::CONTENT_TYPE.to_owned()))
    }
}

impl collector::Collector for Telemetry {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let (state, now) = (self.state(), Moment::now());
        let status = state.status(now);
        let known = Known { state: &state, status: &status, now };
        for metric in METRICS {
            let unit = metric.unit.map(|unit| Unit::Other(unit.to_owned()));
            let mut encoder = encoder.encode_descriptor(metric.name, metric.help, unit.as_ref(), metric.kind)?;
            for Sample { labels, value } in (metric.samples)(&known) {
                let labels: Vec<(&str, String)> = metric.labels.iter().copied().zip(labels).collect();
                encode(value, encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn encode(value: Value, mut encoder: MetricEncoder<'_>) -> fmt::Result {
    match value {
        Value::Gauge(value) => encoder.encode_gauge(&value),
        Value::Counter(value) => encoder.encode_counter::<[(&str, &str); 0], _, u64>(&value, None),
        Value::Histogram(histogram) => histogram.encode(encoder),
    }
}

/// The page that tells what is measured, in Markdown.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Health, metrics and traces\n\n\
         Generated from the program (`stocktake-agent metrics`) by `tests/tests/docs.rs`.\n\n## Metrics\n\n\
         `stocktake-agent run` serves these at `/metrics`, in the text form of Prometheus or, for who asks for it, as OpenMetrics: at \
         `listen` of `[telemetry]`, and at its `socket`. Labels have values from the configuration (names of collectors and \
         targets) or words of a fixed set, so that there are no more series than the configuration makes. Counters count from the \
         agent's start; a collector or target that the configuration does not name any more is gone.\n\n\
         | name | type | labels | what it is |\n|---|---|---|---|\n",
    );
    for metric in METRICS {
        let kind = match metric.kind {
            MetricType::Counter => "counter",
            MetricType::Histogram => "histogram",
            _ => "gauge",
        };
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        // Writing to a string does not fail.
        let _ = writeln!(page, "| `{}` | {kind} | {} | {} |", metric.full_name(), labels.join(", "), metric.help);
    }
    page.push_str(REST);
    page
}

const REST: &str = "
## What to be alerted of

| expression | when it is true |
|---|---|
| `stocktake_agent_ready == 0` | something is not seen at all, reports cannot be kept on disk, or it is not known who has the Lease |
| `time() - stocktake_agent_collector_complete_timestamp_seconds > 900` | a runtime was not seen completely for a quarter of an hour |
| `stocktake_agent_target_queue_oldest_seconds > 900` | a target takes nothing for a quarter of an hour |
| `increase(stocktake_agent_reports_dropped_total[1h]) > 0` | reports are lost |
| `stocktake_agent_configuration_valid == 0` | the configuration was changed and is not in force |

## Health

| path | 200 | 503 |
|---|---|---|
| `/livez` | the agent is at work | what makes reports has done nothing for ten intervals: restart it |
| `/readyz` | something is seen of every runtime, and reports can be kept | a runtime was not looked at yet, failed, is denied or hangs, the spool cannot be written, or it cannot be known who has the Lease |

A runtime hangs if a look had no answer within `timeout`, or if a look should have ended a quarter of a minute ago and has not. The body
of `/readyz` says why it is not ready, a line a thing, and behind `remark:` what is less good than it could be and yet no reason: a
runtime that is seen in part, a target that takes nothing (the spool keeps what is for it), reports that were dropped, a configuration
that is not valid, a Lease that another agent has.

An agent that stands by for a Lease is ready, as the standbys of Kubernetes' own controllers are: it is there to take over, and can. If
it were not, `helm --wait` and rollouts would never be done, and a PodDisruptionBudget would let nobody be evicted.

`stocktake-agent status` prints all of it, and asks at the socket for `/status`, which is JSON and is not served at `listen`.

## Traces

With `otlp_endpoint` a span `collect` is sent for each look (`collector`, `kind`, `coverage`, `timed_out`, `scopes`, `scopes_incomplete`,
`scopes_changed`, `containers`), and a span `deliver` for each attempt to deliver a report (`target`, `report`, and `bytes` and
`requests`, or `status`), by OTLP over HTTP in protobuf to `/v1/traces`. Those that the receiver does not take are lost.
";
