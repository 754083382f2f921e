//! What an agent looks at, what it tells of it, and what a server has to know then.

use std::collections::BTreeMap;

use fastrand::Rng;
use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{
        Cluster, Container, ContainerState, Counts, Coverage, Host, Image, MissingReason, Pod, Scope, ScopeEntry,
        ScopeId, Shown, Source, Workload,
    },
    normalise,
};
use uuid::Uuid;

/// What a server has to know of one agent's place: by scope and pod (or container) what is there.
pub type Rows = BTreeMap<(String, String), Row>;

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it does.
    pub state: ContainerState,
    /// The image's name.
    pub image: String,
    /// Whether the latest look at its scope has seen it.
    pub is_confirmed: bool,
}

/// Where an agent looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A cluster with namespaces, which come and go.
    Cluster,
    /// A host with one scope.
    Host,
}

/// By pod (or container): its state and its image.
type Held = BTreeMap<String, (ContainerState, String)>;

/// A cluster or host that changes.
#[derive(Debug)]
pub(super) struct World {
    kind: Kind,
    name: String,
    random: Rng,
    /// How many pods a namespace has at the most.
    size: u8,
    scopes: BTreeMap<String, Held>,
    /// What was seen last of each scope.
    told: BTreeMap<String, (Digest, Vec<u8>)>,
    /// What the server has to know once it has all that was told so far.
    rows: Rows,
}

/// One look at a world.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// What a report says of it.
    pub(super) source: Source,
    /// Every body that it names, by scope.
    pub(super) bodies: BTreeMap<String, (Digest, Vec<u8>)>,
    /// What a server has to know that has this report and all before.
    pub(super) rows: Rows,
}

impl World {
    /// A world that is the same for the same seed.
    pub(super) fn new(kind: Kind, name: &str, size: u8, seed: u64) -> Self {
        let scopes = match kind {
            Kind::Cluster => BTreeMap::new(),
            Kind::Host => BTreeMap::from([(String::new(), Held::new())]),
        };
        let random = Rng::with_seed(seed);
        Self { kind, name: name.to_owned(), random, size, scopes, told: BTreeMap::new(), rows: Rows::new() }
    }

    /// What people call it, which is what identifies it, too.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Lets something happen.
    pub(super) fn live(&mut self) {
        if self.kind == Kind::Cluster {
            let namespace = ["shop", "pay", "log"][self.random.usize(..3)];
            if self.random.u8(..10) == 0 {
                self.scopes.remove(namespace);
            } else {
                self.scopes.entry(namespace.to_owned()).or_default();
            }
        }
        let (random, size) = (&mut self.random, self.size);
        for held in self.scopes.values_mut() {
            for _ in 0..random.usize(..4) {
                let name = format!("{}-{}", ["web", "db"][random.usize(..2)], random.u8(..size));
                if random.u8(..3) == 0 {
                    held.remove(&name);
                } else {
                    let state = [ContainerState::Running, ContainerState::Exited][random.usize(..2)];
                    held.insert(name, (state, format!("registry.example/app:{}", random.u8(..4))));
                }
            }
        }
    }

    /// Looks at it; `badly`, some scopes fail, of some a part is seen, and sometimes not all scopes are known.
    pub(super) fn look(&mut self, badly: bool) -> Look {
        let is_whole = !badly || self.random.u8(..8) != 0;
        let (mut entries, mut bodies) = (Vec::new(), BTreeMap::new());
        let mut unnamed = Vec::new();
        for (name, held) in self.scopes.clone() {
            if !is_whole && self.random.bool() {
                unnamed.push(name);
                continue;
            }
            entries.push(self.tell(&name, &held, badly));
            if let Some(told) = self.told.get(&name).filter(|_| entries.last().is_some_and(|e| e.digest.is_some())) {
                bodies.insert(name, told.clone());
            }
        }
        if is_whole {
            // What a complete list lacks is gone.
            self.rows.retain(|(scope, _), _| self.scopes.contains_key(scope));
            self.told.retain(|scope, _| self.scopes.contains_key(scope));
        }
        let coverage = if is_whole {
            Coverage::Complete
        } else {
            Coverage::Partial { reason: "not every scope was listed".into() }
        };
        Look { source: self.source(coverage, entries), bodies, rows: self.rows.clone() }
    }

