//! What the suite found.

use std::fmt;

use super::rule::{RULES, Rule};

/// What was found about one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The collector does what the rule says.
    Passed,
    /// It does not; the rule's sentence is what was expected.
    Failed {
        /// What was seen instead.
        seen: String,
    },
    /// The rule could not be tried.
    NotChecked {
        /// Why not.
        why: String,
    },
}

impl Verdict {
    /// The one word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed { .. } => "FAILED",
            Self::NotChecked { .. } => "not checked",
        }
    }
}

/// A verdict on each rule. Printed, it is a table with a line a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Outcome {
    verdicts: Vec<(Rule, Verdict)>,
}

impl Outcome {
    pub(super) fn new() -> Self {
        let untried = |rule: &Rule| (*rule, Verdict::NotChecked { why: "the suite did not get to it".to_owned() });
        Self { verdicts: RULES.iter().map(untried).collect() }
    }

    /// Each rule with its verdict, by number.
    pub fn verdicts(&self) -> impl Iterator<Item = (Rule, &Verdict)> {
        self.verdicts.iter().map(|(rule, verdict)| (*rule, verdict))
    }

    /// The verdict on the rule of a number such as `C-01`.
    #[must_use]
    pub fn verdict(&self, number: &str) -> Option<&Verdict> {
        self.verdicts().find(|(rule, _)| rule.number == number).map(|(_, verdict)| verdict)
    }

    /// Whether no rule is broken. See [`not_checked`](Self::not_checked) for what this says nothing of.
    #[must_use]
    pub fn conforms(&self) -> bool {
        self.failed().is_empty()
    }

    /// Numbers of the rules that are broken.
    #[must_use]
    pub fn failed(&self) -> Vec<&'static str> {
        self.numbers(|verdict| matches!(verdict, Verdict::Failed { .. }))
    }

    /// Numbers of the rules that could not be tried.
    #[must_use]
    pub fn not_checked(&self) -> Vec<&'static str> {
        self.numbers(|verdict| matches!(verdict, Verdict::NotChecked { .. }))
    }

    fn numbers(&self, which: impl Fn(&Verdict) -> bool) -> Vec<&'static str> {
        self.verdicts().filter(|(_, verdict)| which(verdict)).map(|(rule, _)| rule.number).collect()
    }

    /// A rule may be tried in several ways: one failure is enough to break it, one success to have tried it.
    pub(super) fn record(&mut self, rule: Rule, verdict: &Verdict) {
        for (_, known) in self.verdicts.iter_mut().filter(|(known, _)| *known == rule) {
            match (&*known, verdict) {
                (Verdict::Failed { .. }, _) | (Verdict::Passed, Verdict::NotChecked { .. }) => {}
                _ => *known = verdict.clone(),
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (rule, verdict) in self.verdicts() {
            writeln!(f, "{}  {:11}  {}", rule.number, verdict.word(), rule.sentence)?;
            match verdict {
                Verdict::Passed => {}
                Verdict::Failed { seen } => writeln!(f, "                   seen: {seen}")?,
                Verdict::NotChecked { why } => writeln!(f, "                   because {why}")?,
            }
        }
        Ok(())
    }
}
