//! Taking events to one receiver, in their order, until it has them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use tokio::sync::Semaphore;

use super::{
    desk::Desk,
    letters,
    mailbox::{Item, Mailbox},
};
use crate::{
    app::App,
    notify::{
        parcel::{self, Addressee, Letter},
        send::Outcome,
    },
};

/// Until the second attempt, at the least.
const PATIENCE_AT_FIRST: Duration = Duration::from_secs(1);

/// Half of the longest time between two attempts, to which up to the same is added so that receivers that were lost together are not
/// asked together.
const PATIENCE_AT_MOST: Duration = Duration::from_mins(2);

/// How long is waited because a receiver asks for it.
const ASKED_AT_MOST: Duration = Duration::from_hours(1);

/// How long an attempt with a receiver lasts that is not slow, at the most.
const SLOWNESS: Duration = Duration::from_secs(1);

/// How many attempts are made at a time: with receivers that took the last one soon, and with others, which may make each last for as
/// long as it may.
const FAST: usize = 128;
const SLOW: usize = 64;

/// After so many attempts that failed, those that are tried again are dead letters again.
const REPLAYED: i64 = 3;

/// How long an error's text may be that is kept, in characters.
const ERROR: usize = 500;

/// What all couriers share.
pub(super) struct Lanes {
    fast: Semaphore,
    slow: Semaphore,
}

impl Default for Lanes {
    fn default() -> Self {
        Self { fast: Semaphore::new(FAST), slow: Semaphore::new(SLOW) }
    }
}

/// Delivers what waits for one receiver.
pub(super) struct Courier {
    app: App,
    lanes: Arc<Lanes>,
    desk: Arc<Desk>,
    mailbox: Arc<Mailbox>,
    backoff: ExponentialBackoff,
}

impl Courier {
    pub(super) fn new(app: App, lanes: Arc<Lanes>, desk: Arc<Desk>, mailbox: Arc<Mailbox>) -> Self {
        Self { app, lanes, desk, mailbox, backoff: backoff() }
    }

    /// Delivers until nothing waits any more, or there is no such subscription.
    pub(super) async fn run(mut self) {
        let mailbox = Arc::clone(&self.mailbox);
        mailbox.ended.run_until_cancelled(self.deliver_all()).await;
    }

