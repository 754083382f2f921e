//! What a process finds out about itself and its machine, once, before anything else runs: the agent's, and that of a
//! collector which is a program of its own.

use std::{env, fs, path::PathBuf};

use crate::{Environment, model::Host};

/// The process's environment.
#[must_use]
pub fn environment() -> Environment {
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
#[must_use]
pub fn host() -> Host {
    let line =
        |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
    // A container has a name of its own: whoever starts it says that of the machine.
    let named = env::var("STOCKTAKE_HOSTNAME").ok().filter(|name| !name.is_empty());
    Host {
        // machine-id(5); the second is where it was before systemd.
        machine_id: line("/etc/machine-id").or_else(|| line("/var/lib/dbus/machine-id")),
        hostname: named.or_else(|| line("/proc/sys/kernel/hostname")).or_else(|| env::var("HOSTNAME").ok()),
    }
}
