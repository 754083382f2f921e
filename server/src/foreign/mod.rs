//! What agents of Anchore send, and tools for it ask: their words on the outside, the one model within.

#![allow(clippy::format_push_string, reason = "statements are put together")]

mod answer;
mod clusters;
mod ecs;
mod integrations;
mod inventories;
mod kai;
mod kubernetes;
mod pieces;
mod reads;
mod report;
mod routes;
mod shapes;
mod subscriptions;

#[cfg(test)]
mod tests;

pub(crate) use routes::table;