    async fn deliver_all(&mut self) {
        let _turn = Arc::clone(&self.mailbox.turn).lock_owned().await;
        let (most, _) = self.mailbox.pace();
        while !self.mailbox.ended.is_cancelled() {
            let (has_due, next) = {
                let mut queue = self.mailbox.queue();
                if queue.is_empty() {
                    queue.is_running = false;
                    return;
                }
                (queue.has_due, queue.next(most))
            };
            let done = match (has_due, &next[..]) {
                (true, _) => self.again().await,
                (false, []) => self.refill().await,
                (false, items) => self.deliver(items).await,
            };
            if let Err(wait) = done {
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// Reads what waits in the log. How long to wait, if that failed.
    async fn refill(&mut self) -> Result<(), Duration> {
        let Some(behind) = self.mailbox.queue().behind else { return Ok(()) };
        let position = self.desk.position();
        let part = self.app.notify.log.backlog(&self.app, self.mailbox.account_id, behind, position.max(behind)).await;
        let part = part.map_err(|_| self.patience(None))?;
        self.desk.refill(&self.mailbox, &part);
        Ok(())
    }

    /// Makes an attempt with one that failed before.
    async fn again(&mut self) -> Result<(), Duration> {
        let due = letters::due(&self.app.database, &self.mailbox).await;
        let Some(item) = due.map_err(|error| self.troubled(&error))? else {
            self.mailbox.queue().has_due = false;
            return Ok(());
        };
        let letter = [self.letter(item).await?];
        match self.attempt(&letter).await {
            Outcome::Taken => {
                self.answered(Some(Timestamp::now().as_millisecond()));
                let noted = letters::taken(&self.app.database, &self.mailbox, item.last()).await;
                noted.map_err(|error| self.troubled(&error))?;
                self.pause()
            }
            Outcome::Later { after, why } => {
                let wait = self.failed(after, &why);
                // What is new does not wait for ever for what is old.
                if self.mailbox.queue().delivery.attempts >= REPLAYED {
                    let put_back = letters::put_back(&self.app.database, &self.mailbox, &cut(&why)).await;
                    put_back.map_err(|error| self.troubled(&error))?;
                }
                Err(wait)
            }
            Outcome::Refused(why) => {
                self.bury(&letter, &why, false).await?;
                self.answered(None);
                Ok(())
            }
            Outcome::Gone(why) => self.bury(&letter, &why, true).await,
        }
    }

    /// Makes an attempt with what waits first.
    async fn deliver(&mut self, items: &[Item]) -> Result<(), Duration> {
        let mut letters = Vec::with_capacity(items.len());
        for item in items {
            letters.push(self.letter(*item).await?);
        }
        if self.gives_up(letters[0].at()) {
            let error = self.mailbox.queue().delivery.error.clone().unwrap_or_default();
            self.bury(&letters[..1], &format!("it was not taken for too long: {error}"), false).await?;
            self.mailbox.queue().done(1);
            return Ok(());
        }
        match self.attempt(&letters).await {
            Outcome::Taken => self.answered(Some(Timestamp::now().as_millisecond())),
            Outcome::Later { after, why } => return Err(self.failed(after, &why)),
            Outcome::Refused(why) => {
                self.bury(&letters, &why, false).await?;
                self.answered(None);
            }
            Outcome::Gone(why) => return self.bury(&letters, &why, true).await,
        }
        self.mailbox.queue().done(letters.len());
        self.pause()
    }

    /// How long to wait after something was handed over, if at all.
    fn pause(&self) -> Result<(), Duration> {
        let (_, pause) = self.mailbox.pace();
        if pause.is_zero() { Ok(()) } else { Err(pause) }
    }

    /// Whether the receiver takes nothing for so long that what happened at a time is not tried any more.
    fn gives_up(&self, at: i64) -> bool {
        let most = self.app.notify.settings.give_up_after.as_millis().try_into().unwrap_or(i64::MAX);
        let before = Timestamp::now().as_millisecond().saturating_sub(most);
        let since = self.mailbox.queue().delivery.failing_since;
        at <= before && since.is_some_and(|since| since <= before)
    }

    async fn letter(&self, item: Item) -> Result<Letter, Duration> {
        let (first, last) = match item {
            Item::Removed { first, last } => (first, last),
            Item::Event(event) => {
                let found = self.app.notify.log.one(&self.app, self.mailbox.account_id, event).await;
                if let Some(told) = found.map_err(|_| PATIENCE_AT_FIRST)? {
                    return Ok(Letter::Event(told));
                }
                (event, event)
            }
        };
        Ok(Letter::Removed { first, last })
    }

    async fn attempt(&self, letters: &[Letter]) -> Outcome {
        let is_slow = {
            let queue = self.mailbox.queue();
            queue.lasted > SLOWNESS || queue.delivery.attempts > 0
        };
        let lane = if is_slow { &self.lanes.slow } else { &self.lanes.fast };
        // They are never closed.
        let _own = self.desk.places.acquire().await;
        let _place = lane.acquire().await;
        let began = Instant::now();
        let Mailbox { account, id, name, .. } = &*self.mailbox;
        let outcome = match self.mailbox.channel(&self.app).await {
            Ok(channel) => {
                let to = Addressee { account, id: *id, name, channel };
                parcel::send(&self.app.notify, &to, letters).await
            }
            Err(why) => Outcome::Later { after: None, why },
        };
        self.mailbox.queue().lasted = began.elapsed();
        self.app.metrics.notification(&outcome);
        outcome
    }

    /// The receiver is there, and has taken something at a time if it has.
    fn answered(&mut self, delivered_at: Option<i64>) {
        self.backoff = backoff();
        let (account, id) = (self.mailbox.account_id, self.mailbox.id);
        let mut queue = self.mailbox.queue();
        let delivery = &mut queue.delivery;
        delivery.delivered_at = delivered_at.or(delivery.delivered_at);
        if delivery.failing_since.is_some() {
            tracing::info!(account, subscription = id, "the receiver answers again");
        }
        (delivery.failing_since, delivery.attempts, delivery.next_at, delivery.error) = (None, 0, None, None);
        queue.is_dirty = true;
    }

    /// Notes why an attempt failed. How long to wait before the next one.
    fn failed(&mut self, asked: Option<Duration>, why: &str) -> Duration {
        let wait = self.patience(asked);
        let (account, id) = (self.mailbox.account_id, self.mailbox.id);
        let now = Timestamp::now().as_millisecond();
        let mut queue = self.mailbox.queue();
        let delivery = &mut queue.delivery;
        // Once, and not at every attempt.
        if delivery.failing_since.is_none() {
            tracing::warn!(account, subscription = id, "a notification is not taken, and kept until it is: {why}");
        }
        delivery.failing_since.get_or_insert(now);
        delivery.attempts += 1;
        delivery.next_at = Some(now.saturating_add(wait.as_millis().try_into().unwrap_or(i64::MAX)));
        delivery.error = Some(cut(why));
        queue.is_dirty = true;
        wait
    }

    /// Puts events among the dead letters.
    async fn bury(&mut self, letters: &[Letter], why: &str, is_gone: bool) -> Result<(), Duration> {
        let (account, id) = (self.mailbox.account_id, self.mailbox.id);
        let why = cut(why);
        let buried = letters::bury(&self.app, &self.mailbox, letters, &why, is_gone).await;
        buried.map_err(|error| self.troubled(&error))?;
        let events: Vec<i64> = letters.iter().map(Letter::last).collect();
        tracing::warn!(account, subscription = id, ?events, "notifications are put among the dead letters: {why}");
        if is_gone {
            self.mailbox.ended.cancel();
        }
        Ok(())
    }

    /// The server's own trouble, which is not the receiver's.
    fn troubled(&mut self, error: &(dyn std::error::Error + 'static)) -> Duration {
        tracing::warn!(error, "notifications wait: the server cannot read or write what it needs for them");
        self.patience(None)
    }

    fn patience(&mut self, asked: Option<Duration>) -> Duration {
        let own = self.backoff.next().unwrap_or(PATIENCE_AT_MOST);
        // Not sooner than what was asked for, and not all at once then.
        asked.map_or(own, |asked| asked.min(ASKED_AT_MOST) + own.min(PATIENCE_AT_FIRST * 2))
    }
}

fn cut(why: &str) -> String {
    why.chars().take(ERROR).collect()
}

fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(PATIENCE_AT_FIRST)
        .with_max_delay(PATIENCE_AT_MOST)
        .without_max_times()
        .with_jitter()
        .build()
}
