//! A cluster whose objects come and go: an API server that lists them, and tells of them what a watch is told.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;

use crate::{
    fake::{Answer, Chunk, FakeServer, PROTOBUF, Recorded},
    protobuf,
};

/// What is answered instead of what the cluster has.
type Script = Box<dyn Fn(&Recorded) -> Option<Answer> + Send>;

/// A cluster of nodes, namespaces, pods and what owns them.
pub(crate) struct Cluster {
    pub(crate) server: FakeServer,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// Changes before this are no longer known.
    oldest: u64,
    objects: BTreeMap<Key, Value>,
    log: Vec<Change>,
    watches: Vec<Watch>,
    script: Option<Script>,
    streams: bool,
    speaks_protobuf: bool,
}

/// Resource, namespace and name.
type Key = (String, String, String);

#[derive(Clone)]
struct Change {
    version: u64,
    kind: &'static str,
    key: Key,
    object: Value,
}

struct Watch {
    place: Place,
    is_protobuf: bool,
    sender: UnboundedSender<Chunk>,
}

/// What a path is of.
#[derive(Clone)]
struct Place {
    resource: String,
    /// All if empty.
    namespace: String,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let rest =
            path.strip_prefix("/api/v1/").or_else(|| path.strip_prefix("/apis/")?.split_once("/v1/").map(|it| it.1))?;
        let parts: Vec<&str> = rest.split('/').collect();
        let (resource, namespace) = match parts[..] {
            [resource] => (resource, ""),
            ["namespaces", namespace, resource] => (resource, namespace),
            _ => return None,
        };
        Some(Self { resource: resource.into(), namespace: namespace.into() })
    }

    fn has(&self, (resource, namespace, _): &Key) -> bool {
        *resource == self.resource && (self.namespace.is_empty() || *namespace == self.namespace)
    }
}

impl Cluster {
    /// One with these namespaces, a node, and nothing else.
    pub(crate) fn start(namespaces: &[&str]) -> Self {
        let state = Arc::<Mutex<State>>::default();
        let answering = Arc::clone(&state);
        let server = FakeServer::start(move |request| answering.lock().unwrap().answer(request));
        let cluster = Self { server, state };
        cluster.put("nodes", json!({"metadata": {"name": "n1"}}));
        for name in namespaces {
            cluster.put("namespaces", json!({"metadata": {"name": name}}));
        }
        cluster
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Answers streaming lists.
    pub(crate) fn streaming(self) -> Self {
        self.lock().streams = true;
        self
    }

    /// Answers in protobuf.
    pub(crate) fn in_protobuf(self) -> Self {
        self.lock().speaks_protobuf = true;
        self
    }

    /// Answers by this first.
    pub(crate) fn script(&self, script: impl Fn(&Recorded) -> Option<Answer> + Send + 'static) {
        self.lock().script = Some(Box::new(script));
    }

    /// Answers as it should again.
    pub(crate) fn no_script(&self) {
        self.lock().script = None;
    }

    /// An object is there, or is now like this.
    pub(crate) fn put(&self, resource: &str, object: Value) {
        self.lock().put(resource, object);
    }

    /// An object is gone.
    pub(crate) fn delete(&self, resource: &str, namespace: &str, name: &str) {
        let mut state = self.lock();
        let key = (resource.to_owned(), namespace.to_owned(), name.to_owned());
        let object = state.objects.remove(&key).expect("it was there");
        state.tell("DELETED", key, object);
    }

    /// Something happens to the answers to all watches of a resource, which are forgotten where that ends them.
    pub(crate) fn send(&self, resource: &str, chunk: &Chunk) {
        let mut state = self.lock();
        state.watches.retain(|watch| {
            if watch.place.resource == resource {
                let _ = watch.sender.send(chunk.clone());
            }
            watch.place.resource != resource || matches!(chunk, Chunk::Bytes(_))
        });
    }

    /// All watches end, so that nothing of what happens now is told.
    pub(crate) fn hang_up(&self, chunk: &Chunk) {
        for resource in ["pods", "nodes", "namespaces", "replicasets", "jobs"] {
            self.send(resource, chunk);
        }
    }

    /// Tells the watches of a resource how far they are.
    pub(crate) fn bookmark(&self, resource: &str) {
        let state = self.lock();
        for watch in state.watches.iter().filter(|watch| watch.place.resource == resource) {
            watch.tell("BOOKMARK", &json!({"metadata": {"resourceVersion": state.version.to_string()}}));
        }
    }

    /// What has happened so far can no longer be told.
    pub(crate) fn forget_history(&self) {
        let mut state = self.lock();
        state.version += 1;
        state.oldest = state.version;
        state.log.clear();
    }

    pub(crate) fn speaks_protobuf(&self) -> bool {
        self.lock().speaks_protobuf
    }

    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// How often lists were asked for.
    pub(crate) fn lists(&self) -> usize {
        self.server.asked(|request| !request.is_watch()).len()
    }

    /// The watches that were asked for of a path.
    pub(crate) fn watches(&self, path: &str) -> Vec<Recorded> {
        self.server.asked(|request| request.is_watch() && request.path == path)
    }
}

impl State {
    fn put(&mut self, resource: &str, mut object: Value) {
        let of = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let key = (resource.to_owned(), of("namespace"), of("name"));
        let kind = if self.objects.contains_key(&key) { "MODIFIED" } else { "ADDED" };
        object["metadata"]["resourceVersion"] = json!((self.version + 1).to_string());
        self.objects.insert(key.clone(), object.clone());
        self.tell(kind, key, object);
    }