    fn tell(&mut self, name: &str, held: &Held, badly: bool) -> ScopeEntry {
        let id = match self.kind {
            Kind::Cluster => ScopeId::namespace(name),
            Kind::Host => ScopeId::host(),
        };
        let (coverage, seen) = match self.random.u8(..10) {
            0 if badly => {
                // Of what fails, a report names what was seen last.
                let coverage = Coverage::Failed { reason: "no answer".into() };
                let digest = self.told.get(name).map(|(digest, _)| digest.clone());
                return ScopeEntry { id, coverage, digest, counts: Counts::default() };
            }
            1 if badly => {
                let mut part = held.clone();
                part.retain(|_, _| self.random.bool());
                (Coverage::Partial { reason: "the rest did not answer".into() }, part)
            }
            _ => (Coverage::Complete, held.clone()),
        };
        let is_complete = coverage.is_complete();
        let scope_of = |key: &(String, String)| key.0 == name;
        self.rows.retain(|key, _| !(scope_of(key) && is_complete));
        self.rows.iter_mut().filter(|(key, _)| scope_of(key)).for_each(|(_, row)| row.is_confirmed = false);
        for (pod, (state, image)) in &seen {
            let row = Row { state: *state, image: image.clone(), is_confirmed: true };
            self.rows.insert((name.to_owned(), pod.clone()), row);
        }
        let mut scope = self.scope(&seen);
        let counts = normalise(&mut scope);
        let body = serde_json::to_vec(&scope).expect("a scope is JSON");
        let digest = Digest::sha256(&body);
        self.told.insert(name.to_owned(), (digest.clone(), body));
        ScopeEntry { id, coverage, digest: Some(digest), counts }
    }

    fn scope(&self, held: &Held) -> Scope {
        let mut scope = Scope::default();
        for (name, (state, image)) in held {
            let mut container = Container {
                id: Some(
                    Uuid::new_v5(&Uuid::NAMESPACE_DNS, format!("{}/{name}", self.name).as_bytes()).to_string().into(),
                ),
                name: name.as_str().into(),
                state: *state,
                image: Some(image.as_str().into()),
                image_ref: Some(image.as_str().into()),
                ..Container::default()
            };
            if self.kind == Kind::Cluster {
                let workload = name.split('-').next().unwrap_or_default();
                container.name = "app".into();
                container.pod_uid = Some(name.as_str().into());
                scope.pods.push(Pod {
                    uid: name.as_str().into(),
                    name: name.as_str().into(),
                    workload: Some(workload.into()),
                    labels: std::iter::once(("app", workload)).collect(),
                    ..Pod::default()
                });
                scope.workloads.push(Workload {
                    id: workload.into(),
                    kind: "Deployment".into(),
                    name: workload.into(),
                    ..Workload::default()
                });
            }
            scope.containers.push(container);
            let names = vec![image.as_str().into()];
            scope.images.push(Image { names, ..Image::unresolved(image, MissingReason::NotReported) });
        }
        scope
    }

    fn source(&self, coverage: Coverage, scopes: Vec<ScopeEntry>) -> Source {
        let (cluster, host) = match self.kind {
            Kind::Cluster => (Some(Cluster { uid: Some(self.name.clone()), name: Some(self.name.clone()) }), None),
            Kind::Host => (None, Some(Host { machine_id: Some(self.name.clone()), hostname: Some(self.name.clone()) })),
        };
        Source {
            collector: "load".into(),
            kind: if self.kind == Kind::Cluster { "kubernetes" } else { "docker" }.into(),
            runtime: None,
            cluster,
            host,
            observed_at: Timestamp::now(),
            coverage,
            shown: Shown::All,
            warnings: Vec::new(),
            cost: None,
            scopes,
        }
    }
}
