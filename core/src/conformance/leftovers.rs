//! What a collection leaves behind, above all one that is dropped before its end.

use std::{
    fs,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    look::{Fate, look},
    rule,
    suite::Suite,
    truth::Truth,
};
use crate::{RuntimeCollector, Selection};

/// Collections of each sort. What one leaves behind is there so often, which tells it from a pool that fills and from
/// what else the process does: half as much is allowed.
pub(super) const ROUNDS: usize = 24;
/// Slow runtimes and slow machines have as many rounds, and more time: with fewer ones less would be allowed, though the
/// process does as much besides.
const TOO_LONG: Duration = Duration::from_mins(5);

/// What is open is counted so often, with a pause in between, until it is called left behind. That is 5 s in which
/// connections may close, and 15 s for threads: tokio keeps one that has nothing to do any more for 10 s. It is not told
/// by the clock, because nothing closes while the machine stands still.
const COUNTS: usize = 50;
const COUNTS_OF_THREADS: usize = 150;
const PAUSE: Duration = Duration::from_millis(100);

const THREADS: &str = "threads";

/// `polls` is how often a whole collection is polled, from which the moments to drop one are chosen.
pub(super) async fn check(suite: &mut Suite, truth: &Truth, polls: usize) {
    let Ok(collector) = suite.build().await else { return };
    // The first one may open what is kept for the others.
    let _ = suite.look(&collector, Selection::All).await;
    if polls > 1 {
        let fate = |round: usize| Fate::Dropped { polls: 1 + (polls - 1) * (round % ROUNDS) / ROUNDS };
        rounds(suite, &collector, "dropped", fate).await;
        let after = suite.look(&collector, Selection::All).await;
        let seen = truth.difference(&after).map(|seen| format!("after some that were dropped: {seen}"));
        suite.judge(rule::CANCELLATION, seen);
    } else {
        suite.skip(rule::CANCELLATION, "a collection never waits, so that it cannot be dropped before its end");
    }
    if suite.has_failed(rule::LEFTOVERS) {
        // As many collections again, and the time they have to settle, would tell no more.
        return;
    }
    let Ok(collector) = suite.build().await else { return };
    let _ = suite.look(&collector, Selection::All).await;
    rounds(suite, &collector, "completed", |_| Fate::Undisturbed).await;
}

async fn rounds(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>, sort: &str, fate: impl Fn(usize) -> Fate) {
    let Some(before) = Residue::measure() else {
        return suite.skip(rule::LEFTOVERS, "this system has no /proc, which tells what a process has open");
    };
    let began = Instant::now();
    let mut rounds = 0;
    // In an order that has late moments among the first ones.
    while rounds < ROUNDS && began.elapsed() < TOO_LONG {
        look(collector, Selection::All, fate(rounds * 7), suite.subject.deadline).await;
        rounds += 1;
    }
    if rounds < ROUNDS {
        return suite.skip(rule::LEFTOVERS, format!("only {rounds} collections were {sort} within {TOO_LONG:?}"));
    }
    let seen = before.growth(ROUNDS / 2).await;
    suite.judge(rule::LEFTOVERS, seen.map(|growth| format!("{growth} after {ROUNDS} collections that were {sort}")));
}

/// What the process has open.
pub(super) struct Residue([(&'static str, usize); 4]);

impl Residue {
    pub(super) fn measure() -> Option<Self> {
        Some(Self([
            ("open files", fs::read_dir("/proc/self/fd").ok()?.count()),
            (THREADS, fs::read_dir("/proc/self/task").ok()?.count()),
            ("child processes", children()?),
            ("tasks", tokio::runtime::Handle::current().metrics().num_alive_tasks()),
        ]))
    }

    /// What there is more of than is allowed, for longer than settling takes.
    pub(super) async fn growth(&self, allowance: usize) -> Option<String> {
        let mut counts = 0;
        loop {
            let after = Self::measure()?;
            let mut pairs = after.0.iter().zip(&self.0);
            let ((what, now), (_, then)) = pairs.find(|((_, now), (_, then))| *now > then + allowance)?;
            counts += 1;
            if counts > if *what == THREADS { COUNTS_OF_THREADS } else { COUNTS } {
                return Some(format!("{now} {what} instead of {then}"));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Also those that have ended and that nobody has asked for their exit status.
fn children() -> Option<usize> {
    let own = std::process::id().to_string();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let stats = processes.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    // The second field, the command's name, may hold spaces and brackets; the parent is the second one behind it.
    Some(
        stats
            .filter(|stat| stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)) == Some(&own))
            .count(),
    )
}
