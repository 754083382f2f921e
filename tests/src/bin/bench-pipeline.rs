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
    labels::Labels,
    model::{
        Agent, Cluster, Container, ContainerKind, ContainerState, Coverage, Image, MissingReason, Pod, Report,
        SCHEMA_VERSION, Scope, ScopeEntry, ScopeId, Shown, Source, Text, Workload,
    },
    normalise, scope_digest,
    unify::{Conclusions, Document},
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const NODES: usize = 100;
const IMAGES: usize = 300;
const PODS_A_WORKLOAD: usize = 10;

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

/// Texts and labels that many objects share, as a collector shares them.
struct Made {
    nodes: Vec<Text>,
    images: Vec<Image>,
    annotations: Labels,
}

impl Made {
    fn new() -> Self {
        let image = |number: usize| {
            let name = format!("registry.example.com/team-{}/application-{number}", number % 7);
            let id = format!("{name}@{}", Digest::sha256(&number.to_le_bytes()));
            Image {
                names: vec![format!("{name}:v1.{number}.0").into()],
                repo_digests: id.parse().into_iter().collect(),
                ..Image::unresolved(id, MissingReason::Ambiguous)
            }
        };
        Self {
            nodes: (0..NODES)
                .map(|number| format!("ip-10-0-{number}-17.eu-central-1.compute.internal").into())
                .collect(),
            images: (0..IMAGES).map(image).collect(),
            annotations: Labels::from([("prometheus.io/port", "9090"), ("prometheus.io/scrape", "true")]),
        }
    }

    fn namespace(&self, number: usize, pods: impl Iterator<Item = usize>) -> Scope {
        let name = Text::from(format!("namespace-{number}"));
        let mut scope = Scope::default();
        let mut images: BTreeMap<Text, Image> = BTreeMap::new();
        let mut labels = Labels::default();
        for (position, pod) in pods.enumerate() {
            if position % PODS_A_WORKLOAD == 0 {
                let workload = workload(&name, position / PODS_A_WORKLOAD);
                labels = Labels::from([
                    ("app.kubernetes.io/name", workload.name.as_str()),
                    ("app.kubernetes.io/part-of", "the-shop-of-example"),
                    ("pod-template-hash", "7d9f8b6c5d"),
                    ("team", "payments"),
                ]);
                scope.workloads.push(workload);
            }
            let workload = scope.workloads.last().map(|workload| workload.id.clone());
            let made = self.pod(pod, &name, workload, &labels);
            for (index, (container, kind)) in [
                ("migrate", ContainerKind::Init),
                ("application", ContainerKind::Regular),
                ("proxy", ContainerKind::Regular),
            ]
            .into_iter()
            .enumerate()
            {
                let image = &self.images[(position / PODS_A_WORKLOAD + 7 * index + number) % IMAGES];
                images.entry(image.id.clone()).or_insert_with(|| image.clone());
                scope.containers.push(of_pod(&made, 3 * pod + index, container, kind, image));
            }
            scope.pods.push(made);
        }
        scope.images = images.into_values().collect();
        scope
    }

    fn pod(&self, number: usize, namespace: &Text, workload: Option<Text>, labels: &Labels) -> Pod {
        let drawn = Digest::sha256(&number.to_le_bytes());
        let hex = drawn.encoded();
        Pod {
            uid: format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[12..15], &hex[15..18], &hex[18..30]).into(),
            name: format!("application-{number}-7d9f8b6c5d-{}", &hex[30..35]).into(),
            namespace: namespace.clone(),
            node_name: Some(self.nodes[number % NODES].clone()),
            phase: Some("Running".into()),
            workload,
            created_at: Timestamp::from_second(1_700_000_000).ok(),
            started_at: Timestamp::from_second(1_700_000_007).ok(),
            labels: labels.clone(),
            annotations: self.annotations.clone(),
            ..Pod::default()
        }
    }
}

fn of_pod(pod: &Pod, number: usize, name: &str, kind: ContainerKind, image: &Image) -> Container {
    let is_init = kind == ContainerKind::Init;
    Container {
        id: Some(Digest::sha256(&number.to_be_bytes()).encoded().into()),
        name: name.into(),
        kind,
        pod_uid: Some(pod.uid.clone()),
        node_name: pod.node_name.clone(),
        image: image.names.first().cloned(),
        image_ref: Some(image.id.clone()),
        state: if is_init { ContainerState::Exited } else { ContainerState::Running },
        state_reason: is_init.then(|| "Completed".into()),
        exit_code: is_init.then_some(0),
        started_at: Timestamp::from_second(1_700_000_010).ok(),
        finished_at: Timestamp::from_second(1_700_000_011).ok().filter(|_| is_init),
        restart_count: Some(0),
        ..Container::default()
    }
}

fn workload(namespace: &Text, number: usize) -> Workload {
    let uid =
        Text::from(format!("{number:08x}-0000-4000-8000-{}", &Digest::sha256(namespace.as_bytes()).encoded()[..12]));
    Workload {
        id: uid.clone(),
        kind: "Deployment".into(),
        name: format!("application-of-{number}").into(),
        namespace: Some(namespace.clone()),
        api_version: Some("apps/v1".into()),
        uid: Some(uid),
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
