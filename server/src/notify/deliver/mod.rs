//! Handing events to receivers: each to whom it is for, in order, until they have it.
//!
//! One replica does it (`lease`). It looks through what is new once for all (`desk`), notes for each receiver the numbers of what it
//! wants (`mailbox`), and takes it there (`courier`). How far each has come is in the database, moved on only once the receiver has it: what
//! waits is in the log, and what is lost with the process is read there again.

mod courier;
mod desk;
mod lease;
mod letters;
mod mailbox;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    courier::{Courier, Lanes},
    desk::Desk,
    lease::Lease,
    mailbox::Mailbox,
};
use super::{
    signs,
    subscription::{COLUMNS, Subscription},
};
use crate::{
    api::statement::text,
    app::App,
    database::{Column, DatabaseError, Rows},
    http::Problem,
};

/// How often it is written down how far receivers have come, and looked whether subscriptions have changed.
const NOTED: Duration = Duration::from_millis(500);

/// How often it is written down of those who want nothing of what comes that it was passed over.
const PASSED: Duration = Duration::from_mins(1);

/// How long couriers may take to end.
const TO_END: Duration = Duration::from_secs(5);

/// Delivers whenever no other replica does, until the server stops.
pub(crate) async fn always(app: App) {
    let (mut lease, stopping) = (Lease::new(app.database.clone()), app.notify.stopping.clone());
    let mut has_failed = false;
    while !stopping.is_cancelled() {
        match lease.take().await {
            Ok(true) => {
                has_failed = false;
                Office::new(app.clone()).open(&lease).await;
                continue;
            }
            Ok(false) => has_failed = false,
            Err(error) if !std::mem::replace(&mut has_failed, true) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "notifications are not delivered; trying again");
            }
            Err(_) => {}
        }
        let _ = tokio::time::timeout(lease::BEAT, stopping.cancelled()).await;
    }
}

/// What delivers for as long as this replica has the lease.
struct Office {
    app: App,
    desks: Mutex<BTreeMap<i64, Arc<Desk>>>,
    lanes: Arc<Lanes>,
    couriers: TaskTracker,
    /// Cancelled at the end.
    ended: CancellationToken,
}

impl Office {
    fn new(app: App) -> Self {
        let (lanes, couriers) = (Arc::default(), TaskTracker::new());
        Self { app, desks: Mutex::default(), lanes, couriers, ended: CancellationToken::new() }
    }

