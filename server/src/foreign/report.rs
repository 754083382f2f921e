//! What all foreign reports have in common, once they are reports of ours.

use std::collections::BTreeMap;

use jiff::Timestamp;
use stocktake_core::{
    Digest, ImageReference,
    model::{
        Agent, Cluster, Coverage, DigestFact, Image, MissingReason, Provenance, Report, SCHEMA_VERSION, Scope,
        ScopeEntry, ScopeId, Shown, Source,
    },
    normalise,
};
use uuid::Uuid;

use crate::ingest::Incoming;

/// What of a cluster a foreign agent has told.
pub(super) struct Told {
    /// What sort of agent it is, which is its collector's name, too.
    pub(super) kind: &'static str,
    /// Type of the collector of ours that sees the same.
    pub(super) runtime: &'static str,
    pub(super) cluster: String,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) scopes: Vec<(ScopeId, Coverage, Scope)>,
}

impl Told {
    /// The report that it is. The same request a second time is the same report, if it says when it was made.
    pub(super) fn incoming(self, request: &[u8]) -> Incoming {
        let received_at = Timestamp::now();
        let id = match self.timestamp {
            Some(_) => Uuid::new_v5(&Uuid::NAMESPACE_OID, request),
            None => Uuid::now_v7(),
        };
        let mut bodies = BTreeMap::new();
        let mut scopes = Vec::new();
        let mut told: Vec<(ScopeId, Coverage, Scope)> = Vec::new();
        for (id, coverage, scope) in self.scopes {
            // kai tells of a namespace twice that two of its patterns match.
            match told.iter_mut().find(|(known, ..)| *known == id) {
                Some((.., known)) => known.images.extend(scope.images),
                None => told.push((id, coverage, scope)),
            }
        }
        for (id, coverage, mut scope) in told {
            let counts = normalise(&mut scope);
            // It cannot fail: every map in the model has texts for keys.
            let body = serde_json::to_vec(&scope).unwrap_or_default();
            let digest = Digest::sha256(&body);
            bodies.insert(digest.clone(), body.into());
            scopes.push(ScopeEntry { id, coverage, digest: Some(digest), counts });
        }
        let source = Source {
            collector: self.kind.into(),
            kind: self.runtime.into(),
            runtime: None,
            cluster: Some(Cluster { uid: None, name: Some(self.cluster.clone()) }),
            host: None,
            observed_at: self.timestamp.unwrap_or(received_at),
            coverage: Coverage::Partial { reason: "the agent does not say whether it tells of everything".to_owned() },
            shown: Shown::Part,
            warnings: Vec::new(),
            cost: None,
            scopes,
        };
        let report = Report {
            schema: SCHEMA_VERSION.to_owned(),
            id,
            agent: Agent { id: None, run: None, version: String::new(), hostname: Some(self.cluster) },
            created_at: self.timestamp.unwrap_or(received_at),
            sequence: None,
            valid_for_seconds: None,
            sources: vec![source],
        };
        Incoming {
            kind: self.kind,
            credential: None,
            report,
            manifest: None,
            bodies,
            earlier: BTreeMap::new(),
            is_whole: false,
            skew: 0,
            received_at: received_at.as_millisecond(),
        }
    }
}

/// An image by the tag and the digest that these agents tell. The digest is what the runtime said after `@`: the index's or the
/// manifest's, nobody knows which.
pub(super) fn image(id: String, tag: &str, digest: Option<&str>) -> Image {
    let mut image = Image::unresolved(id, MissingReason::NotReported);
    // A tag of theirs may be `repository:` and the digest's digits, or end in a colon: no invented tags here.
    let reference = tag.parse::<ImageReference>().ok();
    if !tag.is_empty() {
        image.names.push(tag.into());
    }
    let Some(digest) = digest.and_then(|digest| digest.parse::<Digest>().ok()) else { return image };
    for fact in [&mut image.index_digest, &mut image.manifest_digest] {
        *fact = DigestFact::missing(MissingReason::Ambiguous);
    }
    let repository = reference.map(|reference| reference.canonical_repository());
    match repository.and_then(|repository| format!("{repository}@{digest}").parse().ok()) {
        Some(repo_digest) => image.repo_digests.push(repo_digest),
        None => image.manifest_digest = DigestFact::known(digest, Provenance("anchore_image_digest".into())),
    }
    image
}
