//! What waits for one receiver.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::{
    app::App,
    http::Problem,
    notify::{
        channel::{Channel, ChannelView},
        on::Wanted,
        subscription::{self, Delivery, Subscription},
    },
};

/// How many numbers of events wait in memory for one receiver. What is beyond them is read from the log again when its turn comes.
const WAITING: usize = 256;

/// Something that is to be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    /// The event of this number.
    Event(i64),
    /// That these events were removed with age, unread.
    Removed { first: i64, last: i64 },
}

/// A subscription that is delivered to.
pub(super) struct Mailbox {
    pub(super) account_id: i64,
    /// The account's name.
    pub(super) account: String,
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) revision: i64,
    pub(super) wanted: Wanted,
    /// Where it goes, as it is told, and all of it once that was needed.
    channel: ChannelView,
    opened: OnceLock<Channel>,
    /// Held by whoever delivers: the one of the same subscription before it was changed, too.
    pub(super) turn: Arc<tokio::sync::Mutex<()>>,
    /// Cancelled once there is no such subscription any more, or it is another's to deliver.
    pub(super) ended: CancellationToken,
    queue: Mutex<Queue>,
}

/// What waits, and what became of what did.
#[derive(Debug, Default)]
pub(super) struct Queue {
    items: VecDeque<Item>,
    /// Number up to which all that is wanted is among the items; none if that is as far as the log was looked at.
    pub(super) behind: Option<i64>,
    /// Number up to which all that is wanted was taken.
    pub(super) taken: i64,
    /// Whether some that were not taken are to be tried again.
    pub(super) has_due: bool,
    pub(super) delivery: Delivery,
    /// How long the last attempt took.
    pub(super) lasted: Duration,
    /// Whether somebody delivers.
    pub(super) is_running: bool,
    /// Whether the database does not have it as it is here.
    pub(super) is_dirty: bool,
}

impl Item {
    /// The number up to which it goes.
    pub(super) fn last(self) -> i64 {
        match self {
            Self::Event(id) | Self::Removed { last: id, .. } => id,
        }
    }

    fn first(self) -> i64 {
        match self {
            Self::Event(id) | Self::Removed { first: id, .. } => id,
        }
    }
}

impl Mailbox {
    /// Of a subscription, of which nothing waits that is not in the log behind what it has taken.
    pub(super) fn of(one: Subscription, account: String, ended: CancellationToken) -> Result<Self, Problem> {
        let channel = one.channel.ok_or_else(|| Problem::bad_request("it has no channel"))?;
        let queue = Queue { behind: Some(one.taken), taken: one.taken, delivery: one.delivery, ..Queue::default() };
        Ok(Self {
            account_id: one.account_id,
            account,
            id: one.id,
            name: one.name,
            revision: one.revision,
            wanted: one.on.wanted()?,
            channel,
            opened: OnceLock::new(),
            turn: Arc::default(),
            ended,
            queue: Mutex::new(queue),
        })
    }

    /// Goes on where another of the same subscription is.
    pub(super) fn instead_of(mut self, former: &Self) -> Self {
        self.turn = Arc::clone(&former.turn);
        let taken = former.queue().taken;
        let queue = self.queue.get_mut().unwrap_or_else(PoisonError::into_inner);
        queue.taken = queue.taken.max(taken);
        queue.behind = Some(queue.taken);
        // What the former one has taken since it was written down last, nobody else writes down.
        queue.is_dirty = true;
        self
    }

    /// How many are handed over at once, and how long to wait then.
    pub(super) fn pace(&self) -> (usize, Duration) {
        self.channel.pace()
    }

    /// Where it goes, or why that cannot be told at the moment.
    pub(super) async fn channel(&self, app: &App) -> Result<&Channel, String> {
        if let Some(channel) = self.opened.get() {
            return Ok(channel);
        }
        let place = (self.account_id, self.id);
        let channel = subscription::channel(&app.database, &app.vault, place, &self.channel).await?;
        Ok(self.opened.get_or_init(|| channel))
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Adds what the log has next, to those only that have all that comes before it. Says whether it is among them now.
    pub(super) fn push(&mut self, item: Item) -> bool {
        let last = self.items.back().map_or(self.taken, |item| item.last());
        if self.behind.is_some() || item.last() <= last {
            return false;
        }
        if self.items.len() >= WAITING {
            self.behind = Some(item.first() - 1);
            return false;
        }
        self.items.push_back(item);
        true
    }

    /// Takes over what was read of the log behind `behind`, up to a number; `is_all` if that is as far as it was looked at.
    pub(super) fn refill(&mut self, items: impl IntoIterator<Item = Item>, until: i64, is_all: bool) {
        self.behind = None;
        for item in items {
            self.push(item);
        }
        if self.behind.is_none() && !is_all {
            self.behind = Some(until);
        }
        if self.items.is_empty() {
            self.pass(until);
        }
    }

    /// What is handed over next: so many at the most.
    pub(super) fn next(&self, most: usize) -> Vec<Item> {
        self.items.iter().take(most).copied().collect()
    }

    /// Nothing waits, in memory or in the log.
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty() && self.behind.is_none() && !self.has_due
    }

    /// The first that wait are done with: so many.
    pub(super) fn done(&mut self, count: usize) {
        for _ in 0..count {
            if let Some(item) = self.items.pop_front() {
                self.pass(item.last());
            }
        }
    }

    /// All that is wanted up to a number was taken.
    pub(super) fn pass(&mut self, until: i64) {
        self.is_dirty |= until > self.taken;
        self.taken = self.taken.max(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_bounded_and_loses_nothing() {
        let mut queue = Queue { taken: 10, ..Queue::default() };
        assert!(!queue.push(Item::Event(10)), "it has that");
        for id in 11..=1000 {
            queue.push(Item::Event(id));
        }
        assert_eq!((queue.items.len(), queue.behind), (WAITING, Some(10 + 256)));
        let mut taken = Vec::new();
        while let [Item::Event(id), ..] = queue.next(1)[..] {
            taken.push(id);
            queue.done(1);
            if queue.next(1).is_empty()
                && let Some(behind) = queue.behind
            {
                let until = (behind + 100).min(1000);
                queue.refill((behind + 1..=until).map(Item::Event), until, until == 1000);
            }
        }
        assert_eq!(taken, (11..=1000).collect::<Vec<_>>());
        assert!(queue.is_empty() && queue.taken == 1000 && queue.push(Item::Event(1001)));
    }

    #[test]
    fn what_is_not_wanted_is_passed_over() {
        let mut queue = Queue { taken: 10, behind: Some(10), ..Queue::default() };
        queue.refill([], 110, false);
        assert_eq!((queue.taken, queue.behind, queue.is_dirty), (110, Some(110), true));
        queue.refill([Item::Removed { first: 111, last: 120 }], 130, true);
        assert_eq!((queue.taken, queue.behind), (110, None));
        queue.done(1);
        assert_eq!(queue.taken, 120);
    }
}
