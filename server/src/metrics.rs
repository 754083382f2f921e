//! What is counted, as Prometheus reads it.

use std::{fmt, time::Duration};

use axum::http::StatusCode;
use prometheus_client::{
    encoding::{prometheus_text, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use stocktake_core::wire;

use crate::{database::Database, notify::send::Outcome};

/// The media type of `OpenMetrics`, which who asks for it gets.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text";

type Labels<const N: usize> = [(&'static str, String); N];

/// What is counted from the server's start. Labels are routes and words of fixed sets, so that there are no more series than
/// the program makes.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Family<Labels<3>, Counter>,
    durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
    reports: Family<Labels<2>, Counter>,
    reaped: Family<Labels<1>, Counter>,
    notifications: Family<Labels<1>, Counter>,
    looks: Family<Labels<2>, Counter>,
    look_durations: Family<Labels<1>, Histogram, fn() -> Histogram>,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reported {
    /// It is in the inventory now.
    Accepted,
    /// It was there already, or a newer one.
    Known,
    /// It is not taken, and never will be as it is.
    Refused,
    /// It is not taken now: whoever sent it sends it again, with what was missing, or when it can be taken.
    Later,
}

impl Reported {
    /// By the status of an answer that is no success: docs/protocol.md.
    pub(crate) fn by(status: StatusCode) -> Self {
        match status {
            StatusCode::BAD_REQUEST | StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::UNPROCESSABLE_ENTITY => {
                Self::Refused
            }
            _ => Self::Later,
        }
    }
}

impl From<wire::Outcome> for Reported {
    fn from(outcome: wire::Outcome) -> Self {
        match outcome {
            wire::Outcome::Known => Self::Known,
            wire::Outcome::Accepted | wire::Outcome::Other => Self::Accepted,
        }
    }
}

/// How a report came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// By docs/protocol.md.
    Stocktake,
    /// From kai, k8s-inventory or ecs-inventory.
    Anchore,
    /// The server has looked itself.
    Agentless,
}

impl Protocol {
    /// Of a request that brings a report. `route` is the pattern of its path.
    pub(crate) fn of(method: &str, route: &str) -> Option<Self> {
        match (method, route) {
            ("POST", "/v1/reports") => Some(Self::Stocktake),
            (
                "POST",
                "/v1/enterprise/inventories"
                | "/v1/enterprise/kubernetes-inventory"
                | "/v2/kubernetes-inventory"
                | "/v1/enterprise/ecs-inventory"
                | "/v2/ecs-inventory",
            ) => Some(Self::Anchore),
            _ => None,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            reports: Family::default(),
            reaped: Family::default(),
            notifications: Family::default(),
            looks: Family::default(),
            look_durations: Family::new_with_constructor(|| Histogram::new(LOOK_SECONDS)),
        }
    }
}

const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Looks have a minute, if nobody says otherwise.
const LOOK_SECONDS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

impl Metrics {
    /// A request was answered. `route` is the pattern of its path, not the path.
    pub(crate) fn request(&self, method: &str, route: &str, status: u16, took: Duration) {
        let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&[("route", route.to_owned())]).observe(took.as_secs_f64());
    }

    /// A report came.
    pub(crate) fn report(&self, protocol: Protocol, what: Reported) {
        let protocol = match protocol {
            Protocol::Stocktake => "stocktake",
            Protocol::Anchore => "anchore",
            Protocol::Agentless => "agentless",
        };
        let outcome = match what {
            Reported::Accepted => "accepted",
            Reported::Known => "known",
            Reported::Refused => "refused",
            Reported::Later => "later",
        };
        self.reports.get_or_create(&[("protocol", protocol.to_owned()), ("outcome", outcome.to_owned())]).inc();
    }

    /// Rows were removed with age.
    pub(crate) fn reaped(&self, table: &str, rows: u64) {
        self.reaped.get_or_create(&[("table", table.to_owned())]).inc_by(rows);
    }

    /// An attempt to notify a receiver was made.
    pub(crate) fn notification(&self, outcome: &Outcome) {
        let outcome = match outcome {
            Outcome::Taken => "taken",
            Outcome::Later { .. } => "later",
            Outcome::Refused(_) | Outcome::Gone(_) => "refused",
        };
        self.notifications.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    /// The server has looked at a source of a kind. `outcome` is a word for its coverage, or `given_up`.
    pub(crate) fn look(&self, kind: &str, outcome: &str, took: Duration) {
        self.looks.get_or_create(&[("kind", kind.to_owned()), ("outcome", outcome.to_owned())]).inc();
        self.look_durations.get_or_create(&[("kind", kind.to_owned())]).observe(took.as_secs_f64());
    }

    /// All of it, with how the database's connections are and how many sources of agentless mode are how, and its media type.
    pub(crate) fn exposed(
        &self,
        database: &Database,
        sources: &[(String, i64)],
        is_open_metrics: bool,
    ) -> Result<(String, String), fmt::Error> {
        let mut registry = Registry::with_prefix("stocktake_server");
        registry.register("requests", "Requests that were answered", self.requests.clone());
        let help = "How long it took until an answer began";
        registry.register_with_unit("request_duration", help, Unit::Seconds, self.durations.clone());
        registry.register("reports", "Reports that came, by what became of them", self.reports.clone());
        registry.register("rows_reaped", "Rows that were removed because they count no more", self.reaped.clone());
        let help = "Attempts to notify receivers of what changed, by what became of them";
        registry.register("notifications", help, self.notifications.clone());
        registry.register("looks", "Looks without an agent, by what they came to", self.looks.clone());
        let help = "How long looks without an agent took";
        registry.register_with_unit("look_duration", help, Unit::Seconds, self.look_durations.clone());
        let states = Family::<Labels<1>, Gauge>::default();
        for (state, count) in sources {
            states.get_or_create(&[("state", state.clone())]).set(*count);
        }
        registry.register("agentless_sources", "What is looked at without an agent, by how that goes", states);
        let (open, idle) = (Gauge::<i64>::default(), Gauge::<i64>::default());
        open.set(i64::from(database.pool().size()));
        idle.set(i64::try_from(database.pool().num_idle()).unwrap_or(i64::MAX));
        registry.register("database_connections", "Connections to the database", open);
        registry.register("database_connections_idle", "Connections to the database that nobody uses", idle);
        let mut body = String::new();
        if is_open_metrics {
            text::encode(&mut body, &registry)?;
            Ok((body, format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8")))
        } else {
            prometheus_text::encode(&mut body, &registry)?;
            Ok((body, prometheus_text::CONTENT_TYPE.to_owned()))
        }
    }
}
