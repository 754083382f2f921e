//! What the clusters hold: pods of workloads of applications that many clusters have, most of them with a proxy at their side.

use jiff::{SignedDuration, Timestamp};
use stocktake_core::{
    Digest,
    model::{
        Container, ContainerKind, ContainerState, DigestFact, Image, MissingReason, Namespace, Node, Pod, Scope, Text,
        Workload,
    },
};
use uuid::Uuid;

/// Namespaces of a cluster, workloads of a namespace, pods of a workload.
pub(crate) const NAMESPACES: usize = 20;
const WORKLOADS: usize = 25;
const PODS: usize = 4;

/// Nodes of a cluster.
pub(crate) const NODES: usize = 50;

/// Applications that there are at all; few of them are in most namespaces, and most in few.
pub(crate) const APPLICATIONS: usize = 1000;

/// Versions of an application that are in use somewhere.
const VERSIONS: u32 = 3;

/// A cluster.
#[derive(Debug, Clone)]
pub(crate) struct Cluster {
    /// Its number.
    pub(crate) number: usize,
    /// Workloads of each namespace.
    pub(crate) namespaces: Vec<Vec<Deployment>>,
}

/// A workload.
#[derive(Debug, Clone)]
pub(crate) struct Deployment {
    /// Number of the application.
    pub(crate) application: usize,
    /// Of its image.
    pub(crate) version: u32,
    /// How often it was rolled out.
    rollout: u64,
    has_proxy: bool,
    /// Of each pod, what its identifiers are made from, and when it was made.
    pods: Vec<(u64, Timestamp)>,
}

/// The image of an application.
#[must_use]
pub(crate) fn image(application: usize, version: u32) -> String {
    format!("registry.example.com/team-{}/{}:1.{version}.0", application % 40, name(application))
}

/// The proxy that is at the side of most.
#[must_use]
pub(crate) fn proxy() -> String {
    "docker.io/istio/proxyv2:1.22.3".to_owned()
}

/// The digest by which a repository serves an image.
#[must_use]
pub(crate) fn digest(image: &str) -> Digest {
    Digest::sha256(image.as_bytes())
}

/// The name of an application.
#[must_use]
pub(crate) fn name(application: usize) -> String {
    const WORDS: [&str; 10] =
        ["orders", "checkout", "search", "billing", "catalog", "session", "ledger", "notify", "image", "stock"];
    format!("{}-{}", WORDS[application % WORDS.len()], application / WORDS.len())
}

/// The name of a namespace.
#[must_use]
pub(crate) fn namespace(number: usize) -> String {
    format!("team-{number:02}")
}

/// An application at random: the first is in most namespaces, the last in few.
pub(crate) fn application(random: &mut fastrand::Rng) -> usize {
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
    let number = (random.f64().powi(3) * APPLICATIONS as f64) as usize;
    number.min(APPLICATIONS - 1)
}

impl Cluster {
    /// One as it is at `now`.
    #[must_use]
    pub(crate) fn new(number: usize, now: Timestamp) -> Self {
        let mut random = fastrand::Rng::with_seed(number as u64 + 1);
        let mut workloads = || {
            let mut applications = Vec::new();
            while applications.len() < WORKLOADS {
                let application = application(&mut random);
                if !applications.contains(&application) {
                    applications.push(application);
                }
            }
            // Four of five: so each namespace has as many containers.
            let deployments = applications.into_iter().enumerate().map(|(position, application)| Deployment {
                application,
                version: random.u32(0..VERSIONS),
                rollout: 0,
                has_proxy: position % 5 != 0,
                pods: (0..PODS).map(|_| (random.u64(..), now - SignedDuration::from_mins(5))).collect(),
            });
            deployments.collect()
        };
        Self { number, namespaces: (0..NAMESPACES).map(|_| workloads()).collect() }
    }

    /// Replaces the pods of a share of the workloads: half of those by others of the same kind, half by those of a new rollout, of
    /// which half has a new image.
    pub(crate) fn churn(&mut self, share: f64, now: Timestamp, random: &mut fastrand::Rng) {
        for deployment in self.namespaces.iter_mut().flatten() {
            if random.f64() >= share {
                continue;
            }
            for pod in &mut deployment.pods {
                *pod = (random.u64(..), now - SignedDuration::from_mins(5));
            }
            if random.bool() {
                deployment.rollout += 1;
                deployment.version += u32::from(random.bool());
            }
        }
    }

