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

    /// Notes that it is here.
    pub(crate) fn take(&mut self, run: Uuid, sequence: u64) {
        // Numbers go on through all runs. Where nothing is known of what was before, nothing is missing.
        let before = self.0.last().map_or(sequence.saturating_sub(1), |latest| latest.last);
        let known = if let Some(position) = self.0.iter().position(|known| known.id == run) {
            &mut self.0[position]
        } else {
            // A disk that was copied, or set back, goes on from an earlier number.
            let last = before.min(sequence.saturating_sub(1));
            self.0.push_mut(Run { id: run, first: sequence, last, missing: Vec::new() })
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
        let excess = self.0.len().saturating_sub(RUNS);
        self.0.drain(..excess);
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
        missing.map(|(first, last)| last - first + 1).sum()
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

    fn run(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    #[test]
    fn what_is_newer_is_new_and_what_came_before_is_known() {
        let mut runs = Runs::default();
        assert_eq!(runs.standing(run(1), 7), Standing::New);
        runs.take(run(1), 7);
        assert_eq!(runs.missing(), 0, "nothing is known of what was before");
        assert_eq!(runs.standing(run(1), 7), Standing::Known);
        assert_eq!(runs.standing(run(1), 8), Standing::New);
    }

    #[test]
    fn what_was_left_out_is_late_and_fills_its_gap() {
        let mut runs = Runs::default();
        runs.take(run(1), 1);
        runs.take(run(1), 5);
        assert_eq!(runs.missing(), 3);
        assert_eq!(runs.standing(run(1), 3), Standing::Late);
        runs.take(run(1), 3);
        assert_eq!((runs.missing(), runs.standing(run(1), 3)), (2, Standing::Known));
        assert_eq!((runs.standing(run(1), 2), runs.standing(run(1), 4)), (Standing::Late, Standing::Late));
    }

    #[test]
    fn a_later_run_goes_on_and_an_earlier_one_only_repeats() {
        let mut runs = Runs::default();
        runs.take(run(1), 4);
        runs.take(run(2), 5);
        assert_eq!(runs.missing(), 0);
        let mut turns = runs.clone();
        turns.take(run(3), 900);
        assert_eq!(turns.missing(), 0, "another agent's turn, with numbers of its own");
        assert_eq!(turns.standing(run(3), 899), Standing::Late, "and yet it is not taken for one that is here");
        turns.take(run(3), 902);
        assert_eq!(turns.missing(), 1);
        assert_eq!(runs.standing(run(1), 4), Standing::Known);
        assert_eq!(runs.standing(run(1), 5), Standing::Claimed, "two agents have one identity");
        assert_eq!(runs.standing(run(0), 1), Standing::Claimed);
        // The later run of a copied disk begins with a number that the earlier one has used, too.
        assert_eq!(runs.standing(run(3), 5), Standing::New);
        runs.take(run(3), 3);
        assert_eq!((runs.standing(run(3), 3), runs.standing(run(3), 4)), (Standing::Known, Standing::New));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut runs = Runs::default();
        for number in 0..100 {
            runs.take(run(number), 1);
            for sequence in 0..200 {
                runs.take(run(number), 2 * sequence);
            }
        }
        assert_eq!(runs.0.len(), RUNS);
        assert!(runs.0.iter().all(|run| run.missing.len() <= GAPS));
    }
}
