//! A large cluster that changes: pods in namespaces, of which some are replaced.

use jiff::Timestamp;
use stocktake_core::{
    model::{Cluster, Counts, Coverage, Scope, ScopeEntry, ScopeId, Shown, Source},
    normalise,
};

use super::made::Made;

/// Pods by namespace, as numbers that no other pod ever had.
#[derive(Debug)]
pub struct Pods {
    made: Made,
    namespaces: Vec<Vec<usize>>,
    next: usize,
}

impl Pods {
    /// So many pods, spread over so many namespaces.
    #[must_use]
    pub fn new(pods: usize, namespaces: usize) -> Self {
        let namespaces = (0..namespaces).map(|first| (first..pods).step_by(namespaces).collect()).collect();
        Self { made: Made::new(), namespaces, next: pods }
    }

    fn scope(&self, number: usize) -> Scope {
        let mut scope = self.made.namespace(number, self.namespaces[number].iter().copied());
        let _ = normalise(&mut scope);
        scope
    }

    /// All namespaces.
    #[must_use]
    pub fn scopes(&self) -> Vec<Option<Scope>> {
        (0..self.namespaces.len()).map(|number| Some(self.scope(number))).collect()
    }

    /// Replaces a hundredth of all, in as many namespaces as possible, and returns those that changed.
    pub fn replace(&mut self) -> Vec<Option<Scope>> {
        let (count, width) = (self.next / 100, self.namespaces.len());
        let mut changed = vec![false; width];
        for position in 0..count {
            let namespace = position % width;
            let pods = &mut self.namespaces[namespace];
            let pod = (position / width + self.next) % pods.len();
            pods[pod] = self.next + position;
            changed[namespace] = true;
        }
        self.next += count;
        (0..width).map(|number| changed[number].then(|| self.scope(number))).collect()
    }

    /// The source that sees them, without digests.
    #[must_use]
    pub fn source(&self) -> Source {
        let entry = |number| ScopeEntry {
            id: ScopeId::namespace(format!("namespace-{number}")),
            coverage: Coverage::Complete,
            digest: None,
            counts: Counts::default(),
        };
        Source {
            collector: "cluster".into(),
            kind: "kubernetes".into(),
            runtime: None,
            cluster: Some(Cluster { uid: Some("cluster".into()), name: Some("cluster".into()) }),
            host: None,
            observed_at: Timestamp::UNIX_EPOCH,
            coverage: Coverage::Complete,
            shown: Shown::All,
            cost: None,
            warnings: Vec::new(),
            scopes: (0..self.namespaces.len()).map(entry).collect(),
        }
    }
}
