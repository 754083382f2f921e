//! What the agent tells its collectors about itself and its machine.

pub(crate) use stocktake_core::machine::{environment, host};
use stocktake_core::{
    Context, Environment,
    model::{Agent, Host},
};

/// How the agent introduces itself to servers.
pub(crate) const USER_AGENT: &str = concat!("stocktake-agent/", env!("CARGO_PKG_VERSION"));

/// The context of a collector of the given name.
pub(crate) fn context(name: &str, environment: &Environment, host: &Host) -> Context {
    Context {
        name: name.to_owned(),
        user_agent: USER_AGENT.to_owned(),
        host: host.clone(),
        environment: environment.clone(),
    }
}

/// The agent, as it says who it is where it keeps nothing between two runs.
pub(crate) fn agent() -> Agent {
    Agent { version: env!("CARGO_PKG_VERSION").to_owned(), hostname: host().hostname, ..Agent::default() }
}
