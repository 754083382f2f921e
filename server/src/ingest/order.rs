//! Which reports of an agent are here, and what another one is to them (docs/protocol.md, "Delivered once in effect").

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// How many runs are remembered. A report of an earlier one is of an agent whose identity another has.
const RUNS: usize = 8;

/// How many gaps of a run are remembered.
const GAPS: usize = 64;

/// The numbers of the reports that are here, by run, the latest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Runs(Vec<Run>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    id: Uuid,
    /// The first that came.
    first: u64,
    last: u64,
    /// First and last of numbers that are not here.
    missing: Vec<(u64, u64)>,
    /// What its reports came with.
    by: i64,
    /// Whether that is another credential than the one whose the identity is.
    #[serde(default, skip_serializing_if = "is_not")]
    is_claim: bool,
    /// Whether somebody else has reported under the identity and this one came after all.
    #[serde(default, skip_serializing_if = "is_not")]
    is_contested: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_not(what: &bool) -> bool {
    !what
}

/// What a report is to those that are here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Newer than all.
    New,
    /// Not here, and older than another one that is.
    Late,
    /// Here already.
    Known,
    /// Of a run that a later one has followed.
    Claimed,
}

impl Runs {
    /// What the report with this number of this run is.
    pub(crate) fn standing(&self, run: Uuid, sequence: u64) -> Standing {
        let is_latest = self.0.last().is_none_or(|latest| run >= latest.id);
        let Some(known) = self.0.iter().find(|known| known.id == run) else {
            return if is_latest { Standing::New } else { Standing::Claimed };
        };
        let is_missing = known.missing.iter().any(|(first, last)| (*first..=*last).contains(&sequence));
        match (sequence > known.last, is_missing) {
            (true, _) if is_latest => Standing::New,
            (false, false) => Standing::Known,
            (false, true) if is_latest => Standing::Late,
            _ => Standing::Claimed,
        }
    }

    /// Whose the identity is, if that is another credential than this, with which none of the runs were that `run` would go on.
    pub(crate) fn another(&self, run: Uuid, credential: i64) -> Option<i64> {
        let owner = self.owner().filter(|owner| *owner != credential)?;
        // Whoever knows the number of a run is the agent, with another token: nobody else was ever told of it.
        self.0.iter().all(|known| known.is_claim || known.id != run).then_some(owner)
    }

    fn owner(&self) -> Option<i64> {
        self.0.iter().rfind(|run| !run.is_claim).map(|run| run.by)
    }

    /// How things are to a credential that reports in a run, and whether it may (docs/protocol.md, "Which agent"). `may_owner_report`:
    /// whether the credential that [`Self::another`] names is of use.
    pub(crate) fn see_by(&mut self, run: Uuid, credential: i64, may_owner_report: bool) -> bool {
        if self.another(run, credential).is_some() && may_owner_report {
            return !self.0.iter().any(|run| run.is_contested);
        }
        let is_own = self.owner() == Some(credential);
        // Whoever goes on with the run of a claim has made that, and is the agent for all that.
        let same = self.0.iter().find(|known| known.is_claim && known.id == run).map(|known| known.by);
        let stays = if is_own { same } else { Some(credential) };
        let before = self.0.len();
        self.0.retain(|known| !known.is_claim || Some(known.by) == stays);
        let is_contested = is_own && (self.0.len() < before || self.0.iter().any(|run| run.is_contested));
        for run in &mut self.0 {
            (run.by, run.is_claim, run.is_contested) = (credential, false, is_contested);
        }
        true
    }

