//! What is measured: each metric with its name, its meaning, and where it is found in what is known. What is not in the
//! table is not exposed, and what is in it is computed when somebody asks.

use jiff::Timestamp;
use prometheus_client::metrics::{MetricType, histogram::Histogram};
use stocktake_core::model::Counts;

use super::{
    collector::{Collector, OUTCOMES},
    moment::Moment,
    state::State,
    status::{CollectorStatus, Status, TargetState, TargetStatus},
    target::Target,
};

/// What every name begins with.
pub(super) const PREFIX: &str = "stocktake_agent";

/// Something that is measured.
pub(crate) struct Metric {
    /// Without the prefix, the unit and a counter's `total`.
    pub(super) name: &'static str,
    pub(super) kind: MetricType,
    pub(super) unit: Option<&'static str>,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
    pub(super) samples: fn(&Known<'_>) -> Vec<Sample>,
}

impl Metric {
    /// As Prometheus knows it.
    pub(crate) fn full_name(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        let total = if matches!(self.kind, MetricType::Counter) { "_total" } else { "" };
        format!("{PREFIX}_{}{unit}{total}", self.name)
    }
}

/// What is known now.
pub(super) struct Known<'a> {
    pub(super) state: &'a State,
    pub(super) status: &'a Status,
    pub(super) now: Moment,
}

/// A value with those of the metric's labels, in their order.
pub(super) struct Sample {
    pub(super) labels: Vec<String>,
    pub(super) value: Value,
}

pub(super) enum Value {
    Gauge(f64),
    Counter(u64),
    Histogram(Histogram),
}

const COVERAGES: [&str; 4] = ["complete", "partial", "denied", "failed"];
const BYTES: Option<&str> = Some("bytes");
const SECONDS: Option<&str> = Some("seconds");
const COLLECTOR: &[&str] = &["collector"];
const TARGET: &[&str] = &["target"];

const fn metric(
    name: &'static str,
    kind: MetricType,
    unit: Option<&'static str>,
    labels: &'static [&'static str],
    help: &'static str,
    samples: fn(&Known<'_>) -> Vec<Sample>,
) -> Metric {
    Metric { name, kind, unit, labels, help, samples }
}

use MetricType::{Counter, Gauge, Histogram as Buckets};

