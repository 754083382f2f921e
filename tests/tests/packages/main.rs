//! What people install: container images, Debian packages, units of systemd, and the composition for one host.
//!
//! They are made as they are shipped, but for the programs in them, which are those that `cargo build` has built: `make test`
//! has done so (`deploy/images/build --test`, `deploy/debian/build --test`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod compose;
mod debian;
mod dockerfile;
mod images;
mod layout;
mod shipped;
mod units;

use std::{env, path::PathBuf};

/// The folder that the variable names, which `script` makes.
fn made(variable: &str, script: &str) -> PathBuf {
    let folder = env::var_os(variable).map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| panic!("{variable} is not set: run `make test`, or `{script}` and set it"));
    assert!(folder.is_dir(), "there is no {}: run `make test`, or `{script}`", folder.display());
    folder
}

/// A plain Debian, which nobody writes to.
fn debian_root() -> PathBuf {
    made("STOCKTAKE_DEBIAN_ROOT", "tests/packages/root")
}
