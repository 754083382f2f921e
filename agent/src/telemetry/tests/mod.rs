//! Telemetry, told by hand of what has never happened.

mod metrics;
mod serving;
mod states;
#[cfg(feature = "otlp")]
mod traces;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use stocktake_core::model::{
    Cost, Counts, Coverage, Host, RuntimeVersion, ScopeEntry, ScopeId, Shown, Source, Warning,
};

use super::{Expected, Telemetry, moment::Moment, status::Status};
use crate::follow::{Look, Update};

const TIMEOUT: Duration = Duration::from_secs(30);

/// How long after a look at the latest another one ends.
const NEXT: Duration = Duration::from_secs(90);

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

/// An agent with these collectors, of type `docker`, and targets, of type `file`, and when it was configured so.
fn telemetry(collectors: &[&str], targets: &[&str]) -> (Telemetry, Moment) {
    let telemetry = Telemetry::default();
    configure(&telemetry, collectors, targets);
    (telemetry, Moment::now())
}

fn configure(telemetry: &Telemetry, collectors: &[&str], targets: &[&str]) {
    let named = |names: &[&str], kind| names.iter().map(|name| ((*name).to_owned(), kind)).collect::<Vec<_>>();
    let expected = Expected { spool_dir: "/spool".into(), look_within: TIMEOUT * 2, report_within: seconds(60) };
    telemetry.configured(&named(collectors, "docker"), &named(targets, "file"), &expected);
}

fn partial(reason: &str) -> Coverage {
    Coverage::Partial { reason: reason.to_owned() }
}

fn failed(reason: &str) -> Coverage {
    Coverage::Failed { reason: reason.to_owned() }
}

fn denied(reason: &str) -> Coverage {
    Coverage::Denied { reason: reason.to_owned() }
}

/// What a look at `collector` came to: how completely the list of scopes was seen, and each of them. Of each that was seen there
/// are three containers.
fn look(collector: &str, list: Coverage, scopes: &[Coverage]) -> Update {
    let entry = |(number, coverage): (usize, &Coverage)| {
        let containers = if coverage.has_seen() { 3 } else { 0 };
        let id = ScopeId::namespace(format!("n{number}"));
        ScopeEntry { id, coverage: coverage.clone(), digest: None, counts: Counts { containers, ..Counts::default() } }
    };
    let source = Source {
        collector: collector.into(),
        kind: "docker".into(),
        runtime: Some(RuntimeVersion { name: "docker".into(), version: "27.1".into() }),
        cluster: None,
        host: Some(Host { machine_id: None, hostname: Some("web-1".into()) }),
        observed_at: Timestamp::now(),
        coverage: list,
        shown: Shown::default(),
        warnings: vec![Warning::new("it is old")],
        cost: Some(Cost { requests: 3, received_bytes: 1000, throttled: 1, kept_bytes: 50 }),
        scopes: scopes.iter().enumerate().map(entry).collect(),
    };
    let look = Look { took: Duration::from_millis(31), timed_out: false, next_within: NEXT };
    Update { source, changed: Vec::new(), gone: Vec::new(), bodies: BTreeMap::new(), is_first: true, look }
}

fn good(collector: &str) -> Update {
    look(collector, Coverage::Complete, &[Coverage::Complete])
}

/// A look that had no answer in time.
fn timed_out(collector: &str) -> Update {
    let mut update = look(collector, failed("no complete answer within 30s"), &[]);
    update.look.timed_out = true;
    update
}

fn status(telemetry: &Telemetry, now: Moment) -> Status {
    telemetry.state().status(now)
}
