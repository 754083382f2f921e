//! Looking again and again: at once where a runtime tells what changes, from time to time where it cannot.
//!
//! Each collector has a task of its own, which asks to be told what changes before it looks for the first time, so that
//! nothing falls between the two. Nothing here prints: what comes of a look is handed on as an [`Update`], and held no
//! longer.

mod follower;
mod held;
mod subscription;
#[cfg(test)]
mod tests;
mod watching;

use std::sync::Arc;

use stocktake_core::filter::Filters;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument as _;

use self::follower::Follower;
#[cfg(test)]
pub(crate) use self::held::Change;
pub(crate) use self::held::{Look, Update};
use crate::observe::Configured;

/// Updates that wait to be taken. A body waits with its update, so that there are as few as can be; a collector that has
/// another one waits, and looks at all that changed meanwhile in one look.
const WAITING: usize = 1;

/// The tasks that follow. They end when this is dropped.
pub(crate) struct Following(JoinSet<()>);

impl Following {
    /// Ends them. Returns when they have ended.
    pub(crate) async fn stop(mut self) {
        self.0.shutdown().await;
    }
}

/// Why collectors cannot be followed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NeedsAll;

impl std::fmt::Display for NeedsAll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "`filters.images` and `filters.containers` go by what all sources say of a container, and who follows changes \
             keeps none of it; choose one collector (--collector NAME), or leave these filters out",
        )
    }
}

/// Follows collectors, and hands on what comes of each look. The first update of each is of everything. The updates of one
/// collector are in their order.
///
/// Filters that select containers go by what is known of them from all that is seen. Of one source that is had by looking at
/// all of it whenever anything changes; of several, all of their bodies would have to be held, which is refused.
pub(crate) fn follow(
    collectors: Vec<Configured>,
    filters: &Arc<Filters>,
) -> Result<(Following, mpsc::Receiver<Update>), NeedsAll> {
    if filters.selects_containers() && collectors.len() > 1 {
        return Err(NeedsAll);
    }
    let (sender, receiver) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for configured in collectors {
        // Whatever is said of a source says of which.
        let of_collector = tracing::error_span!("follow", collector = configured.name);
        let _entered = of_collector.enter();
        let follower = Follower::new(configured, Arc::clone(filters), sender.clone());
        tasks.spawn(follower.run().in_current_span());
    }
    Ok((Following(tasks), receiver))
}