/// All of them.
#[rustfmt::skip]
pub(crate) const METRICS: &[Metric] = &[
    metric("build_info", Gauge, None, &["version"], "1, with the version of the agent", |known| {
        vec![labelled([&known.status.version], Value::Gauge(1.0))]
    }),
    metric("start_time", Gauge, SECONDS, &[], "When the agent was started (Unix time)", |known| one(unix(known.status.started_at))),
    metric("ready", Gauge, None, &[], "Whether `/readyz` says that the agent is ready", |known| one(truth(known.status.ready))),
    metric("configuration_valid", Gauge, None, &[], "Whether what was read last of the configuration file is in force; 0 if it was not valid and the former one is", |known| {
        one(truth(known.status.configuration.error.is_none()))
    }),
    metric("collector_up", Gauge, None, &["collector", "kind"], "Whether something is seen of the runtime; 0 if it was not looked at yet, failed, is denied or hangs", |known| {
        let sample = |it: &CollectorStatus| labelled([&it.name, &it.kind], Value::Gauge(truth(it.state.is_seen())));
        known.status.collectors.iter().map(sample).collect()
    }),
    metric("collector_watched", Gauge, None, COLLECTOR, "Whether the runtime tells what changes, and everything is seen", |known| {
        of_collectors(known, |it| Some(truth(it.is_watched)))
    }),
    metric("collector_looks", Counter, None, &["collector", "outcome"], "Looks at the runtime by what they came to: `complete`, `partial`, `denied`, `failed`, `timeout`", |known| {
        let counts = |it: &Collector| OUTCOMES.map(|word| (word, it.looks.get(word).copied().unwrap_or_default())).to_vec();
        by_word(&known.state.collectors, counts)
    }),
    metric("collection_duration", Buckets, SECONDS, COLLECTOR, "How long looks took", |known| {
        let sample = |(name, it): (&String, &Collector)| labelled([name], Value::Histogram(it.durations.clone()));
        known.state.collectors.iter().map(sample).collect()
    }),
    metric("collector_last_look_timestamp", Gauge, SECONDS, COLLECTOR, "When the latest look ended (Unix time)", |known| {
        of_collectors(known, |it| it.looked_at.map(unix))
    }),
    metric("collector_complete_timestamp", Gauge, SECONDS, COLLECTOR, "Until when everything is known (Unix time): when a look last saw all, or now, if the runtime tells what changes", |known| {
        of_collectors(known, |it| it.complete_at.map(unix))
    }),
    metric("collector_scopes", Gauge, None, &["collector", "coverage"], "Scopes by how completely they were seen: `complete`, `partial`, `denied`, `failed`", |known| {
        let count = |it: &CollectorStatus, word: &str| number(it.scopes.get(word).copied().unwrap_or_default());
        let samples = |it: &CollectorStatus| COVERAGES.map(|word| labelled([&it.name, word], Value::Gauge(count(it, word))));
        known.status.collectors.iter().flat_map(samples).collect()
    }),
    metric("collector_entities", Gauge, None, &["collector", "kind"], "What is in the scopes: `nodes`, `namespaces`, `workloads`, `pods`, `containers`, `images`; what was seen last of a scope that is not seen now counts", |known| {
        let samples = |it: &CollectorStatus| kinds(&it.counts).map(|(kind, count)| labelled([&it.name, kind], Value::Gauge(number(count))));
        known.status.collectors.iter().flat_map(samples).collect()
    }),
    metric("collector_warnings", Gauge, None, COLLECTOR, "Remarks on what could be better; `stocktake-agent status` has them in words", |known| {
        of_collectors(known, |it| Some(number(it.warnings.len())))
    }),
    metric("collector_requests", Counter, None, COLLECTOR, "Requests that looking sent to the runtime", |known| totals(&known.state.collectors, |it| it.cost.requests)),
    metric("collector_received", Counter, BYTES, COLLECTOR, "Bytes of the runtime's answers", |known| totals(&known.state.collectors, |it| it.cost.received_bytes)),
    metric("collector_throttled_requests", Counter, None, COLLECTOR, "Requests that the runtime put off because it has too much to do", |known| totals(&known.state.collectors, |it| it.cost.throttled)),
    metric("collector_kept", Gauge, BYTES, COLLECTOR, "What the collector keeps between two looks, by its own estimate", |known| {
        let sample = |(name, it): (&String, &Collector)| labelled([name], Value::Gauge(float(it.cost.kept_bytes)));
        known.state.collectors.iter().map(sample).collect()
    }),
    metric("reports", Counter, None, &[], "Reports that were made", |known| vec![labelled([], Value::Counter(known.status.reports.made))]),
    metric("last_report_timestamp", Gauge, SECONDS, &[], "When the latest report was made (Unix time)", |known| {
        known.status.reports.latest_at.map(unix).into_iter().flat_map(one).collect()
    }),
    metric("spool_writable", Gauge, None, &[], "Whether reports can be kept on disk", |known| one(truth(known.status.spool.error.is_none()))),
    metric("target_up", Gauge, None, &["target", "kind"], "Whether the target took what it was given last", |known| {
        let sample = |it: &TargetStatus| labelled([&it.name, &it.kind], Value::Gauge(truth(it.state != TargetState::Failing)));
        known.status.targets.iter().map(sample).collect()
    }),
    metric("target_queue_reports", Gauge, None, TARGET, "Reports that wait for the target", |known| of_targets(known, |it| Some(number(it.queue.reports)))),
    metric("target_queue", Gauge, BYTES, TARGET, "Bytes of their manifests on disk", |known| of_targets(known, |it| Some(float(it.queue.bytes)))),
    metric("target_queue_oldest", Gauge, SECONDS, TARGET, "Age of the oldest of them; 0 if none waits", |known| {
        of_targets(known, |it| Some(it.queue.oldest_at.map_or(0.0, |then| (unix(known.now.at) - unix(then)).max(0.0))))
    }),
    metric("target_last_delivery_timestamp", Gauge, SECONDS, TARGET, "When the target last took a report (Unix time)", |known| {
        of_targets(known, |it| it.delivered.as_ref().map(|delivered| unix(delivered.at)))
    }),
    metric("target_deliveries", Counter, None, &["target", "status"], "Attempts by how they ended: `ok`, an HTTP status, or a word such as `unreachable` and `timeout`", |known| {
        by_word(&known.state.targets, |it| it.deliveries.iter().map(|(word, count)| (word.as_str(), *count)).collect())
    }),
    metric("target_delivery_duration", Buckets, SECONDS, TARGET, "How long it took the target to take a report", |known| {
        let sample = |(name, it): (&String, &Target)| labelled([name], Value::Histogram(it.durations.clone()));
        known.state.targets.iter().map(sample).collect()
    }),
    metric("target_sent", Counter, BYTES, TARGET, "Bytes of the bodies that were sent for reports that it took", |known| totals(&known.state.targets, |it| it.sent.bytes)),
    metric("target_requests", Counter, None, TARGET, "Requests for them", |known| totals(&known.state.targets, |it| it.sent.requests)),
    metric("reports_dropped", Counter, None, &["target", "reason"], "Reports that the target will not get: `size` and `age` (too much or too long waited), `disk`, `damaged`, `superseded` (another agent of the same lease has reported since), `copied` (the spool is another machine's, which reports them)", |known| {
        by_word(&known.state.targets, |it| it.dropped.iter().map(|(word, count)| (*word, *count)).collect())
    }),
];

