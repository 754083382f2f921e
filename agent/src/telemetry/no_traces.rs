//! Traces in a program that was built without: its configuration cannot ask for them.

use std::time::Duration;

use crate::{
    deliver::{Failure, Sent},
    follow::Update,
};

#[derive(Debug, Default)]
pub(super) struct Traces {}

#[allow(clippy::unused_self, reason = "they stand for those that do something")]
impl Traces {
    pub(super) fn start(&self, _endpoint: &str) -> Result<(), String> {
        Err("this program was built without OTLP (its feature `otlp`)".to_owned())
    }

    pub(super) fn stop(&self) {}

    pub(super) fn looked(&self, _update: &Update) {}

    pub(super) fn delivered(&self, _target: &str, _sequence: u64, _took: Duration, _outcome: Result<&Sent, &Failure>) {}
}
