use std::collections::BTreeMap;

use uuid::Uuid;

use super::{Turn, record::turn};

fn noted(pairs: &[(&str, String)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (format!("stocktake/{key}"), value.clone())).collect()
}

#[test]
fn the_first_is_the_agent_that_all_are_from_then_on() {
    let (own, other) = (Uuid::now_v7(), Uuid::now_v7());
    let first = turn(&BTreeMap::new(), "a", own);
    assert_eq!((first.id, first.is_own_next), (own, true));
    let written = noted(&[
        ("agent-id", first.id.to_string()),
        ("agent-run", first.run.to_string()),
        ("last-holder", "a".to_owned()),
    ]);
    let second = turn(&written, "b", other);
    assert_eq!((second.id, second.is_own_next), (own, false));
    assert!(second.run > first.run, "{second:?} is no later than {first:?}");
    assert!(turn(&written, "a", own).is_own_next);
}

#[test]
fn a_run_is_later_than_those_before_whatever_the_clock_says() {
    // In the year 2500.
    let ahead = Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 16_725_225_600, 0));
    let written = noted(&[("agent-run", ahead.to_string()), ("last-holder", "a".to_owned())]);
    let Turn { run, .. } = turn(&written, "b", Uuid::now_v7());
    assert!(run > ahead, "{run} is no later than {ahead}");
    assert!(turn(&noted(&[("agent-run", "nonsense".to_owned())]), "b", Uuid::now_v7()).run < ahead);
}