    /// Notes that it is here, and what it came with.
    pub(crate) fn take(&mut self, run: Uuid, sequence: u64, credential: i64) {
        let is_claim = self.owner().is_some_and(|owner| owner != credential);
        // In all runs, however many are forgotten.
        let is_contested = !is_claim && self.0.iter().any(|run| run.is_contested);
        // Numbers go on through all runs. Where nothing is known of what was before, nothing is missing.
        let before = self.0.last().map_or(sequence.saturating_sub(1), |latest| latest.last);
        let known = if let Some(position) = self.0.iter().position(|known| known.id == run) {
            &mut self.0[position]
        } else {
            // A disk that was copied, or set back, goes on from an earlier number.
            let last = before.min(sequence.saturating_sub(1));
            self.0.push_mut(Run {
                id: run,
                first: sequence,
                last,
                missing: Vec::new(),
                by: credential,
                is_claim,
                is_contested,
            })
        };
        if sequence > known.last {
            if sequence > known.last + 1 {
                known.missing.push((known.last + 1, sequence - 1));
            }
            known.last = sequence;
        } else {
            known.missing = known.missing.iter().flat_map(|range| without(*range, sequence)).collect();
        }
        let excess = known.missing.len().saturating_sub(GAPS);
        known.missing.drain(..excess);
        while self.0.len() > RUNS {
            // However many runs others make: what is left of the owner's stays.
            let owned = self.0.iter().filter(|run| !run.is_claim).count();
            self.0.remove(self.0.iter().position(|run| run.is_claim || owned > 1).unwrap_or_default());
        }
    }

