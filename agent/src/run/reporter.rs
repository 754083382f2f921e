//! Making reports of what collectors say: soon when something changed, and from time to time when nothing did.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use stocktake_core::model::{Agent, Source, Text};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use super::Daemon;
use crate::{
    assemble,
    deliver::Post,
    follow::{Standing, Update},
    spool::Spool,
    telemetry::Telemetry,
};

/// How many times an interval a report is good for: one that is late, or has to be sent twice, is no silence.
const INTERVALS_VALID: u32 = 3;

/// How long the first report waits for collectors that have not been looked at yet.
const FIRST_LOOKS: Duration = Duration::from_secs(30);

pub(super) struct Reporter {
    agent: Agent,
    spool: Arc<Spool>,
    telemetry: Telemetry,
    post: watch::Sender<Post>,
    interval: Duration,
    gather: Duration,
    standing: Standing,
    /// Collectors that have not been looked at yet.
    awaited: BTreeSet<Text>,
    /// What is known of each.
    sources: BTreeMap<Text, Source>,
    started: Instant,
    /// When the latest report was made.
    reported: Option<Instant>,
    /// Whether something is known that the latest report does not say.
    has_news: bool,
}

impl Reporter {
    pub(super) fn new(daemon: &Daemon, awaited: BTreeSet<Text>, standing: Standing, post: watch::Sender<Post>) -> Self {
        Self {
            agent: daemon.agent.clone(),
            spool: Arc::clone(&daemon.spool),
            telemetry: daemon.telemetry.clone(),
            post,
            interval: daemon.settings.interval,
            gather: daemon.settings.gather,
            standing,
            awaited,
            sources: BTreeMap::new(),
            started: Instant::now(),
            reported: None,
            has_news: false,
        }
    }

    /// Reports until nobody says anything any more, and then what is left to say.
    pub(super) async fn run(mut self, mut updates: mpsc::Receiver<Update>) {
        loop {
            tokio::select! {
                biased;
                () = until(self.due()) => self.report().await,
                update = updates.recv() => match update {
                    Some(update) => self.take_in(update).await,
                    None => break,
                },
            }
        }
        if self.has_news {
            self.report().await;
        }
    }

    /// When the next report is due. None before anything is known.
    fn due(&self) -> Option<Instant> {
        if self.sources.is_empty() {
            return None;
        }
        let Some(reported) = self.reported else {
            let wait = if self.awaited.is_empty() { Duration::ZERO } else { FIRST_LOOKS };
            return Some(self.started + wait);
        };
        Some(reported + if self.has_news { self.gather.min(self.interval) } else { self.interval })
    }

    async fn take_in(&mut self, mut update: Update) {
        self.telemetry.looked(&update);
        let bodies = std::mem::take(&mut update.bodies);
        let kept = self
            .spool
            .work(move |spool| {
                // One after the other, each let go as soon as it is kept.
                bodies.into_iter().try_for_each(|(digest, body)| spool.keep_body(&digest, &serde_json::to_vec(&body)?))
            })
            .await;
        if let Err(error) = kept {
            // The model always serialises, and what a disk does not take stays in memory.
            tracing::error!("cannot keep what was seen: {error}; report this");
        }
        let collector = update.source.collector.clone();
        self.awaited.remove(&collector);
        let before = self.sources.insert(collector, update.source);
        let is_as_before = before
            .is_some_and(|before| self.sources.get(&before.collector).is_some_and(|now| says_the_same(&before, now)));
        self.has_news |= !is_as_before || !update.changed.is_empty() || !update.gone.is_empty();
    }

    async fn report(&mut self) {
        let now = Timestamp::now();
        let mut report = assemble::report(self.agent.clone());
        report.valid_for_seconds = Some((self.interval * INTERVALS_VALID).as_secs());
        report.sources = self.sources.values().cloned().collect();
        for source in &mut report.sources {
            // Whatever had changed would have been told, and what was told last was everything.
            if self.standing.stands(&source.collector) && source.is_complete() {
                source.observed_at = now;
            }
        }
        self.reported = Some(Instant::now());
        match self.spool.work(move |spool| spool.keep_report(&mut report)).await {
            Ok(sequence) => {
                self.has_news = false;
                self.telemetry.reported(sequence);
                self.post.send_modify(|post| post.latest = sequence);
            }
            Err(error) => tracing::error!("cannot keep a report, and tries again: {error}"),
        }
        let settled = self.spool.work(|spool| Ok((spool.settle().err(), spool.take_dropped()))).await;
        let (failure, dropped) = settled.unwrap_or_else(|error| (Some(error.to_string()), Vec::new()));
        self.telemetry.spool_failed(failure.as_deref());
        for dropped in dropped {
            self.telemetry.dropped(&dropped.target, dropped.reports, dropped.reason);
        }
    }
}

/// Whether a source says of itself what it said before. When it was looked at and what that cost is no news.
fn says_the_same(before: &Source, now: &Source) -> bool {
    (&before.coverage, &before.runtime, &before.cluster, &before.host, &before.shown, &before.warnings)
        == (&now.coverage, &now.runtime, &now.cluster, &now.host, &now.shown, &now.warnings)
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