    fn desks(&self) -> MutexGuard<'_, BTreeMap<i64, Arc<Desk>>> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Delivers until the server stops or the lease is lost.
    async fn open(&self, lease: &Lease) {
        tracing::debug!("this replica delivers notifications");
        let stopping = self.app.notify.stopping.clone();
        let is_lost = tokio::select! {
            () = self.beat(lease) => true,
            () = self.sort() => false,
            () = self.note(lease.me()) => false,
            () = signs::always(&self.app) => false,
            () = stopping.cancelled() => false,
        };
        self.ended.cancel();
        self.couriers.close();
        let _ = tokio::time::timeout(TO_END, self.couriers.wait()).await;
        if is_lost {
            tracing::warn!("another replica delivers notifications from now on");
            return;
        }
        // What was being written down just now may not have been.
        self.mailboxes().values().for_each(|mailbox| mailbox.queue().is_dirty = true);
        let done = async {
            self.note_all(lease.me()).await?;
            lease.give_back().await
        };
        if let Err(error) = done.await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "it is not noted which notifications were taken last: they will be delivered again");
        }
    }

    /// Shows that this replica is there, until another one has taken its place, or may have.
    async fn beat(&self, lease: &Lease) {
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(lease::BEAT).await;
            // Before anybody else may think so.
            let (asked, until) = (Instant::now(), since + lease::PATIENCE.saturating_sub(lease::BEAT));
            let patience = lease::BEAT.min(until.saturating_duration_since(asked));
            match tokio::time::timeout(patience, lease.renew()).await {
                // Others count from when it was written down, which is no earlier than it was asked for.
                Ok(Ok(true)) => since = asked,
                Ok(Ok(false)) => return,
                _ if Instant::now() >= until => return,
                _ => {}
            }
        }
    }

    /// Puts what is new into mailboxes.
    async fn sort(&self) {
        let mut news = self.app.notify.pulse.listen();
        let (mut version, mut looked) = (None, None::<Instant>);
        loop {
            if looked.is_none_or(|looked| looked.elapsed() >= NOTED) {
                looked = Some(Instant::now());
                if let Err(problem) = self.reload(&mut version).await {
                    tracing::warn!(%problem, "cannot look whether subscriptions have changed; trying again");
                }
            }
            let desks: Vec<Arc<Desk>> = self.desks().values().cloned().collect();
            let mut is_all = true;
            for desk in desks {
                match self.sort_some(&desk).await {
                    Ok(is_done) => is_all &= is_done,
                    Err(problem) => tracing::warn!(%problem, "cannot read the event log; trying again"),
                }
            }
            if is_all {
                let _ = tokio::time::timeout(NOTED, news.changed()).await;
            }
        }
    }

    /// Puts some of what an account has new into mailboxes, and says whether that is all.
    async fn sort_some(&self, desk: &Arc<Desk>) -> Result<bool, Problem> {
        let (position, latest) = (desk.position(), self.app.notify.pulse.latest(desk.account_id));
        if latest <= position {
            return Ok(true);
        }
        let part = self.app.notify.log.after(&self.app, desk.account_id, position, latest).await?;
        for mailbox in desk.sort(&part) {
            self.wake(desk, &mailbox);
        }
        Ok(part.until >= latest)
    }

    /// Sees to it that somebody delivers what waits.
    fn wake(&self, desk: &Arc<Desk>, mailbox: &Arc<Mailbox>) {
        let mut queue = mailbox.queue();
        if queue.is_empty() || std::mem::replace(&mut queue.is_running, true) {
            return;
        }
        drop(queue);
        let courier = Courier::new(self.app.clone(), Arc::clone(&self.lanes), Arc::clone(desk), Arc::clone(mailbox));
        self.couriers.spawn(courier.run());
    }

    /// Reads subscriptions, if they are others than those of a version.
    async fn reload(&self, version: &mut Option<i64>) -> Result<(), Problem> {
        let current = lease::version(&self.app.database).await?;
        if *version == Some(current) {
            return Ok(());
        }
        self.app.notify.pulse.look(&self.app.database).await?;
        let mut wanted: BTreeMap<i64, BTreeMap<i64, Arc<Mailbox>>> = BTreeMap::new();
        let former = self.mailboxes();
        let statement = format!(
            "SELECT {COLUMNS}, ac.name AS account FROM subscription AS sb CROSS JOIN account AS ac \
             WHERE ac.id = sb.account_id AND sb.active = 1 AND sb.channel IS NOT NULL"
        );
        let rows = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch_all(self.app.database.pool()).await?;
        for row in &rows {
            let (Some(one), account) = (Subscription::readable(row), text(row, "account")?) else { continue };
            let (account_id, id) = (one.account_id, one.id);
            let mailbox = match former.get(&(account_id, id)) {
                Some(former) if former.revision == one.revision && !former.ended.is_cancelled() => Arc::clone(former),
                former => match self.mailbox(one, account, former) {
                    Ok(mailbox) => Arc::new(mailbox),
                    Err(problem) => {
                        tracing::error!(account = account_id, subscription = id, %problem, "a subscription is passed over");
                        continue;
                    }
                },
            };
            wanted.entry(account_id).or_default().insert(id, mailbox);
        }
        self.mark_due(&wanted).await?;
        self.set(wanted, &former);
        *version = Some(current);
        Ok(())
    }

    fn mailbox(&self, one: Subscription, account: String, former: Option<&Arc<Mailbox>>) -> Result<Mailbox, Problem> {
        let mailbox = Mailbox::of(one, account, self.ended.child_token())?;
        Ok(match former {
            Some(former) => mailbox.instead_of(former),
            None => mailbox,
        })
    }

    /// Notes for which of them dead letters are to be tried again.
    async fn mark_due(&self, wanted: &BTreeMap<i64, BTreeMap<i64, Arc<Mailbox>>>) -> Result<(), sqlx::Error> {
        let text = "SELECT DISTINCT account_id, subscription_id FROM dead_letter WHERE is_due = 1";
        let rows: Vec<(i64, i64)> = sqlx::query_as(text).fetch_all(self.app.database.pool()).await?;
        for (account_id, id) in rows {
            if let Some(mailbox) = wanted.get(&account_id).and_then(|mailboxes| mailboxes.get(&id)) {
                mailbox.queue().has_due = true;
            }
        }
        Ok(())
    }

    /// Has these from now on, and those no longer that are not among them.
    fn set(&self, mut wanted: BTreeMap<i64, BTreeMap<i64, Arc<Mailbox>>>, former: &BTreeMap<(i64, i64), Arc<Mailbox>>) {
        for ((account_id, id), mailbox) in former {
            let stays = wanted.get(account_id).and_then(|mailboxes| mailboxes.get(id));
            if !stays.is_some_and(|stays| Arc::ptr_eq(stays, mailbox)) {
                mailbox.ended.cancel();
            }
        }
        let mut desks = self.desks();
        desks.retain(|account_id, _| wanted.contains_key(account_id));
        for account_id in wanted.keys().copied().collect::<BTreeSet<i64>>() {
            let desk = desks.entry(account_id).or_insert_with(|| Arc::new(Desk::new(account_id)));
            let mailboxes = wanted.remove(&account_id).unwrap_or_default();
            desk.set(mailboxes, self.app.notify.pulse.latest(account_id));
            for mailbox in desk.mailboxes() {
                self.wake(desk, &mailbox);
            }
        }
    }

    fn mailboxes(&self) -> BTreeMap<(i64, i64), Arc<Mailbox>> {
        let all = self.desks().values().flat_map(|desk| desk.mailboxes()).collect::<Vec<_>>();
        all.into_iter().map(|mailbox| ((mailbox.account_id, mailbox.id), mailbox)).collect()
    }

    /// Writes down how far receivers have come.
    async fn note(&self, me: &str) {
        let mut passed = Instant::now();
        loop {
            tokio::time::sleep(NOTED).await;
            if passed.elapsed() >= PASSED {
                passed = Instant::now();
                self.desks().values().for_each(|desk| desk.pass());
            }
            if let Err(error) = self.note_all(me).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "cannot write down which notifications were taken; trying again");
            }
        }
    }

    async fn note_all(&self, me: &str) -> Result<(), DatabaseError> {
        let dirty: Vec<Arc<Mailbox>> =
            self.mailboxes().into_values().filter(|mailbox| std::mem::take(&mut mailbox.queue().is_dirty)).collect();
        if dirty.is_empty() {
            return Ok(());
        }
        let mut rows = Rows::new(&STATE);
        for mailbox in &dirty {
            let queue = mailbox.queue();
            let delivery = queue.delivery.clone();
            rows.push([
                mailbox.account_id.into(),
                mailbox.id.into(),
                mailbox.revision.into(),
                queue.taken.into(),
                delivery.delivered_at.into(),
                delivery.failing_since.into(),
                delivery.attempts.into(),
                delivery.next_at.into(),
                delivery.error.into(),
            ]);
        }
        let noted = async {
            let mut writing = self.app.database.write().await?;
            let dialect = self.app.database.dialect();
            rows.execute(writing.connection(), dialect, &[me.into()], UPDATE_STATE).await?;
            writing.commit().await
        };
        noted.await.inspect_err(|_| dirty.iter().for_each(|mailbox| mailbox.queue().is_dirty = true))
    }
}

const STATE: [Column; 9] = [
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Integer,
    Column::Text,
];

/// Not by who has lost the lease, nor of what was changed or made inactive since; and nobody goes back.
const UPDATE_STATE: [&str; 2] = [
    "UPDATE subscription SET taken = CASE WHEN v.column4 > subscription.taken THEN v.column4 ELSE subscription.taken END, \
     delivered_at = v.column5, failing_since = v.column6, attempts = v.column7, next_at = v.column8, error = v.column9 FROM",
    "AS v WHERE subscription.account_id = v.column1 AND subscription.id = v.column2 AND subscription.revision = v.column3 \
     AND subscription.active = 1 AND EXISTS (SELECT 1 FROM lease WHERE name = 'notify' AND holder = $1)",
];
