//! Reading, looking up and unifying reports that were spoiled.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stocktake_bad_input::{Choices, broken, report};

static RECORDED: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../tests/bad-input/testdata/inventory.json")).expect("it was recorded")
});

fuzz_target!(|choices: &[u8]| {
    match choices.split_first() {
        Some((&u8::MAX, text)) => report(text),
        Some((_, rest)) => report(&broken(&RECORDED, &mut Choices::new(rest))),
        None => {}
    }
});