    fn tell(&mut self, kind: &'static str, key: Key, mut object: Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        for watch in self.watches.iter().filter(|watch| watch.place.has(&key)) {
            watch.tell(kind, &object);
        }
        self.log.push(Change { version: self.version, kind, key, object });
    }

    fn answer(&mut self, request: &Recorded) -> Answer {
        if let Some(answer) = self.script.as_ref().and_then(|script| script(request)) {
            return answer;
        }
        let Some(place) = Place::of(&request.path) else { return Answer::status(404, "not found") };
        if request.is_watch() {
            return self.watch(request, place);
        }
        let items: Vec<_> = self.objects.iter().filter(|(key, _)| place.has(key)).map(|(_, object)| object).collect();
        if self.speaks_protobuf {
            return Answer::protobuf(protobuf::list(&self.version.to_string(), &items));
        }
        Answer::ok(&json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items}))
    }

    fn watch(&mut self, request: &Recorded, place: Place) -> Answer {
        let is_protobuf = self.speaks_protobuf;
        let (answer, sender) = Answer::open(if is_protobuf { PROTOBUF } else { "application/json" });
        let watch = Watch { place, is_protobuf, sender };
        let from: u64 = request.query("resourceVersion").unwrap().parse().unwrap();
        if request.query("sendInitialEvents").is_some() {
            if !self.streams {
                return Answer::status(
                    422,
                    "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled",
                );
            }
            for (_, object) in self.objects.iter().filter(|(key, _)| watch.place.has(key)) {
                watch.tell("ADDED", object);
            }
            let annotations = json!({"k8s.io/initial-events-end": "true"});
            let metadata = json!({"resourceVersion": self.version.to_string(), "annotations": annotations});
            watch.tell("BOOKMARK", &json!({ "metadata": metadata }));
        } else if from < self.oldest {
            let message = format!("too old resource version: {from} ({})", self.oldest);
            watch.tell("ERROR", &json!({"kind": "Status", "code": 410, "message": message}));
            watch.sender.send(Chunk::Close).unwrap();
            return answer;
        } else {
            for change in self.log.iter().filter(|change| change.version > from && watch.place.has(&change.key)) {
                watch.tell(change.kind, &change.object);
            }
        }
        self.watches.push(watch);
        answer
    }
}

impl Watch {
    fn tell(&self, kind: &str, object: &Value) {
        // Whoever has hung up is told nothing.
        let _ = self.sender.send(Chunk::Bytes(event(self.is_protobuf, kind, object)));
    }
}

/// An event as a watch tells it.
pub(crate) fn event(is_protobuf: bool, kind: &str, object: &Value) -> Vec<u8> {
    if is_protobuf {
        return protobuf::event(kind, object);
    }
    format!("{}\n", json!({"type": kind, "object": object})).into_bytes()
}
