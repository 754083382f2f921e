//! What waits to be delivered, on disk.
//!
//! ```text
//! SPOOL                             locked by the agent that uses it
//! SPOOL/agent.json                  who the agent is, through all its runs
//! SPOOL/sequence                    number of the latest report
//! SPOOL/reports/SEQUENCE.zst        a manifest that not every target has acknowledged
//! SPOOL/scopes/HEX.zst              a body by its SHA-256, as long as a manifest here or what is reported now names it
//! SPOOL/targets/NAME.json           up to which report a target has them
//! SPOOL/targets/NAME.manifest.zst   the last one that it acknowledged, of which the next one is sent as what differs
//! SPOOL/aside/                      what a target will never take, with the reason, and what was damaged
//! ```
//!
//! Every file is whole or not there: it is written under another name, synced and renamed. A report is in the spool once its
//! manifest is, which is written after the bodies that it names. It is gone once every target has acknowledged it.

mod aside;
mod cursor;
mod files;
mod identity;
mod inspect;
mod queue;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use stocktake_core::{
    Digest,
    model::{Coverage, Host, Report, ScopeEntry},
};
use tokio::{sync::Notify, task::spawn_blocking};
use uuid::Uuid;

pub(crate) use self::inspect::{Inspection, Lying, drop_reports, inspect};
use self::{
    cursor::Cursor,
    files::{Files, is_lost},
    identity::Owner,
    queue::Queue,
};
use crate::deliver::{Base, Bodies, Parcel};

/// Bytes that may wait in memory for a disk that takes nothing.
const UNSAVED_AT_MOST: u64 = 64 << 20;

/// How much may wait, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes on disk.
    pub(crate) size: u64,
    pub(crate) age: Duration,
}

/// What waits for a target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backlog {
    /// Reports.
    pub(crate) reports: usize,
    /// Bytes of their manifests on disk. Bodies of scopes are shared by reports and targets, and not counted here.
    pub(crate) bytes: u64,
    /// When the oldest of them was made.
    pub(crate) oldest: Option<Timestamp>,
}

/// A report that waits.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) sequence: u64,
    pub(crate) report: Report,
    pub(crate) manifest: Vec<u8>,
}

/// Reports that a target will not get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dropped {
    pub(crate) target: String,
    pub(crate) reports: u64,
    /// A word: `size`, `age`, `disk` (which takes nothing), `damaged`, `unconfigured`, `superseded`, `copied`.
    pub(crate) reason: &'static str,
}

/// The spool. One thread at a time works on it, and each piece of work is short.
#[derive(Debug)]
pub(crate) struct Spool {
    state: Mutex<State>,
    /// Told when a body is lost that is still to be reported: it has to be seen again.
    pub(crate) lost: Notify,
}

#[derive(Debug)]
struct State {
    files: Files,
    queue: Queue,
    /// By target.
    cursors: BTreeMap<String, Cursor>,
    limits: Limits,
    /// Bodies that what is reported now names.
    current: BTreeSet<Digest>,
    /// What was dropped since somebody asked.
    dropped: Vec<Dropped>,
}

impl Spool {
    /// Opens a folder, which is made if it is not there, for these targets. What a target that is not named had acknowledged is
    /// forgotten. A target that is new gets what is made from now on.
    pub(crate) fn open(dir: &Path, limits: Limits, targets: &[String]) -> io::Result<Self> {
        let mut files = Files::open(dir)?;
        let (queue, damaged) = Queue::load(&mut files)?;
        let cursors = cursor::load(&mut files, targets, queue.last())?;
        let mut state = State { files, queue, cursors, limits, current: BTreeSet::new(), dropped: Vec::new() };
        for reason in &damaged {
            tracing::error!("a report in the spool is damaged and was put aside: {reason}");
            state.dropped.extend(state.cursors.keys().map(|target| Dropped {
                target: target.clone(),
                reports: 1,
                reason: "damaged",
            }));
        }
        state.remove_acknowledged();
        state.remove_unnamed();
        Ok(Self { state: Mutex::new(state), lost: Notify::new() })
    }

