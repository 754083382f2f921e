//! One collector that is followed: when to look, and at what.

use std::{sync::Arc, time::Duration};

use stocktake_core::{ScopeChange, Selection, filter::Filters};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    held::{Held, Look, Update},
    patience::Patience,
    standing::Standing,
    watching::{Event, Watching},
};
use crate::{
    assemble::of_source,
    observe::{Configured, Question, ask},
};

/// After a change, how long nothing else has to be told before it is looked at: what starts a pod changes it several
/// times within some tens of milliseconds, and one look is enough for all of them.
pub(super) const QUIET: Duration = Duration::from_millis(250);

/// How long a change waits at the most, where others follow without end. Half of the two seconds within which a pod that was
/// created is to be in a report, so that the other half is left for looking.
pub(super) const BURST_AT_MOST: Duration = Duration::from_secs(1);

pub(super) struct Follower {
    configured: Configured,
    filters: Arc<Filters>,
    watching: Watching,
    held: Held,
    patience: Patience,
    standing: Standing,
    /// When the latest look at everything ended.
    looked_at: Option<Instant>,
    updates: mpsc::Sender<Update>,
}

impl Follower {
    pub(super) fn new(
        configured: Configured,
        filters: Arc<Filters>,
        standing: Standing,
        updates: mpsc::Sender<Update>,
    ) -> Self {
        let watching = Watching::new(Arc::clone(&configured.collector), configured.timeout);
        let patience = Patience::new(configured.interval);
        Self { configured, filters, watching, held: Held::default(), patience, standing, looked_at: None, updates }
    }

    /// Looks, for as long as anybody listens.
    pub(super) async fn run(mut self) {
        loop {
            let change = self.next().await;
            let update = self.look(change).await;
            if self.updates.send(update).await.is_err() {
                return;
            }
        }
    }

    /// Waits until there is something to look at.
    async fn next(&mut self) -> ScopeChange {
        loop {
            let full_look = self.full_look();
            let event = tokio::select! {
                biased;
                // First, so that what changes all the time does not put it off for ever.
                () = until(full_look) => return ScopeChange::All,
                event = self.watching.next() => event,
            };
            if !matches!(&event, Event::Stands(change) | Event::Change(change) if self.is_nothing(change)) {
                // Until the next look something is not known, or need not be told.
                self.standing.set(&self.configured.name, false);
            }
            match event {
                Event::Stands(change) | Event::Change(change) if self.is_nothing(&change) => {}
                // At once: it stands for everything that may have been missed, and nothing is known of more to come.
                Event::Stands(change) => return change,
                Event::Change(change) => return self.settled(change).await,
                Event::Lost | Event::CannotTell => {}
            }
        }
    }

    /// Whether there is nothing to look at: a subscription that was taken up where it had ended stands, and that is all.
    fn is_nothing(&self, change: &ScopeChange) -> bool {
        matches!(change, ScopeChange::Scopes(scopes) if scopes.is_empty()) && self.held.has_looked()
    }

    /// A change with all that follow closely.
    async fn settled(&mut self, mut change: ScopeChange) -> ScopeChange {
        let latest = Instant::now() + BURST_AT_MOST;
        while Instant::now() < latest {
            let quiet = latest.min(Instant::now() + QUIET);
            match timeout_at(quiet, self.watching.next()).await {
                Ok(Event::Stands(more) | Event::Change(more)) => change = change.merge(more),
                // What was told before counts all the same.
                Ok(Event::Lost | Event::CannotTell) | Err(_) => break,
            }
        }
        change
    }

    /// When everything is looked at though nothing is told. None while it is about to be told.
    fn full_look(&self) -> Option<Instant> {
        let Some(looked_at) = self.looked_at else {
            return (!self.watching.is_opening()).then(Instant::now);
        };
        Some(looked_at + self.patience.wait(self.is_sound()))
    }

    /// Whether everything is known at every moment.
    fn is_sound(&self) -> bool {
        self.watching.stands() && self.held.is_complete()
    }

    async fn look(&mut self, change: ScopeChange) -> Update {
        // A filter that goes by what is known of a container takes everything that may be known of it.
        let is_everything = !self.held.has_looked() || self.filters.selects_containers();
        let select = if is_everything { Selection::All } else { Selection::from(change) };
        let is_everything = select == Selection::All;
        let known = self.held.digests(&select);
        let question = Question { select: select.clone(), asks_who: is_everything, known, most_bytes: None };
        let observation = ask(&self.configured, &self.filters, question).await;
        if is_everything {
            self.looked_at = Some(Instant::now());
        }
        let (took, timed_out) = (observation.took, observation.timed_out);
        let (source, bodies) = of_source(observation, &self.filters);
        // Once each, as a person who looked once would be told.
        for warning in source.warnings.iter().filter(|warning| !self.held.has_warned(warning)) {
            tracing::warn!("{}", warning.message);
        }
        let was_complete = self.held.is_complete();
        let mut update = self.held.merge(&select, source, bodies);
        complain(was_complete, &self.held, &update);
        if is_everything {
            self.patience.looked(self.held.is_complete());
        }
        self.standing.set(&self.configured.name, self.is_sound());
        let wait = self.full_look().map(|moment| moment.saturating_duration_since(Instant::now()));
        update.look = Look { took, timed_out, next_within: wait.unwrap_or_default() + self.configured.timeout };
        update
    }
}

/// Says when something is not seen any more, and when it is again.
pub(super) fn complain(was_complete: bool, held: &Held, update: &Update) {
    match (was_complete || update.is_first, held.is_complete()) {
        (true, false) => tracing::warn!("{}", what_is_missing(update)),
        (false, true) => tracing::info!("everything is seen again"),
        _ => {}
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// The first thing that was not seen, and how many there are.
fn what_is_missing(update: &Update) -> String {
    let source = &update.source;
    if let Some(reason) = source.coverage.reason() {
        return format!("not everything is seen: {reason}");
    }
    let missing: Vec<_> = source.scopes.iter().filter(|entry| !entry.coverage.is_complete()).collect();
    match missing.first() {
        Some(first) => {
            let reason = first.coverage.reason().unwrap_or("no reason given");
            format!(
                "{} of {} scopes are not seen as a whole; {}: {reason}",
                missing.len(),
                source.scopes.len(),
                first.id
            )
        }
        None => "not everything is seen".to_owned(),
    }
}
