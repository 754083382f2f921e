//! A made-up cluster, for benchmarks that need no API server.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    labels::Labels,
    model::{Container, ContainerKind, ContainerState, Image, MissingReason, Pod, Scope, Text, Workload},
};

const NODES: usize = 100;
const IMAGES: usize = 300;
const PODS_A_WORKLOAD: usize = 10;

/// A made-up cluster. Texts and labels that many objects share are shared, as a collector shares them. The same each time: pods are drawn by their numbers.
#[derive(Debug)]
pub struct Made {
    nodes: Vec<Text>,
    images: Vec<Image>,
    annotations: Labels,
}

impl Default for Made {
    fn default() -> Self {
        Self::new()
    }
}

impl Made {
    /// Its nodes and images.
    #[must_use]
    pub fn new() -> Self {
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

    /// A namespace with the pods of these numbers, two containers and an init container each.
    pub fn namespace(&self, number: usize, pods: impl Iterator<Item = usize>) -> Scope {
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
