//! Bringing a cluster into the store: each resource goes on from where it is known, or is streamed or listed, and is
//! watched from there on.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream::SelectAll};
use stocktake_core::CollectError;
use tokio::time::Instant;

use crate::{
    api::Api,
    error::{Failure, FailureKind},
    feed::{Fed, Feed, Stop},
    live::{Kind, Live, Unseen},
    settings::Settings,
    watch::From,
};

/// How long nothing has to be told for what happened while nobody watched to have been told: it is sent at once and in one
/// go, and nothing marks its end before the next bookmark, which may be a minute away.
const CAUGHT_UP: Duration = Duration::from_millis(200);
/// How long that is waited for, in a cluster where something always happens.
const CATCHING_UP: Duration = Duration::from_secs(3);

/// Why a cluster is not watched.
#[derive(Debug)]
pub(crate) enum Obstacle {
    /// It may be another time.
    Lost(CollectError),
    /// Looking from time to time is all that can be done for now, because something is refused or not there.
    Refused(String),
    /// Looking from time to time is all that can be done, and why.
    Unable(String),
}

impl std::convert::From<CollectError> for Obstacle {
    fn from(error: CollectError) -> Self {
        match error {
            // As is whoever answers what is not Kubernetes, or watches of which nothing can go on.
            CollectError::Unsupported { .. } => Self::Refused(error.full_message()),
            error => Self::Lost(error),
        }
    }
}

impl std::convert::From<Stop> for Obstacle {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::TooMuch(limit) => {
                Self::Unable(format!("what is watched takes more than the {limit} of `max_memory`; raise it"))
            }
            // Who may list need not be allowed to watch.
            Stop::Failed(Failure { kind: FailureKind::Forbidden, error }) => Self::Refused(error.full_message()),
            Stop::Failed(failure) => failure.error.into(),
        }
    }
}

/// A cluster that is in the store.
pub(crate) struct Filled {
    /// What keeps it up to date.
    pub(crate) fed: SelectAll<Fed>,
    /// Whether all of it was known, and had only to go on.
    pub(crate) is_resumed: bool,
}

/// How a resource is brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begun {
    /// From where it is known.
    Resumed,
    Streamed,
    Listed,
}

/// A store that is being filled.
struct Filling {
    feeds: Vec<Feed>,
    fed: SelectAll<Fed>,
    /// How each resource was begun, by its position.
    begun: HashMap<usize, Begun>,
    /// What is not known yet.
    awaited: HashSet<usize>,
}

/// Fills the store that `live` was made ready for.
pub(crate) async fn fill(api: &Api, settings: &Arc<Settings>, live: &Arc<Live>) -> Result<Filled, Obstacle> {
    let feeds = Feed::all(api, settings, live);
    let mut filling = Filling { feeds, fed: SelectAll::new(), begun: HashMap::new(), awaited: HashSet::new() };
    filling.begin(api, settings).await?;
    filling.run().await?;
    let is_resumed = filling.begun.values().all(|begun| *begun == Begun::Resumed);
    Ok(Filled { fed: filling.fed, is_resumed })
}

impl Filling {
    async fn begin(&mut self, api: &Api, settings: &Settings) -> Result<(), Obstacle> {
        // A list and a watch of each, who the cluster is (2), whether lists are streamed, and one to spare.
        let requests = 2 * self.feeds.len() + 4;
        if let Some(limit) = api.meter.limit().filter(|limit| *limit < requests) {
            let why =
                format!("that takes {requests} requests at once, and `max_requests_per_minute` is {limit}; raise it");
            return Err(Obstacle::Unable(why));
        }
        let is_known = self.feeds.iter().all(|feed| feed.version().is_some());
        let streams = !is_known && api.streaming.is_answered(api, settings).await;
        for feed in self.feeds.clone() {
            match feed.version() {
                Some(version) => self.watch(feed, Begun::Resumed, From::Version(version)),
                None => self.bring(feed, streams).await?,
            }
        }
        Ok(())
    }

    /// Brings in a resource of which nothing is known.
    async fn bring(&mut self, feed: Feed, streams: bool) -> Result<(), Obstacle> {
        if !streams {
            return self.list(feed).await;
        }
        tracing::info!("asking to {} as a streaming list", feed.query.action());
        self.watch(feed, Begun::Streamed, From::Beginning);
        Ok(())
    }

