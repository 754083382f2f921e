//! The containerd collector on real daemons: which namespaces it looks at, and how much it asks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test's helpers are tests")]

mod namespaces;
mod requests;

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// Who counts a daemon's requests wants to be alone with it.
static DAEMONS: RwLock<()> = RwLock::new(());

fn shared() -> RwLockReadGuard<'static, ()> {
    DAEMONS.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn alone() -> RwLockWriteGuard<'static, ()> {
    DAEMONS.write().unwrap_or_else(std::sync::PoisonError::into_inner)
}
