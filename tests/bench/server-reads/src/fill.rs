//! Reports of many agents, each of a cluster, as the protocol has them.

use std::collections::HashMap;

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{Agent, Cluster as Identity, Coverage, Report, SCHEMA_VERSION, Scope, ScopeEntry, ScopeId, Shown, Source},
    normalise,
    wire::append_frame,
};
use uuid::Uuid;

use crate::content::{Cluster, NAMESPACES, namespace};

/// An agent with the cluster that it looks at.
pub(crate) struct Teller {
    /// What it sees.
    pub(crate) cluster: Cluster,
    id: Uuid,
    run: Uuid,
    sequence: u64,
    told: HashMap<ScopeId, Digest>,
}

impl Teller {
    /// One that has not reported yet.
    #[must_use]
    pub(crate) fn new(cluster: Cluster) -> Self {
        let id = Uuid::new_v5(&Uuid::NAMESPACE_DNS, cluster.name().as_bytes());
        Self { cluster, id, run: Uuid::now_v7(), sequence: 0, told: HashMap::new() }
    }

    /// A report of what is there at `now`, with the bodies of what has changed.
    pub(crate) fn report(&mut self, now: Timestamp) -> anyhow::Result<Vec<u8>> {
        let mut bodies = Vec::new();
        let mut scopes = vec![self.entry(ScopeId::cluster(), self.cluster.objects(), &mut bodies)?];
        for number in 0..NAMESPACES {
            let id = ScopeId::namespace(namespace(number).as_str());
            scopes.push(self.entry(id, self.cluster.scope(number), &mut bodies)?);
        }
        self.sequence += 1;
        let name = self.cluster.name();
        let source = Source {
            collector: "kubernetes".into(),
            kind: "kubernetes".into(),
            runtime: None,
            cluster: Some(Identity { uid: Some(self.id.to_string()), name: Some(name.clone()) }),
            host: None,
            observed_at: now,
            coverage: Coverage::Complete,
            shown: Shown::All,
            warnings: Vec::new(),
            cost: None,
            scopes,
        };
        let report = Report {
            schema: SCHEMA_VERSION.into(),
            id: Uuid::now_v7(),
            agent: Agent {
                id: Some(self.id),
                run: Some(self.run),
                version: "0.1.0".into(),
                hostname: Some(format!("agent.{name}")),
            },
            created_at: now,
            sequence: Some(self.sequence),
            valid_for_seconds: Some(86_400),
            sources: vec![source],
        };
        let mut frames = Vec::new();
        append_frame(&mut frames, &serde_json::to_vec(&report)?, None)?;
        let mut before: Option<&Vec<u8>> = None;
        for body in &bodies {
            append_frame(&mut frames, body, before.map(Vec::as_slice))?;
            before = Some(body);
        }
        Ok(frames)
    }

    fn entry(&mut self, id: ScopeId, mut scope: Scope, bodies: &mut Vec<Vec<u8>>) -> anyhow::Result<ScopeEntry> {
        let counts = normalise(&mut scope);
        let body = serde_json::to_vec(&scope)?;
        let digest = Digest::sha256(&body);
        if self.told.insert(id.clone(), digest.clone()).as_ref() != Some(&digest) {
            bodies.push(body);
        }
        Ok(ScopeEntry { id, coverage: Coverage::Complete, digest: Some(digest), counts })
    }
}