    /// Goes on until all is known and, where nobody watched for a while, what happened then has been told.
    async fn run(&mut self) -> Result<(), Obstacle> {
        let mut catching_up = None;
        loop {
            let told = if !self.awaited.is_empty() {
                self.fed.next().await
            } else if self.begun.values().any(|begun| *begun == Begun::Resumed) {
                let until = *catching_up.get_or_insert_with(|| Instant::now() + CATCHING_UP);
                let quiet = until.min(Instant::now() + CAUGHT_UP);
                tokio::time::timeout_at(quiet, self.fed.next()).await.ok().flatten()
            } else {
                None
            };
            match told {
                Some((position, Ok(true))) => drop(self.awaited.remove(&position)),
                Some((_, Ok(false))) => {}
                Some((position, Err(stop))) => self.replace(position, stop).await?,
                None => return Ok(()),
            }
        }
    }

    fn watch(&mut self, feed: Feed, begun: Begun, from: From) {
        self.begun.insert(feed.position, begun);
        self.awaited.insert(feed.position);
        self.fed.push(feed.watch(from));
    }

    /// Lists a resource, and takes note if it cannot be listed and the others can do without it.
    async fn list(&mut self, feed: Feed) -> Result<(), Obstacle> {
        self.begun.insert(feed.position, Begun::Listed);
        match feed.list().await {
            Ok(version) => {
                self.watch(feed, Begun::Listed, From::Version(version));
                Ok(())
            }
            Err(stop) => {
                self.awaited.remove(&feed.position);
                unseen(&feed, stop)
            }
        }
    }

    /// Brings in otherwise what could not be brought in as it was begun, if that may succeed where the first did not.
    async fn replace(&mut self, position: usize, stop: Stop) -> Result<(), Obstacle> {
        let kind = if let Stop::Failed(failure) = &stop { Some(failure.kind) } else { None };
        let Some(feed) = self.feeds.get(position).cloned() else { return Err(stop.into()) };
        match (self.begun.get(&position), kind) {
            // Whoever could watch it before may no longer, or be asking a server that has just started and has not read its
            // access rules: whether it may be listed says which, and is asked again where it may not.
            (Some(Begun::Resumed), Some(FailureKind::Forbidden)) if !is_node(&feed) => self.list(feed).await,
            // What has changed since can no longer be told.
            (Some(Begun::Resumed), Some(FailureKind::Gone)) => {
                let streams = feed.api.streaming.is_answered(&feed.api, &feed.settings).await;
                self.bring(feed, streams).await
            }
            // The server is behind what it told before, or it is watching that is refused; if it is all, the refusal of a
            // list is what others say too.
            (Some(Begun::Streamed), Some(FailureKind::Gone | FailureKind::Forbidden | FailureKind::NotFound)) => {
                self.list(feed).await
            }
            // It is asked for at each look: the node that is looked at alone.
            (_, Some(FailureKind::Forbidden)) if is_node(&feed) => {
                self.awaited.remove(&position);
                unseen(&feed, stop)
            }
            _ => Err(stop.into()),
        }
    }
}

/// Whether it is the node that is looked at alone.
fn is_node(feed: &Feed) -> bool {
    feed.kind == Kind::Nodes && feed.settings.node.is_some()
}

/// Lists what was refused when the others were brought in, and begins to watch what is no longer refused. Whatever fails
/// stays refused: the others go on, and where the server answers no more, it is they that end.
pub(crate) async fn fill_gaps(api: &Api, settings: &Arc<Settings>, live: &Arc<Live>) -> Result<Vec<Fed>, Obstacle> {
    let gaps = live.lock().gaps(settings);
    let mut fed = Vec::new();
    for feed in Feed::all(api, settings, live).into_iter().filter(|feed| gaps.contains(&feed.position)) {
        match feed.list().await {
            Ok(version) => {
                live.lock().show(feed.position);
                fed.push(feed.watch(From::Version(version)));
            }
            Err(Stop::Failed(failure)) => tracing::debug!(reason = failure.error.full_message(), "still not seen"),
            Err(stop @ Stop::TooMuch(_)) => return Err(stop.into()),
        }
    }
    Ok(fed)
}

/// Takes note that a resource cannot be listed, if the others can be watched without it.
fn unseen(feed: &Feed, stop: Stop) -> Result<(), Obstacle> {
    let unseen = match &stop {
        Stop::Failed(Failure { kind: FailureKind::Forbidden, error }) => Unseen::Denied(error.full_message()),
        // Such as a cluster that serves pods alone.
        Stop::Failed(Failure { kind: FailureKind::NotFound, .. }) if feed.kind.link().is_some() => Unseen::Absent,
        _ => return Err(stop.into()),
    };
    let mut state = feed.live.lock();
    state.hide(feed.position, unseen);
    // If no pods may be seen, nothing may.
    let mut pods = state.resources.iter().filter(|resource| resource.kind == Kind::Pods);
    match stop {
        Stop::Failed(failure) if pods.all(|resource| resource.unseen.is_some()) => Err(Obstacle::Lost(failure.error)),
        _ => Ok(()),
    }
}
