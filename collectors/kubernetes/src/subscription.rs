//! What changes in a cluster: lists first what is not known yet, then watches all of it at once.

use std::{collections::HashSet, sync::Arc};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use stocktake_core::{CollectError, ScopeChange};

use crate::{
    api::{Api, Connection},
    error::{Failure, FailureKind},
    feed::{Fed, Feed, Stop},
    live::{Kind, Live, Unseen},
    settings::{ListWay, Settings},
    watch::{From, streams_lists},
};

/// A subscription, which stands until it is dropped.
pub(crate) struct Subscription {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
    live: Arc<Live>,
    phase: Phase,
}

enum Phase {
    Beginning,
    Standing(SelectAll<Fed>),
    Ended,
}

/// Why a subscription does not stand.
enum Obstacle {
    /// It may stand another time.
    Lost(CollectError),
    /// Looking from time to time is all that can be done, and why.
    Unable(String),
}

impl std::convert::From<CollectError> for Obstacle {
    fn from(error: CollectError) -> Self {
        Self::Lost(error)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.live.lock().is_standing = false;
    }
}

impl Subscription {
    pub(crate) fn new(connection: Arc<Connection>, settings: Arc<Settings>, live: Arc<Live>) -> Self {
        Self { connection, settings, live, phase: Phase::Beginning }
    }

    /// What is told, for as long as the subscription stands.
    pub(crate) fn into_stream(self) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
        stream::unfold(self, |mut subscription| async move {
            let told = subscription.next().await?;
            Some((told, subscription))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<ScopeChange, CollectError>> {
        let told = match std::mem::replace(&mut self.phase, Phase::Ended) {
            Phase::Beginning => self.begin().await,
            Phase::Standing(fed) => self.follow(fed).await,
            Phase::Ended => return None,
        };
        let obstacle = match told {
            Ok(change) => return Some(Ok(change)),
            Err(obstacle) => obstacle,
        };
        self.live.lock().is_standing = false;
        match obstacle {
            Obstacle::Lost(error) => {
                self.connection.forget_if_denied(&error).await;
                Some(Err(error))
            }
            Obstacle::Unable(why) => {
                tracing::warn!("looking from time to time instead of watching, because {why}");
                self.live.clear();
                None
            }
        }
    }

    /// Subscribes, and goes on from where the last subscription ended as far as it can.
    async fn begin(&mut self) -> Result<ScopeChange, Obstacle> {
        let api = self.connection.api().await?;
        let is_known = self.live.prepare(&self.settings);
        let streams = !is_known && streams(&self.settings, &api).await;
        let mut fed = SelectAll::new();
        let mut awaited = HashSet::new();
        for feed in self.feeds(&api) {
            let version = self.live.lock().version(feed.position);
            let from = match version {
                Some(version) => From::Version(version),
                None if streams => {
                    tracing::info!("asking to {} as a streaming list", feed.query.action());
                    From::Beginning
                }
                None => match feed.list().await {
                    Ok(version) => From::Version(version),
                    Err(stop) => {
                        self.unseen(&feed, stop)?;
                        continue;
                    }
                },
            };
            awaited.insert(feed.position);
            fed.push(feed.watch(from));
        }
        while !awaited.is_empty()
            && let Some((position, told)) = fed.next().await
        {
            match told {
                Ok(true) => drop(awaited.remove(&position)),
                Ok(false) => {}
                Err(Stop::Failed(failure)) if self.goes_without(position, &failure) => drop(awaited.remove(&position)),
                Err(stop) => return Err(self.lost(position, stop)),
            }
        }
        let mut state = self.live.lock();
        state.is_standing = true;
        let since = state.store.take_changes();
        drop(state);
        tracing::info!("watching {}", api.peer);
        self.phase = Phase::Standing(fed);
        Ok(if is_known { since } else { ScopeChange::All })
    }

    /// Waits until something has changed.
    async fn follow(&mut self, mut fed: SelectAll<Fed>) -> Result<ScopeChange, Obstacle> {
        while !self.live.lock().store.has_changed() {
            tokio::select! {
                told = fed.next() => match told {
                    Some((_, Ok(_))) => {}
                    Some((position, Err(stop))) => return Err(self.lost(position, stop)),
                    None => return Err(Obstacle::Unable("nothing may be watched".into())),
                },
                () = self.live.handed_over.notified() => {}
            }
        }
        self.phase = Phase::Standing(fed);
        Ok(self.live.lock().store.take_changes())
    }

    fn feeds(&self, api: &Api) -> Vec<Feed> {
        let state = self.live.lock();
        let resources = state.resources.iter().enumerate();
        let feeds = resources.map(|(position, resource)| Feed {
            api: api.clone(),
            live: Arc::clone(&self.live),
            settings: Arc::clone(&self.settings),
            position,
            kind: resource.kind,
            query: resource.query.clone(),
        });
        feeds.collect()
    }

    /// Takes note that a resource cannot be listed, if the others can be watched without it.
    fn unseen(&self, feed: &Feed, stop: Stop) -> Result<(), Obstacle> {
        let failure = match stop {
            Stop::Failed(failure) => failure,
            Stop::TooMuch => return Err(self.too_much()),
        };
        let unseen = match (failure.kind, feed.kind) {
            (FailureKind::Forbidden, _) => Unseen::Denied(failure.error.full_message()),
            // Such as a cluster that serves pods alone.
            (FailureKind::NotFound, Kind::Owned(_)) => Unseen::Absent,
            _ => return Err(failure.error.into()),
        };
        let mut state = self.live.lock();
        state.hide(feed.position, unseen);
        // If no pods may be seen, nothing may.
        let mut pods = state.resources.iter().filter(|resource| resource.kind == Kind::Pods);
        if pods.all(|resource| resource.unseen.is_some()) { Err(failure.error.into()) } else { Ok(()) }
    }

    /// Whether the others are watched without what may not be watched, because it is asked for at each look: the node that
    /// is looked at alone.
    fn goes_without(&self, position: usize, failure: &Failure) -> bool {
        let mut state = self.live.lock();
        let is_node = state.resources.get(position).is_some_and(|resource| resource.kind == Kind::Nodes);
        let goes = is_node && self.settings.node.is_some() && failure.kind == FailureKind::Forbidden;
        if goes {
            state.hide(position, Unseen::Denied(failure.error.full_message()));
        }
        goes
    }

    /// What the end of a watch means for the next subscription.
    fn lost(&self, position: usize, stop: Stop) -> Obstacle {
        let Failure { kind, error } = match stop {
            Stop::Failed(failure) => failure,
            Stop::TooMuch => return self.too_much(),
        };
        match kind {
            // What has changed since can no longer be told, so all of it has to be listed.
            FailureKind::Gone => {
                self.live.lock().reached(position, None);
                Obstacle::Lost(error)
            }
            FailureKind::Forbidden => Obstacle::Unable(error.full_message()),
            _ => Obstacle::Lost(error),
        }
    }

    fn too_much(&self) -> Obstacle {
        let limit = self.settings.max_memory.unwrap_or_default();
        Obstacle::Unable(format!("what is watched takes more than the {limit} of `max_memory`; raise it"))
    }
}

/// Whether streaming lists are wanted and answered.
async fn streams(settings: &Settings, api: &Api) -> bool {
    if !matches!(settings.list, ListWay::Auto | ListWay::Stream) {
        return false;
    }
    let streams = streams_lists(api).await;
    if !streams {
        tracing::info!("{} answers no streaming lists, asking for lists from its watch cache", api.peer);
    }
    streams
}
