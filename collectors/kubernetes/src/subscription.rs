//! What changes in a cluster: lists first what is not known yet, then watches all of it at once.

use std::sync::Arc;

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use stocktake_core::{CollectError, ScopeChange};

use crate::{
    api::Connection,
    feed::Fed,
    fill::{Filled, Obstacle, fill, fill_gaps},
    live::Live,
    settings::Settings,
};

/// A subscription, which stands until it is dropped.
pub(crate) struct Subscription {
    connection: Arc<Connection>,
    settings: Arc<Settings>,
    live: Arc<Live>,
    phase: Phase,
    /// Whether it is this one that keeps what is known up to date.
    stands: bool,
}

enum Phase {
    Beginning,
    Standing(SelectAll<Fed>),
    Ended,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.fall();
    }
}

impl Subscription {
    pub(crate) fn new(connection: Arc<Connection>, settings: Arc<Settings>, live: Arc<Live>) -> Self {
        Self { connection, settings, live, phase: Phase::Beginning, stands: false }
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
        self.fall();
        // Who was watching is refused while access rules are replaced, or not loaded yet by a server that has just started.
        let obstacle = match obstacle {
            Obstacle::Refused(message) if self.live.lock().has_stood => {
                Obstacle::Lost(CollectError::Unavailable { message, source: None })
            }
            obstacle => obstacle,
        };
        match obstacle {
            Obstacle::Lost(error) => {
                self.connection.forget_if_denied(&error).await;
                Some(Err(error))
            }
            Obstacle::Refused(why) | Obstacle::Unable(why) => {
                tracing::warn!("looking from time to time instead of watching, because {why}");
                self.live.clear();
                None
            }
        }
    }

    /// Subscribes, and goes on from where the last subscription ended as far as it can.
    async fn begin(&mut self) -> Result<ScopeChange, Obstacle> {
        let api = self.connection.api().await?;
        self.live.prepare(&self.settings);
        let Filled { fed, is_resumed } = fill(&api, &self.settings, &self.live).await?;
        let mut state = self.live.lock();
        (state.is_standing, state.has_stood) = (true, true);
        let since = state.store.take_changes();
        drop(state);
        self.stands = true;
        tracing::info!("watching {}", api.peer);
        self.phase = Phase::Standing(fed);
        Ok(if is_resumed { since } else { ScopeChange::All })
    }

    /// What is known is no longer kept up to date, unless by another subscription.
    fn fall(&mut self) {
        if std::mem::take(&mut self.stands) {
            self.live.note_versions(&self.connection.versions);
            self.live.lock().is_standing = false;
        }
    }

    /// Waits until something has changed.
    async fn follow(&mut self, mut fed: SelectAll<Fed>) -> Result<ScopeChange, Obstacle> {
        while !self.live.lock().store.has_changed() {
            tokio::select! {
                told = fed.next() => match told {
                    Some((_, Ok(_))) => {}
                    Some((_, Err(stop))) => return Err(stop.into()),
                    None => return Err(Obstacle::Unable("nothing may be watched".into())),
                },
                () = self.live.handed_over.notified() => {}
                () = self.live.missed.notified() => {
                    let api = self.connection.api().await?;
                    fed.extend(fill_gaps(&api, &self.settings, &self.live).await?);
                }
            }
        }
        self.phase = Phase::Standing(fed);
        Ok(self.live.lock().store.take_changes())
    }
}