fn kinds(counts: &Counts) -> [(&'static str, usize); 6] {
    [
        ("nodes", counts.nodes),
        ("namespaces", counts.namespaces),
        ("workloads", counts.workloads),
        ("pods", counts.pods),
        ("containers", counts.containers),
        ("images", counts.images),
    ]
}

fn labelled<const N: usize>(labels: [&str; N], value: Value) -> Sample {
    Sample { labels: labels.map(str::to_owned).to_vec(), value }
}

fn one(value: f64) -> Vec<Sample> {
    vec![labelled([], Value::Gauge(value))]
}

fn of_collectors(known: &Known<'_>, value: impl Fn(&CollectorStatus) -> Option<f64>) -> Vec<Sample> {
    let sample = |it: &CollectorStatus| Some(labelled([&it.name], Value::Gauge(value(it)?)));
    known.status.collectors.iter().filter_map(sample).collect()
}

fn of_targets(known: &Known<'_>, value: impl Fn(&TargetStatus) -> Option<f64>) -> Vec<Sample> {
    let sample = |it: &TargetStatus| Some(labelled([&it.name], Value::Gauge(value(it)?)));
    known.status.targets.iter().filter_map(sample).collect()
}

fn totals<'a, T: 'a>(all: impl IntoIterator<Item = (&'a String, &'a T)>, value: impl Fn(&T) -> u64) -> Vec<Sample> {
    all.into_iter().map(|(name, it)| labelled([name], Value::Counter(value(it)))).collect()
}

fn by_word<'a, T: 'a>(
    all: impl IntoIterator<Item = (&'a String, &'a T)>,
    counts: impl Fn(&'a T) -> Vec<(&'a str, u64)>,
) -> Vec<Sample> {
    let samples = |(name, it): (&'a String, &'a T)| {
        counts(it).into_iter().map(move |(word, count)| labelled([name, word], Value::Counter(count)))
    };
    all.into_iter().flat_map(samples).collect()
}

fn truth(is: bool) -> f64 {
    f64::from(u8::from(is))
}

fn unix(time: Timestamp) -> f64 {
    time.as_duration().as_secs_f64()
}

fn number(count: usize) -> f64 {
    float(count as u64)
}

#[allow(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
fn float(count: u64) -> f64 {
    count as f64
}
