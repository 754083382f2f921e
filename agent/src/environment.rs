//! What the agent finds out about its process and machine, once, before anything else runs.

use std::{env, fs, path::PathBuf};

use stocktake_core::{Context, Environment, model::Host};

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

/// The process's environment.
pub(crate) fn environment() -> Environment {
    let variables = env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(_, value)| !value.is_empty());
    Environment {
        variables: variables.collect(),
        home: env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
        is_root: rustix::process::geteuid().is_root(),
    }
}

/// The machine.
pub(crate) fn host() -> Host {
    let line =
        |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    Host {
        // machine-id(5); the second is where it was before systemd.
        machine_id: line("/etc/machine-id").or_else(|| line("/var/lib/dbus/machine-id")),
        hostname: line("/proc/sys/kernel/hostname").or_else(|| env::var("HOSTNAME").ok()),
    }
}
