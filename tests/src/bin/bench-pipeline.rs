//! What is made of what a collector hands over, and what each step of that costs: a made-up cluster of pods with two
//! containers and an init container each goes the way that the agent sends it, from the sink to JSON.
//!
//! `cargo run --release --package stocktake-tests --bin bench-pipeline [PODS [NAMESPACES]]`; by default 10,000 pods in 100
//! namespaces. "Live" is what the program has allocated after a step, "peak" the most that it had during it; the allocator's
//! own losses show in the process's peak, `VmHWM`.
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::{
    collections::BTreeMap,
    env,
    error::Error,
    fs,
    io::{self, Write},
    time::Duration,
};

use jiff::Timestamp;
use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use stocktake_core::{
    Digest,
    filter::Filters,
    model::{Agent, Cluster, Coverage, Report, SCHEMA_VERSION, Scope, ScopeEntry, ScopeId, Shown, Source},
    normalise, scope_digest,
    unify::{Conclusions, Document},
};
use stocktake_tests::bench::made::Made;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1).map(|argument| argument.parse());
    let pods = arguments.next().unwrap_or(Ok(10_000))?;
    let namespaces = arguments.next().unwrap_or(Ok(100))?;
    println!("{pods} pods, {} containers in {namespaces} namespaces", 3 * pods);
    let mut meter = Meter::new();

    let cluster = Made::new();
    let mut scopes: Vec<(ScopeId, Scope)> = (0..namespaces)
        .map(|number| {
            let pods = (number..pods).step_by(namespaces);
            (ScopeId::namespace(format!("namespace-{number}")), cluster.namespace(number, pods))
        })
        .collect();
    drop(cluster);
    meter.step("collected (not counted)");

    let filters = Filters::default();
    for (_, body) in &mut scopes {
        let removed = filters.clean(body);
        assert!(removed.is_empty());
    }
    meter.step("filters");

    let (mut entries, mut bodies) = (Vec::new(), BTreeMap::new());
    for (id, mut body) in scopes {
        let counts = normalise(&mut body);
        entries.push(ScopeEntry { id, coverage: Coverage::Complete, digest: None, counts });
        bodies.insert(entries.len() - 1, body);
    }
    meter.step("normalise");
    let bodies: BTreeMap<Digest, Scope> = bodies
        .into_iter()
        .map(|(position, body)| {
            let digest = scope_digest(&body);
            entries[position].digest = Some(digest.clone());
            (digest, body)
        })
        .collect();
    meter.step("digest");

    let report = report(entries);
    let conclusions = Conclusions::of(&report.sources, &bodies);
    meter.step("unify");

    let mut out = Counter(0);
    let document = Document { report: &report, scopes: &bodies, unified: &conclusions };
    serde_json::to_writer(&mut out, &document)?;
    meter.step("JSON");
    println!("{} MB of JSON; process {} MB", out.0 / 1_000_000, high_water() / 1000);
    Ok(())
}

fn report(scopes: Vec<ScopeEntry>) -> Report {
    let source = Source {
        collector: "cluster".into(),
        kind: "kubernetes".into(),
        runtime: None,
        cluster: Some(Cluster { uid: Some("cluster".into()), name: None }),
        host: None,
        observed_at: Timestamp::UNIX_EPOCH,
        coverage: Coverage::Complete,
        shown: Shown::All,
        cost: None,
        warnings: Vec::new(),
        scopes,
    };
    Report {
        schema: SCHEMA_VERSION.to_owned(),
        id: uuid::Uuid::nil(),
        agent: Agent::default(),
        created_at: Timestamp::UNIX_EPOCH,
        sequence: None,
        valid_for_seconds: None,
        sources: vec![source],
    }
}

/// Takes bytes and counts them.
struct Counter(usize);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints what was used since it printed last.
struct Meter(Duration);

impl Meter {
    fn new() -> Self {
        println!("{:28} {:>9} {:>9} {:>9}", "", "CPU ms", "live MB", "peak MB");
        HEAP.reset_peak_usage();
        Self(cpu())
    }

    #[allow(clippy::cast_precision_loss, reason = "for people")]
    fn step(&mut self, name: &str) {
        let used = cpu().saturating_sub(self.0);
        let (live, peak) = (HEAP.current_usage() as f64 / 1e6, HEAP.peak_usage() as f64 / 1e6);
        println!("{name:28} {:9.1} {live:9.1} {peak:9.1}", used.as_secs_f64() * 1e3);
        HEAP.reset_peak_usage();
        self.0 = cpu();
    }
}

/// Processor time of the process.
fn cpu() -> Duration {
    clock_gettime(ClockId::ProcessCPUTime).try_into().unwrap_or_default()
}

/// The most memory that the process had, in kB.
fn high_water() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}
