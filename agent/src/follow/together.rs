//! Several collectors that are looked at together, because what is reported of one goes by what the others see.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::{join_all, select_all};
use stocktake_core::{
    Selection,
    filter::Filters,
    model::{Agent, Source},
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};
use tracing::Instrument as _;

use super::{
    follower::{BURST_AT_MOST, QUIET, complain},
    held::{Held, Look, Update},
    patience::Patience,
    standing::Standing,
    watching::{Event, Watching},
};
use crate::{
    assemble::{Assembled, assemble},
    observe::{Configured, Observation, observe},
};

/// Collectors that are all looked at whenever one of them tells of a change. Nothing is held between two looks but what a
/// single one holds too: bodies come again with each look.
pub(super) struct Together {
    members: Vec<Member>,
    filters: Arc<Filters>,
    patience: Patience,
    looked_at: Option<Instant>,
    standing: Standing,
    updates: mpsc::Sender<Update>,
}

struct Member {
    configured: Configured,
    watching: Watching,
    held: Held,
}

impl Together {
    pub(super) fn new(
        collectors: Vec<Configured>,
        filters: Arc<Filters>,
        standing: Standing,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        let interval = collectors.iter().map(|configured| configured.interval).min().unwrap_or_default();
        let member = |configured: Configured| {
            let span = tracing::error_span!("follow", collector = configured.name);
            let _entered = span.enter();
            let watching = Watching::new(Arc::clone(&configured.collector), configured.timeout);
            Member { configured, watching, held: Held::default() }
        };
        let members = collectors.into_iter().map(member).collect();
        Self { members, filters, patience: Patience::new(interval), looked_at: None, standing, updates }
    }

    /// Looks, for as long as anybody listens.
    pub(super) async fn run(mut self) {
        loop {
            self.next().await;
            for update in self.look().await {
                if self.updates.send(update).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Waits until there is something to look at.
    async fn next(&mut self) {
        loop {
            let event = match self.full_look() {
                Some(moment) => tokio::select! {
                    biased;
                    () = sleep_until(moment) => return,
                    event = any(&mut self.members) => event,
                },
                None => any(&mut self.members).await,
            };
            // Until the next look something is not known, or need not be told.
            for member in &self.members {
                self.standing.set(&member.configured.name, false);
            }
            match event {
                Event::Stands(_) | Event::Change(_) => break,
                Event::Lost | Event::CannotTell => {}
            }
        }
        let latest = Instant::now() + BURST_AT_MOST;
        while Instant::now() < latest
            && timeout_at(latest.min(Instant::now() + QUIET), any(&mut self.members)).await.is_ok()
        {}
    }

    /// When everything is looked at though nothing is told. None while it is about to be told.
    fn full_look(&self) -> Option<Instant> {
        let is_opening = || self.members.iter().any(|member| member.watching.is_opening());
        let Some(looked_at) = self.looked_at else { return (!is_opening()).then(Instant::now) };
        Some(looked_at + self.patience.wait(self.members.iter().all(Member::is_sound)))
    }

    async fn look(&mut self) -> Vec<Update> {
        let looks = self.members.iter().map(|Member { configured, .. }| {
            observe(configured, &self.filters).instrument(tracing::error_span!("follow", collector = configured.name))
        });
        let observations = join_all(looks).await;
        let looks: Vec<_> =
            observations.iter().map(|Observation { took, timed_out, .. }| (*took, *timed_out)).collect();
        let Assembled { report, scopes, .. } = assemble(Agent::default(), observations, &self.filters);
        self.looked_at = Some(Instant::now());
        let mut sources: BTreeMap<_, Source> =
            report.sources.into_iter().map(|source| (source.collector.clone(), source)).collect();
        let mut updates = Vec::new();
        for (member, (took, timed_out)) in self.members.iter_mut().zip(looks) {
            let Some(source) = sources.remove(member.configured.name.as_str()) else { continue };
            let digests = source.scopes.iter().filter_map(|entry| entry.digest.as_ref());
            let bodies = digests.filter_map(|digest| Some((digest.clone(), scopes.get(digest)?.clone()))).collect();
            let span = tracing::error_span!("follow", collector = member.configured.name);
            let _entered = span.enter();
            let was_complete = member.held.is_complete();
            let mut update = member.held.merge(&Selection::All, source, bodies);
            complain(was_complete, &member.held, &update);
            self.standing.set(&member.configured.name, member.is_sound());
            update.look = Look { took, timed_out, next_within: Duration::ZERO };
            updates.push(update);
        }
        self.patience.looked(self.members.iter().all(|member| member.held.is_complete()));
        let timeout = self.members.iter().map(|member| member.configured.timeout).max().unwrap_or_default();
        let next_within = self.patience.wait(self.members.iter().all(Member::is_sound)) + timeout;
        for update in &mut updates {
            update.look.next_within = next_within;
        }
        updates
    }
}

impl Member {
    fn is_sound(&self) -> bool {
        self.watching.stands() && self.held.is_complete()
    }
}

/// What happens next to any subscription. Nothing is lost when this is dropped.
async fn any(members: &mut [Member]) -> Event {
    select_all(members.iter_mut().map(|member| Box::pin(member.watching.next()))).await.0
}