    /// As the database keeps it.
    pub(crate) fn to_json(&self) -> String {
        // It cannot fail: there is no map in it.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// How many reports have not come, as far as is remembered, though a later one of the same run has. What is missing between two
    /// runs says nothing: agents that take turns under one identity have each numbers of their own.
    pub(crate) fn missing(&self) -> u64 {
        let missing = self.0.iter().flat_map(|run| run.missing.iter().filter(|(first, _)| *first > run.first));
        missing.fold(0, |all, (first, last)| all.saturating_add(last - first).saturating_add(1))
    }
}

fn without((first, last): (u64, u64), number: u64) -> Vec<(u64, u64)> {
    if !(first..=last).contains(&number) {
        return vec![(first, last)];
    }
    let below = (number > first).then(|| (first, number - 1));
    let above = (number < last).then(|| (number + 1, last));
    below.into_iter().chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Credentials.
    const ONE: i64 = 1;
    const TWO: i64 = 2;
    const THREE: i64 = 3;

    fn run(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn what_is_newer_is_new_and_what_came_before_is_known() {
        let mut runs = Runs::default();
        assert_eq!(runs.standing(run(1), 7), Standing::New);
        runs.take(run(1), 7, ONE);
        assert_eq!(runs.missing(), 0, "nothing is known of what was before");
        assert_eq!(runs.standing(run(1), 7), Standing::Known);
        assert_eq!(runs.standing(run(1), 8), Standing::New);
    }

    #[test]
    fn what_was_left_out_is_late_and_fills_its_gap() {
        let mut runs = Runs::default();
        runs.take(run(1), 1, ONE);
        runs.take(run(1), 5, ONE);
        assert_eq!(runs.missing(), 3);
        assert_eq!(runs.standing(run(1), 3), Standing::Late);
        runs.take(run(1), 3, ONE);
        assert_eq!((runs.missing(), runs.standing(run(1), 3)), (2, Standing::Known));
        assert_eq!((runs.standing(run(1), 2), runs.standing(run(1), 4)), (Standing::Late, Standing::Late));
    }

    #[test]
    fn a_later_run_goes_on_and_an_earlier_one_only_repeats() {
        let mut runs = Runs::default();
        runs.take(run(1), 4, ONE);
        runs.take(run(2), 5, ONE);
        assert_eq!(runs.missing(), 0);
        let mut turns = runs.clone();
        turns.take(run(3), 900, ONE);
        assert_eq!(turns.missing(), 0, "another agent's turn, with numbers of its own");
        assert_eq!(turns.standing(run(3), 899), Standing::Late, "and yet it is not taken for one that is here");
        turns.take(run(3), 902, ONE);
        assert_eq!(turns.missing(), 1);
        assert_eq!(runs.standing(run(1), 4), Standing::Known);
        assert_eq!(runs.standing(run(1), 5), Standing::Claimed, "two agents have one identity");
        assert_eq!(runs.standing(run(0), 1), Standing::Claimed);
        // The later run of a copied disk begins with a number that the earlier one has used, too.
        assert_eq!(runs.standing(run(3), 5), Standing::New);
        runs.take(run(3), 3, ONE);
        assert_eq!((runs.standing(run(3), 3), runs.standing(run(3), 4)), (Standing::Known, Standing::New));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut runs = Runs::default();
        for number in 0..100 {
            runs.take(run(number), 1, ONE);
            for sequence in 0..200 {
                runs.take(run(number), 2 * sequence, ONE);
            }
        }
        assert_eq!(runs.0.len(), RUNS);
        assert!(runs.0.iter().all(|run| run.missing.len() <= GAPS));
    }

    /// Whether a report is taken, while all credentials are of use.
    fn report(runs: &mut Runs, number: u128, sequence: u64, credential: i64) -> bool {
        let mut seen = runs.clone();
        if !seen.see_by(run(number), credential, true) {
            return false;
        }
        let is_taken = matches!(seen.standing(run(number), sequence), Standing::New | Standing::Late);
        if is_taken {
            seen.take(run(number), sequence, credential);
            *runs = seen;
        }
        is_taken
    }

    #[test]
    fn an_agent_goes_on_with_another_token_at_once() {
        let mut runs = Runs::default();
        assert!(report(&mut runs, 1, 1, ONE));
        // In the same run, of which nobody else knows: from now on it is the other one's.
        assert!(report(&mut runs, 1, 2, TWO));
        assert_eq!((runs.another(run(9), TWO), runs.another(run(9), ONE)), (None, Some(TWO)));
        // And after a start.
        assert!(report(&mut runs, 2, 3, THREE) && report(&mut runs, 2, 4, THREE));
        assert_eq!(runs.another(run(2), THREE), Some(TWO), "as long as that is of use");
        assert!(runs.see_by(run(2), THREE, false));
        assert_eq!((runs.owner(), runs.standing(run(2), 5)), (Some(THREE), Standing::New));
        assert!(!runs.0.iter().any(|run| run.is_claim || run.is_contested));
    }

    #[test]
    fn another_token_under_an_agents_identity_does_not_keep_it_from_reporting() {
        let mut runs = Runs::default();
        assert!(report(&mut runs, 1, 1, ONE) && report(&mut runs, 5, 1, TWO));
        assert!(report(&mut runs, 1, 2, ONE), "the elder one goes on");
        assert!(!report(&mut runs, 5, 2, TWO) && !report(&mut runs, 9, 9, TWO) && !report(&mut runs, 9, 9, THREE));
        // Also after a start, in a run that is later than all of theirs.
        assert!(report(&mut runs, 7, 3, ONE) && !report(&mut runs, 9, 9, TWO));
        // However many of them there are.
        for number in 10..30 {
            assert!(report(&mut runs, number, 4, ONE) && !report(&mut runs, 90, 9, TWO));
        }
        assert!(runs.see_by(run(90), TWO, false), "until its token is of no use any more");
        assert_eq!(runs.owner(), Some(TWO));
    }

    #[test]
    fn however_many_runs_another_makes_the_first_is_not_forgotten() {
        let mut runs = Runs::default();
        assert!(report(&mut runs, 1, 1, ONE));
        for number in 2..40 {
            assert!(report(&mut runs, number, 1, TWO));
        }
        assert_eq!(runs.0.len(), RUNS);
        assert!(report(&mut runs, 1, 2, ONE) && !report(&mut runs, 50, 1, TWO));
    }

    #[test]
    fn a_disk_that_was_copied_with_its_token_is_told_of_as_before() {
        let mut runs = Runs::default();
        assert!(report(&mut runs, 1, 1, ONE) && report(&mut runs, 2, 2, ONE));
        assert!(runs.see_by(run(1), ONE, true));
        assert_eq!(runs.standing(run(1), 2), Standing::Claimed);
    }
}
