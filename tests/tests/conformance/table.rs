//! The outcomes of all collectors in one table: a line a rule, a column a collector.

use std::fmt::Write as _;

use stocktake_core::conformance::{Outcome, RULES, Verdict};

pub(crate) fn render(outcomes: &[(&str, &Outcome)]) -> String {
    let mut table = String::from("rule");
    for (name, _) in outcomes {
        write!(table, "  {name:16}").unwrap();
    }
    table.push('\n');
    let mut remarks = String::new();
    for rule in RULES {
        table.push_str(rule.number);
        for (name, outcome) in outcomes {
            let verdict = outcome.verdict(rule.number).expect("a verdict on every rule");
            write!(table, "  {:16}", verdict.word()).unwrap();
            match verdict {
                Verdict::Passed => {}
                Verdict::Failed { seen } => writeln!(remarks, "{} {name}: {seen}", rule.number).unwrap(),
                Verdict::NotChecked { why } => writeln!(remarks, "{} {name}: {why}", rule.number).unwrap(),
            }
        }
        writeln!(table, "  {}", rule.sentence).unwrap();
    }
    table + &remarks
}