    /// Its name.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        cluster(self.number)
    }

    /// Its own objects.
    #[must_use]
    pub(crate) fn objects(&self) -> Scope {
        let nodes = (0..NODES).map(|number| Node {
            name: node(self.number, number).into(),
            kernel_version: Some("6.1.0-28-cloud-amd64".into()),
            kubelet_version: Some("v1.31.4".into()),
            operating_system: Some("linux".into()),
            architecture: Some("amd64".into()),
            ready: Some(true),
            ..Node::default()
        });
        let namespaces =
            (0..NAMESPACES).map(|number| Namespace { name: namespace(number).into(), ..Namespace::default() });
        Scope { nodes: nodes.collect(), namespaces: namespaces.collect(), ..Scope::default() }
    }

    /// What is in a namespace.
    #[must_use]
    pub(crate) fn scope(&self, number: usize) -> Scope {
        let mut scope = Scope::default();
        for deployment in &self.namespaces[number] {
            let id = format!("Deployment/{}", name(deployment.application));
            scope.workloads.push(Workload {
                id: id.as_str().into(),
                kind: "Deployment".into(),
                name: name(deployment.application).into(),
                namespace: Some(namespace(number).into()),
                api_version: Some("apps/v1".into()),
                uid: None,
            });
            let hash = format!("{:09x}", deployment.hash(self.number, number));
            for (seed, created_at) in &deployment.pods {
                let mut random = fastrand::Rng::with_seed(*seed);
                let pod = self.pod(deployment, number, &hash, *created_at, &mut random);
                scope.containers.extend(deployment.containers(&pod, *created_at, &mut random));
                scope.pods.push(pod);
            }
        }
        let mut names: Vec<Text> = scope.containers.iter().filter_map(|container| container.image.clone()).collect();
        names.sort_unstable();
        names.dedup();
        scope.images = names.iter().map(known_image).collect();
        scope
    }

    fn pod(
        &self,
        deployment: &Deployment,
        number: usize,
        hash: &str,
        created_at: Timestamp,
        random: &mut fastrand::Rng,
    ) -> Pod {
        let application = name(deployment.application);
        let suffix: String = (0..5).map(|_| random.lowercase()).collect();
        let mut labels = vec![
            ("app", application.clone()),
            ("app.kubernetes.io/name", application.clone()),
            ("app.kubernetes.io/instance", format!("{application}-{}", namespace(number))),
            ("app.kubernetes.io/part-of", namespace(number)),
            ("app.kubernetes.io/version", format!("1.{}.0", deployment.version)),
            ("pod-template-hash", hash.to_owned()),
        ];
        if deployment.has_proxy {
            labels.push(("security.istio.io/tlsMode", "istio".to_owned()));
        }
        Pod {
            uid: Uuid::from_u128(random.u128(..)).to_string().into(),
            name: format!("{application}-{hash}-{suffix}").into(),
            namespace: namespace(number).into(),
            node_name: Some(node(self.number, random.usize(0..NODES)).into()),
            phase: Some("Running".into()),
            workload: Some(format!("Deployment/{application}").into()),
            created_at: Some(created_at),
            started_at: Some(created_at),
            labels: labels.into_iter().map(|(key, value)| (Text::from(key), Text::from(value))).collect(),
            ..Pod::default()
        }
    }
}

impl Deployment {
    fn hash(&self, cluster: usize, namespace: usize) -> u64 {
        let what = [cluster, namespace, self.application].map(|number| number as u64);
        fastrand::Rng::with_seed(what.into_iter().fold(self.rollout, |hash, number| hash * 4099 + number))
            .u64(0..1 << 36)
    }

    fn containers(&self, pod: &Pod, created_at: Timestamp, random: &mut fastrand::Rng) -> Vec<Container> {
        let mut container = |name: &str, kind: ContainerKind, image: String| {
            let is_waiting = kind == ContainerKind::Regular && random.u8(..) < 3;
            let state = match kind {
                ContainerKind::Init => ContainerState::Exited,
                _ if is_waiting => ContainerState::Waiting,
                _ => ContainerState::Running,
            };
            Container {
                id: Some(format!("{:032x}{:032x}", random.u128(..), random.u128(..)).into()),
                name: name.into(),
                kind,
                pod_uid: Some(pod.uid.clone()),
                image: Some(image.as_str().into()),
                image_ref: Some(image.as_str().into()),
                state,
                state_reason: match state {
                    ContainerState::Waiting => Some("CrashLoopBackOff".into()),
                    ContainerState::Exited => Some("Completed".into()),
                    _ => None,
                },
                exit_code: (state == ContainerState::Exited).then_some(0),
                started_at: Some(created_at + SignedDuration::from_secs(3)),
                finished_at: (state == ContainerState::Exited).then(|| created_at + SignedDuration::from_secs(4)),
                restart_count: Some(if is_waiting { 7 } else { 0 }),
                ..Container::default()
            }
        };
        let mut containers = vec![container("app", ContainerKind::Regular, image(self.application, self.version))];
        if self.has_proxy {
            containers.push(container("istio-proxy", ContainerKind::Regular, proxy()));
            containers.push(container("istio-init", ContainerKind::Init, proxy()));
        }
        containers
    }
}

/// The name of a cluster.
#[must_use]
pub(crate) fn cluster(number: usize) -> String {
    format!("{}-{number:03}", ["prod-eu", "prod-us", "stage", "edge"][number % 4])
}

/// The name of a cluster's node.
#[must_use]
pub(crate) fn node(cluster: usize, number: usize) -> String {
    format!("ip-10-{cluster}-{}-{}.internal", number / 16, number * 5 + 11)
}

/// As the Kubernetes collector has it: the digest by which a repository serves it, of an index or a manifest.
fn known_image(name: &Text) -> Image {
    let repository = name.rsplit_once(':').map_or(name.as_str(), |(repository, _)| repository);
    let repo_digest = format!("{repository}@{}", digest(name));
    Image {
        names: vec![name.clone()],
        config_digest: DigestFact::missing(MissingReason::NotReported),
        repo_digests: repo_digest.parse().into_iter().collect(),
        ..Image::unresolved(name.as_str(), MissingReason::Ambiguous)
    }
}
