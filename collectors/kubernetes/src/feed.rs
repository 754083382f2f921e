//! From lists and watches into the store: what each kind of object does to it.

use std::{collections::HashSet, sync::Arc};

use bytesize::ByteSize;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use stocktake_core::model::Text;

use crate::{
    api::Api,
    error::{self, Failure, FailureKind},
    list::{Lister, Query, Step},
    live::{Kind, Live},
    pods,
    settings::Settings,
    store::Store,
    watch::{From, Told, Watch, Watched},
    wire,
};

/// Why nothing more is fed.
#[derive(Debug)]
pub(crate) enum Stop {
    Failed(Failure),
    /// It would take more memory than this, which is what is allowed.
    TooMuch(ByteSize),
}

impl std::convert::From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Objects that are kept.
trait Stored: Watched + 'static {
    /// It is there, or is now like this. What it is known by, if it is selected.
    fn put(self, kind: Kind, store: &mut Store, settings: &Settings) -> Option<Text>;
    /// It is gone.
    fn delete(self, kind: Kind, store: &mut Store, settings: &Settings);
    /// No others are there.
    fn retain(kind: Kind, namespace: Option<&str>, listed: &HashSet<Text>, store: &mut Store);
}

impl Stored for wire::Pod {
    fn put(self, _: Kind, store: &mut Store, settings: &Settings) -> Option<Text> {
        store.put_pod(self, settings)
    }

    fn delete(self, _: Kind, store: &mut Store, settings: &Settings) {
        store.delete_pod(self, settings);
    }

    fn retain(_: Kind, namespace: Option<&str>, listed: &HashSet<Text>, store: &mut Store) {
        store.retain_pods(namespace, listed);
    }
}

impl Stored for wire::Node {
    fn put(self, _: Kind, store: &mut Store, _: &Settings) -> Option<Text> {
        Some(store.put_node(self))
    }

    fn delete(self, _: Kind, store: &mut Store, _: &Settings) {
        store.delete_node(self);
    }

    fn retain(_: Kind, _: Option<&str>, listed: &HashSet<Text>, store: &mut Store) {
        store.retain_nodes(listed);
    }
}

impl Stored for wire::Namespace {
    fn put(self, _: Kind, store: &mut Store, _: &Settings) -> Option<Text> {
        Some(store.put_namespace(self))
    }

    fn delete(self, _: Kind, store: &mut Store, _: &Settings) {
        store.delete_namespace(self);
    }

    fn retain(_: Kind, _: Option<&str>, listed: &HashSet<Text>, store: &mut Store) {
        store.retain_namespaces(listed);
    }
}

impl Stored for wire::Owned {
    fn put(self, kind: Kind, store: &mut Store, _: &Settings) -> Option<Text> {
        Some(store.put_owned(kind.link()?, &self.metadata.unwrap_or_default()))
    }

    fn delete(self, kind: Kind, store: &mut Store, _: &Settings) {
        if let Some(link) = kind.link() {
            store.delete_owned(link, &self.metadata.unwrap_or_default());
        }
    }

    fn retain(kind: Kind, namespace: Option<&str>, listed: &HashSet<Text>, store: &mut Store) {
        if let Some(link) = kind.link() {
            store.owners.retain(link, namespace, listed);
        }
    }
}

/// What is fed where.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) api: Api,
    pub(crate) live: Arc<Live>,
    pub(crate) settings: Arc<Settings>,
    /// Position of the resource.
    pub(crate) position: usize,
    pub(crate) kind: Kind,
    pub(crate) query: Query,
}

/// Whether all objects that there are are known and every change is being told.
pub(crate) type Fed = BoxStream<'static, (usize, Result<bool, Stop>)>;

impl Feed {
    /// Of all resources that `live` was made ready for.
    pub(crate) fn all(api: &Api, settings: &Arc<Settings>, live: &Arc<Live>) -> Vec<Self> {
        let state = live.lock();
        let resources = state.resources.iter().enumerate();
        let feeds = resources.map(|(position, resource)| Self {
            api: api.clone(),
            live: Arc::clone(live),
            settings: Arc::clone(settings),
            position,
            kind: resource.kind,
            query: resource.query.clone(),
        });
        feeds.collect()
    }

