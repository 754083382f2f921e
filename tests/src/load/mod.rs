//! Load for a server: agents that speak the manifest protocol as the real one does, over worlds that change at random; and a
//! checker, which compares what the server has with what it was told.
//!
//! An agent keeps what it made until it is acknowledged, sends it in its order, and sends it again as it was where no answer
//! came. So of each agent at most one report is in doubt at any moment, and everything else is certain.

mod agent;
mod check;
mod client;
mod fleet;
mod world;

pub use self::{
    agent::{Agent, Tally},
    check::Found,
    client::{Answer, Client},
    fleet::Fleet,
    world::{Kind, Rows},
};
