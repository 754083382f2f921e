//! What the docker collector makes of answers that were spoiled.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stocktake_bad_input::converter;
use stocktake_collector_docker::bad_input::{recorded, scope};

static RECORDED: LazyLock<Vec<Value>> = LazyLock::new(recorded);

fuzz_target!(|choices: &[u8]| converter(choices, &RECORDED, scope));
