//! The questions, asked of an inventory on each database that is at hand.

mod events;
mod paging;
mod time;
mod views;
mod world;
