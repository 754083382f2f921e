//! A collector that does what a test says, and keeps what was asked of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use stocktake_core::{
    CollectError, Location, ObservedScope, RuntimeCollector, RuntimeInfo, ScopeChange, ScopeSink, Selection,
    filter::Filters,
    model::{Container, Coverage, Host, RuntimeVersion, Scope, ScopeId},
};
use tokio::{
    sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::Instant,
};

use crate::{
    follow::{Following, Update, follow},
    observe::Configured,
};

/// How long a call to the collector may take.
pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// How often it is looked at.
pub(super) const INTERVAL: Duration = Duration::from_mins(1);

pub(super) type Item = Result<ScopeChange, CollectError>;

/// What a subscription does.
pub(super) enum Stream {
    /// Tells what the test sends.
    Live(UnboundedReceiver<Item>),
    /// Cannot tell.
    Empty,
    /// Is refused.
    Refused,
    Panics,
    /// Never stands.
    Hangs,
    /// Tells something all the time.
    Floods,
}

/// What a collection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Sound,
    Panics,
    Hangs,
    Fails,
    /// Sees some of the scopes, and says so.
    Partial,
}

/// What was asked of the collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    Who,
    Changes,
    Collect(Selection),
}

pub(super) struct World {
    pub(super) scopes: BTreeMap<&'static str, Result<&'static str, &'static str>>,
    pub(super) mood: Mood,
    pub(super) machine: &'static str,
    /// How long a collection takes.
    pub(super) takes: Duration,
    pub(super) streams: VecDeque<Stream>,
    pub(super) asked: Vec<(Instant, Asked)>,
}

pub(super) struct Scripted(Mutex<World>);

impl Scripted {
    /// Scopes `a`, `b` and `c` with a container each, and these streams, one behind the other.
    pub(super) fn new(streams: impl IntoIterator<Item = Stream>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(World {
            scopes: ["a", "b", "c"].map(|name| (name, Ok("app:1"))).into(),
            mood: Mood::Sound,
            machine: "m1",
            takes: Duration::ZERO,
            streams: streams.into_iter().collect(),
            asked: Vec::new(),
        })))
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    fn note(&self, asked: Asked) {
        self.world().asked.push((Instant::now(), asked));
    }

    /// Since the last time.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.world().asked).into_iter().map(|(_, asked)| asked).collect()
    }

    /// When something was asked, and what.
    pub(super) fn times(&self, of: fn(&Asked) -> bool) -> Vec<Instant> {
        self.world().asked.iter().filter(|(_, asked)| of(asked)).map(|(time, _)| *time).collect()
    }
}

pub(super) fn live() -> (UnboundedSender<Item>, Stream) {
    let (sender, receiver) = unbounded_channel();
    (sender, Stream::Live(receiver))
}

pub(super) fn lost() -> CollectError {
    CollectError::unavailable("the daemon is gone", "end of file")
}

fn body(image: &str) -> Scope {
    if image.is_empty() {
        return Scope::default();
    }
    let container =
        Container { id: Some("1".into()), name: "web".into(), image: Some(image.into()), ..Container::default() };
    Scope { containers: vec![container], ..Scope::default() }
}

#[async_trait]
impl RuntimeCollector for Scripted {
    async fn probe(&self) -> Result<RuntimeInfo, CollectError> {
        self.note(Asked::Who);
        let world = self.world();
        if world.mood == Mood::Fails {
            return Err(lost());
        }
        let runtime = RuntimeVersion { name: "scripted".into(), version: "1".into() };
        let host = Host { machine_id: Some(world.machine.into()), hostname: Some("h".into()) };
        Ok(RuntimeInfo { runtime, location: Location::Host(host) })
    }

    async fn collect(&self, select: &Selection, sink: &mut dyn ScopeSink) -> Result<Coverage, CollectError> {
        self.note(Asked::Collect(select.clone()));
        let World { mood, takes, .. } = *self.world();
        tokio::time::sleep(takes).await;
        match mood {
            Mood::Panics => panic!("index out of bounds"),
            Mood::Hangs => std::future::pending().await,
            Mood::Fails => return Err(lost()),
            Mood::Sound | Mood::Partial => {}
        }
        let scopes = self.world().scopes.clone();
        for (name, image) in &scopes {
            let id = ScopeId::namespace(*name);
            match image {
                _ if !select.includes(&id) => {}
                Ok(image) => sink.scope(ObservedScope::complete(id, body(image))),
                Err(reason) => sink.scope(ObservedScope::unseen(id, &CollectError::denied(*reason, "403"))),
            }
        }
        if let Selection::Only(named) = select {
            for id in named.iter().filter(|id| !scopes.contains_key(&*id.name)) {
                sink.scope(ObservedScope::complete(id.clone(), Scope::default()));
            }
        }
        let partial = Coverage::Partial { reason: "half of it".to_owned() };
        Ok(if mood == Mood::Partial { partial } else { Coverage::Complete })
    }

    fn changes(&self) -> BoxStream<'static, Item> {
        self.note(Asked::Changes);
        let stream = self.world().streams.pop_front().unwrap_or(Stream::Refused);
        match stream {
            Stream::Live(receiver) => stream::unfold(receiver, async |mut receiver| {
                let item = receiver.recv().await?;
                Some((item, receiver))
            })
            .boxed(),
            Stream::Empty => stream::empty().boxed(),
            Stream::Refused => stream::once(async { Err(lost()) }).boxed(),
            Stream::Panics => stream::once(async { panic!("no such event") }).boxed(),
            Stream::Hangs => stream::pending().boxed(),
            Stream::Floods => stream::repeat_with(|| Ok(only(&["a"]))).boxed(),
        }
    }
}

pub(super) fn only(names: &[&str]) -> ScopeChange {
    ScopeChange::Scopes(names.iter().map(|name| ScopeId::namespace(*name)).collect())
}

pub(super) fn collect(names: &[&str]) -> Asked {
    Asked::Collect(only(names).into())
}

pub(super) const COLLECT_ALL: Asked = Asked::Collect(Selection::All);

/// A collector that is followed.
pub(super) struct Followed {
    pub(super) collector: Arc<Scripted>,
    updates: Receiver<Update>,
    _following: Following,
}

impl Followed {
    pub(super) fn new(streams: impl IntoIterator<Item = Stream>) -> Self {
        Self::with(Scripted::new(streams), Filters::default())
    }

    pub(super) fn with(collector: Arc<Scripted>, filters: Filters) -> Self {
        let configured = configured(&collector);
        let (following, updates) = follow(vec![configured], &Arc::new(filters));
        Self { collector, updates, _following: following }
    }

    /// The next update, however long it takes.
    pub(super) async fn update(&mut self) -> Update {
        self.updates.recv().await.expect("following never ends by itself")
    }

    /// Whether nothing comes for so long.
    pub(super) async fn is_quiet(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.updates.recv()).await.is_err()
    }
}

pub(super) fn configured(collector: &Arc<Scripted>) -> Configured {
    let collector = Arc::clone(collector) as Arc<dyn RuntimeCollector>;
    Configured { name: "scripted".into(), kind: "scripted", timeout: LIMIT, interval: INTERVAL, collector }
}
