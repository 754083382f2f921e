//! Looking again and again: at once where a runtime tells what changes, from time to time where it cannot.
//!
//! Each collector has a task of its own, which asks to be told what changes before it looks for the first time, so that
//! nothing falls between the two. Nothing here prints: what comes of a look is handed on as an [`Update`], and held no
//! longer.

mod follower;
mod held;
mod patience;
mod standing;
mod subscription;
#[cfg(test)]
mod tests;
mod together;
mod watching;

use std::sync::Arc;

use stocktake_core::filter::Filters;
use tokio::{sync::mpsc, task::JoinSet};
use tracing::Instrument as _;

#[cfg(test)]
pub(crate) use self::held::{Change, Look};
use self::standing::Presence;
use self::{follower::Follower, together::Together};
pub(crate) use self::{held::Update, patience::wait, standing::Standing};
use crate::observe::Configured;

/// Updates that wait to be taken. A body waits with its update, so that there are as few as can be; a collector that has
/// another one waits, and looks at all that changed meanwhile in one look.
const WAITING: usize = 1;

/// The tasks that follow. They end when this is dropped.
pub(crate) struct Following {
    tasks: JoinSet<()>,
    standing: Standing,
}

impl Following {
    /// Which collectors tell what changes.
    pub(crate) fn standing(&self) -> Standing {
        self.standing.clone()
    }

    /// Ends them. Returns when they have ended.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

/// Follows collectors, and hands on what comes of each look. The first update of each is of everything. The updates of one
/// collector are in their order.
///
/// Filters that select containers go by what is known of them from all that is seen. Then all collectors are looked at
/// whenever anything changes in one.
pub(crate) fn follow(collectors: Vec<Configured>, filters: &Arc<Filters>) -> (Following, mpsc::Receiver<Update>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (mut tasks, standing) = (JoinSet::new(), Standing::default());
    if filters.selects_containers() && collectors.len() > 1 {
        let presence = Presence(standing.clone());
        let together = Together::new(collectors, Arc::clone(filters), standing.clone(), sender);
        tasks.spawn(async move {
            let _presence = presence;
            together.run().await;
        });
        return (Following { tasks, standing }, receiver);
    }
    for configured in collectors {
        // Whatever is said of a source says of which.
        let of_collector = tracing::error_span!("follow", collector = configured.name);
        let _entered = of_collector.enter();
        let follower = Follower::new(configured, Arc::clone(filters), standing.clone(), sender.clone());
        let presence = Presence(standing.clone());
        let following = async move {
            let _presence = presence;
            follower.run().await;
        };
        tasks.spawn(following.in_current_span());
    }
    (Following { tasks, standing }, receiver)
}
