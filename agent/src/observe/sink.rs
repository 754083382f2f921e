//! What a collector hands over, as it comes: cleaned of what is not to leave the host, and in the form that a digest is of.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use stocktake_core::{
    Digest, ObservedScope, RuntimeInfo, ScopeSink,
    filter::{Filters, Removed},
    model::{Cost, Counts, Scope, ScopeEntry, ScopeId, Shown, Warning},
    normalise, scope_digest,
};

/// What was seen in a scope.
pub(crate) struct Content {
    /// None where nothing was seen, or where who asked has it already.
    pub(crate) body: Option<Scope>,
    /// What was taken out of the body.
    pub(crate) removed: Removed,
    /// What had to be mended in it.
    pub(crate) mended: Option<Warning>,
}

/// What was seen so far; shared, so that it survives the end of the task that fills it.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) runtime: Option<RuntimeInfo>,
    /// Why the runtime does not say who it is, though it answers.
    pub(super) unidentified: Option<String>,
    /// Each with its line in the manifest.
    pub(super) scopes: BTreeMap<ScopeId, (ScopeEntry, Content)>,
    pub(super) warnings: Vec<Warning>,
    pub(super) cost: Option<Cost>,
    pub(super) shown: Shown,
    /// Bytes of the bodies, where they are counted.
    bytes: usize,
    /// Whether scopes were left out because there were too many bytes.
    pub(super) is_full: bool,
}

pub(super) struct SharedSink {
    pub(super) seen: Arc<Mutex<Seen>>,
    pub(super) filters: Arc<Filters>,
    /// Digests of bodies that who asks has already.
    pub(super) known: BTreeMap<ScopeId, Digest>,
    /// How many bytes all bodies may have together.
    pub(super) most_bytes: Option<usize>,
}

/// Bytes that a scope takes besides its body.
const LINE: usize = 256;

impl SharedSink {
    pub(super) fn lock(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }

    fn is_known(&self, entry: &ScopeEntry, removed: &Removed) -> bool {
        // A filter that goes by what all scopes say needs them all, and so does who says what was cut.
        entry.digest.is_some()
            && entry.digest.as_ref() == self.known.get(&entry.id)
            && removed.truncated() == 0
            && !self.filters.selects_containers()
    }
}

pub(super) fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Nothing in here is left half done by a panic.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ScopeSink for SharedSink {
    fn scope(&mut self, scope: ObservedScope) {
        // Before it is held: what is not to be reported, or is known, need not stay in memory.
        let (entry, mut content) = seal(scope, &self.filters);
        if self.is_known(&entry, &content.removed) {
            content.body = None;
        }
        let bytes = self.most_bytes.map(|_| LINE + content.body.as_ref().map_or(0, length)).unwrap_or_default();
        let mut seen = self.lock();
        if seen.bytes.saturating_add(bytes) > self.most_bytes.unwrap_or(usize::MAX) {
            seen.is_full = true;
            return;
        }
        seen.bytes += bytes;
        let id = entry.id.clone();
        if seen.scopes.insert(id.clone(), (entry, content)).is_some() {
            seen.warnings.push(Warning::new(format!("the collector handed over {id} twice; the later one counts")));
        }
    }

    fn warning(&mut self, warning: Warning) {
        self.lock().warnings.push(warning);
    }

    fn cost(&mut self, cost: Cost) {
        self.lock().cost = Some(cost);
    }
}

/// How many bytes a body has as it is sent.
fn length(body: &Scope) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // It cannot fail: the writer takes everything, and every map in the model has texts for keys.
    let _ = serde_json::to_writer(&mut counter, body);
    counter.0
}

/// Takes out of a scope what is not to be reported, brings it into the form that a digest is of, and writes its line in the
/// manifest. The body of a scope of which nothing was seen is none.
fn seal(scope: ObservedScope, filters: &Filters) -> (ScopeEntry, Content) {
    let ObservedScope { id, coverage, mut body } = scope;
    let removed = filters.clean(&mut body);
    let counts = Counts { truncated: removed.truncated(), ..normalise(&mut body) };
    let Counts { duplicates, dangling_references, .. } = counts;
    let mended = (duplicates + dangling_references > 0).then(|| {
        Warning::new(format!(
            "the runtime's answer about {id} contradicts itself: {duplicates} entries with the key of another were dropped, \
             {dangling_references} references to what is not there cut; report it to who makes the runtime or its collector"
        ))
    });
    let digest = coverage.has_seen().then(|| scope_digest(&body));
    let body = digest.is_some().then_some(body);
    (ScopeEntry { id, coverage, digest, counts }, Content { body, removed, mended })
}