    /// Works on it where waiting for a disk keeps nobody from anything.
    pub(crate) async fn work<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let spool = Arc::clone(self);
        spawn_blocking(move || work(&spool)).await.map_err(io::Error::other)?
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each step leaves it in order, whatever the next one does.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who the agent is: read, or made on first use, or made anew on another machine (a copy of this one's disk).
    pub(crate) fn agent_id(&self, host: &Host) -> io::Result<Uuid> {
        let mut state = self.state();
        let owner = identity::owner(&mut state.files, host)?;
        if let Owner::Own(id) = owner {
            return Ok(id);
        }
        let id = Uuid::now_v7();
        // Before anything says that it is this one's: who is killed in between begins again.
        if matches!(owner, Owner::OtherMachine) {
            state.drop_all("copied", "what waits is reported by the machine whose spool this was, and not from here");
        } else {
            state.hand_over(id)?;
        }
        identity::own(&mut state.files, id, host)?;
        Ok(id)
    }

    /// Sets for whom reports are kept from now on.
    pub(crate) fn retarget(&self, limits: Limits, targets: &[String]) -> io::Result<()> {
        let mut state = self.state();
        let State { files, queue, cursors, dropped, .. } = &mut *state;
        let mut loaded = cursor::load(files, targets, queue.last())?;
        let mut unnamed = Vec::new();
        for (target, cursor) in std::mem::take(cursors) {
            if let Some(same) = loaded.get_mut(&target) {
                *same = cursor;
                continue;
            }
            unnamed.extend(queue.unname(cursor.named()));
            let reports = u64::try_from(queue.behind(cursor.acknowledged).reports).unwrap_or(u64::MAX);
            if reports > 0 {
                tracing::warn!(target, reports, "reports are not delivered: their target is not configured any more");
                dropped.push(Dropped { target, reports, reason: "unconfigured" });
            }
        }
        *cursors = loaded;
        state.limits = limits;
        state.remove_bodies(&unnamed);
        state.remove_acknowledged();
        Ok(())
    }

    /// Keeps the body of a scope. It stays while what is reported now, or a report that waits, names it.
    pub(crate) fn keep_body(&self, digest: &Digest, body: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.current.insert(digest.clone());
        state.files.write_body(digest, body)
    }

    /// Keeps a report, gives it its number, and lets go what there is no more room for.
    pub(crate) fn keep_report(&self, report: &mut Report) -> io::Result<u64> {
        let mut state = self.state();
        let sequence = state.next_sequence();
        report.sequence = Some(sequence);
        let before = std::mem::replace(&mut state.current, digests(report).cloned().collect());
        let manifest = serde_json::to_vec(report)?;
        let State { files, queue, .. } = &mut *state;
        queue.push(files, sequence, report, &manifest)?;
        let unnamed: Vec<Digest> = before.into_iter().filter(|digest| !queue.names(digest)).collect();
        state.remove_bodies(&unnamed);
        state.enforce_limits();
        Ok(sequence)
    }

    /// Lets go all that waits: another agent has reported what is newer.
    pub(crate) fn drop_superseded(&self) {
        self.state().drop_all("superseded", "reports that waited are not delivered: another agent has reported since");
    }

    /// Tries again to write what could not be written, and whether all of it is on disk now.
    pub(crate) fn settle(&self) -> Result<(), String> {
        self.state().files.settle()
    }

    /// The oldest report that a target has not acknowledged.
    pub(crate) fn next_for(&self, target: &str) -> io::Result<Option<Waiting>> {
        let mut state = self.state();
        loop {
            let Some(sequence) = state.next_sequence_for(target) else { return Ok(None) };
            match Queue::read(&state.files, sequence) {
                Ok(waiting) => return Ok(Some(waiting)),
                Err(error) if is_lost(&error) => state.give_up(sequence, &error.to_string()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The last report that a target acknowledged, if it is kept.
    pub(crate) fn base_for(&self, target: &str) -> Option<Base> {
        let state = self.state();
        state.cursors.get(target)?.base(&state.files)
    }

    /// A target has a report, and with it all before it. With `keeps_base`, the next report can be sent as what differs.
    pub(crate) fn acknowledge(&self, target: &str, sequence: u64, parcel: &Parcel, keeps_base: bool) -> io::Result<()> {
        let mut state = self.state();
        let State { files, cursors, queue, .. } = &mut *state;
        if let Some(cursor) = cursors.get_mut(target) {
            if keeps_base {
                // Before the one before it lets go: most bodies are in both.
                queue.name(digests(&parcel.report).cloned());
            }
            cursor.advance(files, target, sequence, keeps_base.then_some(&parcel.manifest))?;
            if keeps_base {
                let before = cursor.names(digests(&parcel.report).cloned().collect());
                let unnamed = queue.unname(before);
                state.remove_bodies(&unnamed);
            }
        }
        state.remove_acknowledged();
        Ok(())
    }

    /// A target will never take a report: it is put aside, and the next one is its turn.
    pub(crate) fn put_aside(&self, target: &str, sequence: u64, parcel: &Parcel, reason: &str) -> io::Result<()> {
        {
            let mut state = self.state();
            aside::put(&mut state.files, target, sequence, &parcel.report, reason)?;
        }
        self.acknowledge(target, sequence, parcel, false)
    }

    /// What waits for a target.
    pub(crate) fn backlog(&self, target: &str) -> Backlog {
        let state = self.state();
        state.cursors.get(target).map_or_else(Backlog::default, |cursor| state.queue.behind(cursor.acknowledged))
    }

    /// What was dropped since this was asked last.
    pub(crate) fn take_dropped(&self) -> Vec<Dropped> {
        std::mem::take(&mut self.state().dropped)
    }
}

impl Bodies for Spool {
    fn body(&self, digest: &Digest) -> io::Result<Option<Vec<u8>>> {
        let mut state = self.state();
        match state.files.read_body(digest) {
            Err(error) if is_lost(&error) => {
                tracing::error!("the body of a scope in the spool is damaged and was put aside: {error}");
                state.files.put_body_aside(digest);
            }
            Ok(None) if state.files.has_body(digest) => {
                tracing::error!("the body of a scope was removed from the spool: {digest}");
                state.files.remove_body(digest);
            }
            read => return read,
        }
        if state.current.contains(digest) {
            self.lost.notify_one();
        }
        Ok(None)
    }
}

impl State {
    fn next_sequence(&self) -> u64 {
        let acknowledged = self.cursors.values().map(|cursor| cursor.acknowledged).max();
        self.queue.last().max(acknowledged.unwrap_or_default()) + 1
    }

    fn next_sequence_for(&self, target: &str) -> Option<u64> {
        self.queue.first_behind(self.cursors.get(target)?.acknowledged)
    }

    fn drop_all(&mut self, reason: &'static str, message: &str) {
        let mut dropped = BTreeMap::new();
        while let Some(sequence) = self.queue.first() {
            self.count_dropped(sequence, reason, &mut dropped);
            self.remove(sequence);
        }
        for ((target, reason), reports) in dropped {
            tracing::info!(target, reports, "{message}");
            self.dropped.push(Dropped { target, reports, reason });
        }
    }

    /// Lets what waits be another identity's: a server would go on refusing it under the former one, and all that comes after it.
    fn hand_over(&mut self, id: Uuid) -> io::Result<()> {
        let mut next = self.queue.first();
        while let Some(sequence) = next {
            match Queue::read(&self.files, sequence) {
                Ok(mut waiting) => {
                    waiting.report.agent.id = Some(id);
                    self.queue.rewrite(&mut self.files, sequence, &serde_json::to_vec(&waiting.report)?)?;
                }
                Err(error) if is_lost(&error) => self.give_up(sequence, &error.to_string()),
                Err(error) => return Err(error),
            }
            next = self.queue.first_behind(sequence);
        }
        Ok(())
    }

    /// Reports that every target has are gone.
    fn remove_acknowledged(&mut self) {
        let Some(acknowledged) = self.cursors.values().map(|cursor| cursor.acknowledged).min() else { return };
        while let Some(first) = self.queue.first().filter(|first| *first <= acknowledged) {
            self.remove(first);
        }
    }

    /// Removes a report and the bodies that nothing else names.
    fn remove(&mut self, sequence: u64) {
        let unnamed = self.queue.remove(&mut self.files, sequence);
        self.remove_bodies(&unnamed);
    }

    /// Removes bodies that no manifest names, unless what is reported next does.
    fn remove_bodies(&mut self, unnamed: &[Digest]) {
        for digest in unnamed.iter().filter(|digest| !self.current.contains(*digest)) {
            self.files.remove_body(digest);
        }
    }

    /// Removes bodies that nothing names: of a report that was not finished when the agent was killed.
    fn remove_unnamed(&mut self) {
        for (name, cursor) in &mut self.cursors {
            if let Some(base) = cursor.base(&self.files) {
                self.queue.name(digests(&base.report).cloned());
                cursor.names(digests(&base.report).cloned().collect());
            } else {
                tracing::debug!(target = name, "no report is kept that it acknowledged");
            }
        }
        for digest in self.files.bodies() {
            if !self.queue.names(&digest) {
                self.files.remove_body(&digest);
            }
        }
    }

    /// Lets the oldest reports go until the rest may stay. The newest always may.
    fn enforce_limits(&mut self) {
        let now = Timestamp::now();
        let mut dropped = BTreeMap::new();
        loop {
            let reason = if self.files.size() > self.limits.size {
                "size"
            } else if self.files.unsaved_size() > UNSAVED_AT_MOST {
                "disk"
            } else if self.queue.oldest().is_some_and(|made| is_older(made, now, self.limits.age)) {
                "age"
            } else {
                break;
            };
            let Some(sequence) = self.queue.first().filter(|first| *first < self.queue.last()) else { break };
            self.count_dropped(sequence, reason, &mut dropped);
            self.remove(sequence);
        }
        for ((target, reason), reports) in dropped {
            tracing::warn!(
                target,
                reports,
                "the oldest reports were dropped undelivered: the spool is at its limit ({reason}); the target is not reached, \
                 or raise `spool_max_size` or `spool_max_age`"
            );
            self.dropped.push(Dropped { target, reports, reason });
        }
    }

    fn count_dropped(&self, sequence: u64, reason: &'static str, dropped: &mut BTreeMap<(String, &'static str), u64>) {
        for (target, cursor) in &self.cursors {
            if cursor.acknowledged < sequence {
                *dropped.entry((target.clone(), reason)).or_default() += 1;
            }
        }
    }

    /// A report that cannot be read is nobody's next.
    fn give_up(&mut self, sequence: u64, reason: &str) {
        tracing::error!(sequence, "a report in the spool is damaged and was put aside: {reason}");
        for (target, cursor) in &self.cursors {
            if cursor.acknowledged < sequence {
                self.dropped.push(Dropped { target: target.clone(), reports: 1, reason: "damaged" });
            }
        }
        self.queue.put_aside(&mut self.files, sequence);
    }
}

fn is_older(made: Timestamp, now: Timestamp, age: Duration) -> bool {
    // A clock that went back makes nothing old.
    Duration::try_from(now.duration_since(made)).is_ok_and(|waited| waited > age)
}

/// The bodies that a report names.
fn digests(report: &Report) -> impl Iterator<Item = &Digest> {
    report.sources.iter().flat_map(|source| &source.scopes).filter_map(|entry| entry.digest.as_ref())
}

/// What is left to say of a scope whose body is not there.
pub(crate) fn without_body(entry: &mut ScopeEntry) {
    let reason = "the agent does not have its content any more: it was damaged on disk, or a target refused the report";
    entry.coverage = Coverage::Failed { reason: reason.to_owned() };
    entry.digest = None;
}
