//! What is asked of every collector (`docs/collector-spec.md`), on the containers of Stocktake's test bed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by them")]

use std::{
    env, fs,
    io::{self, Write as _},
};

use example_collector_lxc::LxcCollector;
use stocktake_core::conformance::{self, Subject};

const LXCPATH: &str = "/var/lib/stocktake-bed/lxc";

/// LXC has no daemon that could die or hang, and no namespaces.
const NOT_CHECKED: [&str; 9] = ["C-06", "C-21", "C-25", "C-26", "C-27", "C-28", "C-29", "C-30", "C-33"];

#[test]
fn conforms() {
    if env::var("STOCKTAKE_BED_SKIP").is_ok_and(|skipped| skipped.split_whitespace().any(|word| word == "lxc")) {
        return say("SKIPPED (STOCKTAKE_BED_SKIP): lxc");
    }
    let config = fs::read_to_string(format!("{LXCPATH}/bed-lxc-running/config"));
    let config = config.unwrap_or_else(|error| {
        panic!(
            "no containers in {LXCPATH} ({error}): run `sudo tests/bed/bed up lxc`; STOCKTAKE_BED_SKIP=lxc goes without"
        )
    });
    let command = config.lines().find_map(|line| line.strip_prefix("lxc.init.cmd = ")).unwrap();
    let settings = serde_json::json!({ "lxcpath": LXCPATH, "states": ["all"] });
    let subject = Subject { secret: Some(command.to_owned()), ..Subject::new::<LxcCollector>(settings) };
    let outcome = conformance::check(subject);
    say(&outcome.to_string());
    assert!(outcome.conforms(), "{outcome}");
    assert_eq!(outcome.not_checked(), NOT_CHECKED, "{outcome}");
}

/// Where a test that succeeds is heard too.
fn say(what: &str) {
    writeln!(io::stderr(), "{what}").expect("stderr");
}