    /// How far the objects' changes are known.
    pub(crate) fn version(&self) -> Option<String> {
        self.live.lock().version(self.position)
    }

    /// Lists all objects. The version of the list.
    pub(crate) async fn list(&self) -> Result<String, Stop> {
        match self.kind {
            Kind::Pods => self.list_of::<wire::Pod>().await,
            Kind::Nodes => self.list_of::<wire::Node>().await,
            Kind::Namespaces => self.list_of::<wire::Namespace>().await,
            Kind::Owned(_) => self.list_of::<wire::Owned>().await,
        }
    }

    async fn list_of<T: Stored>(&self) -> Result<String, Stop> {
        let way = pods::way(&self.settings, self.query.namespace.as_deref());
        tracing::info!("asking to {}, {way}", self.query.action());
        let mut lister = Lister::<T>::new(&self.api, self.query.clone(), way);
        let mut found = HashSet::new();
        while let Some(step) = lister.next().await? {
            match step {
                Step::Item(object) => found.extend(self.put(object)?),
                Step::Page(_) => {}
                Step::Restarted => found.clear(),
            }
        }
        let version = lister.version().to_owned();
        if version.is_empty() {
            return Err(error::unversioned(&self.api.peer, &self.query.action()).into());
        }
        let mut state = self.live.lock();
        T::retain(self.kind, self.query.namespace.as_deref(), &found, &mut state.store);
        state.reached(self.position, Some(version.clone()));
        Ok(version)
    }

    /// Follows the objects from there on.
    pub(crate) fn watch(self, from: From) -> Fed {
        match self.kind {
            Kind::Pods => self.watch_of::<wire::Pod>(from),
            Kind::Nodes => self.watch_of::<wire::Node>(from),
            Kind::Namespaces => self.watch_of::<wire::Namespace>(from),
            Kind::Owned(_) => self.watch_of::<wire::Owned>(from),
        }
    }

    fn watch_of<T: Stored>(self, from: From) -> Fed {
        let position = self.position;
        let watch = Watch::<T>::new(self.api.clone(), self.query.clone(), from);
        let listed = HashSet::new();
        let following = Some((self, watch, listed));
        stream::unfold(following, move |following| async move {
            let (feed, mut watch, mut listed) = following?;
            let told = feed.next(&mut watch, &mut listed).await;
            let is_over = told.is_err();
            Some(((position, told), (!is_over).then_some((feed, watch, listed))))
        })
        .boxed()
    }

    async fn next<T: Stored>(&self, watch: &mut Watch<T>, listed: &mut HashSet<Text>) -> Result<bool, Stop> {
        let told = watch.next().await.inspect_err(|failure| self.failed(failure))?;
        let is_known = watch.version().is_some();
        match told {
            Told::Present(object) => {
                let key = self.put(object)?;
                if !is_known {
                    listed.extend(key);
                }
            }
            Told::Deleted(object) => object.delete(self.kind, &mut self.live.lock().store, &self.settings),
            Told::AllPresent => {
                let listed = std::mem::take(listed);
                T::retain(self.kind, self.query.namespace.as_deref(), &listed, &mut self.live.lock().store);
            }
            Told::Standing | Told::Progress => {}
        }
        self.live.lock().reached(self.position, watch.version().map(str::to_owned));
        Ok(is_known)
    }

    /// What has changed since can no longer be told, so that all of it has to be listed; as it was then, or newer.
    fn failed(&self, failure: &Failure) {
        if failure.kind == FailureKind::Gone {
            let mut state = self.live.lock();
            if let Some(version) = state.version(self.position) {
                self.api.versions.note(self.query.collection(), version);
            }
            state.reached(self.position, None);
        }
    }

    fn put<T: Stored>(&self, object: T) -> Result<Option<Text>, Stop> {
        let mut state = self.live.lock();
        let key = object.put(self.kind, &mut state.store, &self.settings);
        match self.settings.max_memory {
            Some(limit) if self.settings.exceeds_memory(state.store.kept_bytes()) => Err(Stop::TooMuch(limit)),
            _ => Ok(key),
        }
    }
}
