//! What is asked, each time of something else.

use crate::content::{
    APPLICATIONS, NAMESPACES, NODES, application, cluster, digest, image, name, namespace, node, proxy,
};

/// A question, and what it is called.
pub(crate) type Question = (&'static str, fn(&mut Asking) -> String);

/// What questions are made from.
pub(crate) struct Asking {
    /// What is asked of, at random.
    pub(crate) random: fastrand::Rng,
    /// How many clusters there are.
    pub(crate) clusters: usize,
}

impl Asking {
    fn cluster(&mut self) -> String {
        cluster(self.random.usize(0..self.clusters))
    }

    fn namespace(&mut self) -> String {
        namespace(self.random.usize(0..NAMESPACES))
    }

    fn context(&mut self) -> String {
        format!("{}/{}", self.cluster(), self.namespace())
    }

    fn node(&mut self) -> String {
        node(self.random.usize(0..self.clusters), self.random.usize(0..NODES))
    }

    /// As likely as it is met.
    fn usual(&mut self) -> String {
        image(application(&mut self.random), self.random.u32(0..3))
    }

    /// Each as likely as any other: most are in few namespaces.
    fn any(&mut self) -> String {
        image(self.random.usize(0..APPLICATIONS), self.random.u32(0..3))
    }

    fn application(&mut self) -> String {
        name(application(&mut self.random))
    }

    fn repository(&mut self) -> String {
        let image = self.usual();
        image.rsplit_once(':').map_or(image.clone(), |(repository, _)| repository.to_owned())
    }
}

/// All of them.
pub(crate) const QUESTIONS: &[Question] = &[
    ("where: digest of any image", |ask| format!("/v1/where?image={}", digest(&ask.any()))),
    ("where: digest of an image as common as what runs", |ask| format!("/v1/where?image={}", digest(&ask.usual()))),
    ("where: digest of the image in all namespaces", |_| format!("/v1/where?image={}", digest(&proxy()))),
    ("where: name with tag", |ask| format!("/v1/where?image={}", ask.usual())),
    ("where: repository", |ask| format!("/v1/where?image={}", ask.repository())),
    ("where: repository of the image in all namespaces", |_| "/v1/where?image=istio/proxyv2".to_owned()),
    ("where: digest that nobody knows", |ask| format!("/v1/where?image={}", digest(&ask.random.u64(..).to_string()))),
    ("containers: first page", |_| "/v1/containers?".to_owned()),
    ("containers: sort=name", |_| "/v1/containers?sort=name".to_owned()),
    ("containers: sort=-first_seen", |_| "/v1/containers?sort=-first_seen".to_owned()),
    ("containers: context", |ask| format!("/v1/containers?context={}", ask.context())),
    ("containers: cluster", |ask| format!("/v1/containers?cluster={}", ask.cluster())),
    ("containers: namespace", |ask| format!("/v1/containers?namespace={}", ask.namespace())),
    ("containers: node", |ask| format!("/v1/containers?node={}", ask.node())),
    ("containers: host", |ask| format!("/v1/containers?host={}", ask.node())),
    ("containers: owner", |ask| format!("/v1/containers?owner={}", ask.application())),
    ("containers: owner with kind", |ask| format!("/v1/containers?owner=Deployment/{}", ask.application())),
    ("containers: label key=value", |ask| {
        format!("/v1/containers?label=app.kubernetes.io/name%3D{}", ask.application())
    }),
    ("containers: label that most have", |_| "/v1/containers?label=security.istio.io/tlsMode%3Distio".to_owned()),
    ("containers: label key", |_| "/v1/containers?label=pod-template-hash".to_owned()),
    ("containers: label that none has", |_| "/v1/containers?label=tier%3Dfront".to_owned()),
    ("containers: two labels", |ask| {
        format!(
            "/v1/containers?label=app%3D{}&label=app.kubernetes.io/part-of%3D{}",
            ask.application(),
            ask.namespace()
        )
    }),
    ("containers: digest of any image", |ask| format!("/v1/containers?digest={}", digest(&ask.any()))),
    ("containers: digest of a common image", |ask| format!("/v1/containers?digest={}", digest(&ask.usual()))),
    ("containers: digest of the image of most", |_| format!("/v1/containers?digest={}", digest(&proxy()))),
    ("containers: repository", |ask| format!("/v1/containers?repository={}", ask.repository())),
    ("containers: repository and tag", |ask| {
        format!("/v1/containers?repository={}&tag=1.{}.0", ask.repository(), ask.random.u32(0..3))
    }),
    ("containers: tag", |ask| format!("/v1/containers?tag=1.{}.0", ask.random.u32(0..3))),
    ("containers: tag that none has", |_| "/v1/containers?tag=latest".to_owned()),
    ("containers: state=running", |_| "/v1/containers?state=running".to_owned()),
    ("containers: state=waiting (1 of 100)", |_| "/v1/containers?state=waiting".to_owned()),
    ("containers: state that none has", |_| "/v1/containers?state=paused".to_owned()),
    ("containers: kind=init", |_| "/v1/containers?kind=init".to_owned()),
    ("containers: kind that none has", |_| "/v1/containers?kind=ephemeral".to_owned()),
    ("containers: coverage=complete", |_| "/v1/containers?coverage=complete".to_owned()),
    ("containers: coverage that none has", |_| "/v1/containers?coverage=partial".to_owned()),
    ("containers: status=present", |_| "/v1/containers?status=present".to_owned()),
    ("containers: status=stale, none is", |_| "/v1/containers?status=stale".to_owned()),
    ("containers: status=gone", |_| "/v1/containers?status=gone".to_owned()),
    ("containers: status=all", |_| "/v1/containers?status=all".to_owned()),
    ("containers: seen_since an hour ago", |_| format!("/v1/containers?seen_since={}", ago(1))),
    ("containers: seen_since, none was", |_| format!("/v1/containers?seen_since={}", ago(-1))),
    ("containers: at, a week ago", |_| format!("/v1/containers?at={}", ago(7 * 24))),
    ("containers: at, long before", |_| format!("/v1/containers?at={}", ago(100 * 24))),
    ("containers: cluster and state=waiting", |ask| format!("/v1/containers?cluster={}&state=waiting", ask.cluster())),
    ("containers: cluster and namespace", |ask| {
        format!("/v1/containers?cluster={}&namespace={}", ask.cluster(), ask.namespace())
    }),
    ("containers: cluster and repository", |ask| {
        format!("/v1/containers?cluster={}&repository={}", ask.cluster(), ask.repository())
    }),
    ("containers: cluster and the digest of most", |ask| {
        format!("/v1/containers?cluster={}&digest={}", ask.cluster(), digest(&proxy()))
    }),
    ("containers: namespace and repository", |ask| {
        format!("/v1/containers?namespace={}&repository={}", ask.namespace(), ask.repository())
    }),
    ("containers: namespace and state=waiting", |ask| {
        format!("/v1/containers?namespace={}&state=waiting", ask.namespace())
    }),
    ("containers: namespace and label", |ask| {
        format!("/v1/containers?namespace={}&label=app%3D{}", ask.namespace(), ask.application())
    }),
    ("containers: label of most and owner", |ask| {
        format!("/v1/containers?label=security.istio.io/tlsMode%3Distio&owner={}", ask.application())
    }),
    ("containers: digest of most and state=waiting", |_| {
        format!("/v1/containers?digest={}&state=waiting", digest(&proxy()))
    }),
    ("containers: cluster, sort=name", |ask| format!("/v1/containers?cluster={}&sort=name", ask.cluster())),
    ("containers: status=gone and cluster", |ask| format!("/v1/containers?status=gone&cluster={}", ask.cluster())),
    ("containers: at and context", |ask| format!("/v1/containers?at={}&context={}", ago(7 * 24), ask.context())),
    ("pods: first page", |_| "/v1/pods?".to_owned()),
    ("pods: context", |ask| format!("/v1/pods?context={}", ask.context())),
    ("pods: node", |ask| format!("/v1/pods?node={}", ask.node())),
    ("pods: owner", |ask| format!("/v1/pods?owner={}", ask.application())),
    ("pods: label key=value", |ask| format!("/v1/pods?label=app%3D{}", ask.application())),
    ("pods: label that most have", |_| "/v1/pods?label=security.istio.io/tlsMode%3Distio".to_owned()),
    ("pods: status=stale, none is", |_| "/v1/pods?status=stale".to_owned()),
    ("workloads: first page", |_| "/v1/workloads?".to_owned()),
    ("workloads: namespace", |ask| format!("/v1/workloads?namespace={}", ask.namespace())),
    ("workloads: kind that none has", |_| "/v1/workloads?kind=DaemonSet".to_owned()),
    ("images: first page", |_| "/v1/images?".to_owned()),
    ("images: context", |ask| format!("/v1/images?context={}", ask.context())),
    ("images: cluster", |ask| format!("/v1/images?cluster={}", ask.cluster())),
    ("images: digest", |ask| format!("/v1/images?digest={}", digest(&ask.usual()))),
    ("images: repository", |ask| format!("/v1/images?repository={}", ask.repository())),
    ("images: tag that none has", |_| "/v1/images?tag=latest".to_owned()),
    ("images: coverage that none has", |_| "/v1/images?coverage=partial".to_owned()),
    ("images: status=stale, none is", |_| "/v1/images?status=stale".to_owned()),
    ("scopes: first page", |_| "/v1/scopes?".to_owned()),
    ("scopes: cluster", |ask| format!("/v1/scopes?cluster={}", ask.cluster())),
    ("sources: first page", |_| "/v1/sources?".to_owned()),
    ("agents: first page", |_| "/v1/agents?".to_owned()),
    ("changes: first page", |_| "/v1/changes?".to_owned()),
    ("changes: since an hour ago", |_| format!("/v1/changes?since={}", ago(1))),
    ("changes: since, none was", |_| format!("/v1/changes?since={}", ago(-1))),
    ("changes: context", |ask| format!("/v1/changes?context={}", ask.context())),
];

fn ago(hours: i64) -> String {
    (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(hours)).to_string()
}
