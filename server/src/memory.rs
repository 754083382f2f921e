//! How much memory requests may take together for what they bring. A request says how many bytes it has in hand, and waits for
//! others where there is no room for it.

use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    sync::{Mutex, OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    task_local,
    time::timeout,
};

use crate::http::Problem;

/// How many bytes of memory a byte of a document comes to, with all that is made of it until it is in the database. Nine and a half were
/// measured for a first report, of which all becomes rows (`tests/tests/server_faults/large.rs`).
const WEIGHT: usize = 12;

/// What every request has for nothing: most are smaller, and wait for nobody.
const FREE: usize = 1 << 20;

/// How long a request waits for room.
const PATIENCE: Duration = Duration::from_secs(10);

/// What permits are for, in bytes.
const UNIT: usize = 1024;

/// What all requests share.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    room: Arc<Semaphore>,
    /// In units.
    total: u32,
}

/// What one request has of it.
#[derive(Debug)]
struct Portion {
    memory: Memory,
    state: Mutex<State>,
    was_refused: std::sync::Mutex<bool>,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes.
    needed: usize,
    held: Option<OwnedSemaphorePermit>,
}

task_local! {
    static PORTION: Arc<Portion>;
}

impl Memory {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = u32::try_from(bytes / UNIT as u64).unwrap_or(u32::MAX).max(1);
        Self { room: Arc::new(Semaphore::new(usize::try_from(total).unwrap_or(Semaphore::MAX_PERMITS))), total }
    }

    /// Runs what works on one request, and takes back what that held. The answer is another one if there was no room for it, whatever
    /// has become of that error on its way.
    pub(crate) async fn within<T>(&self, work: impl Future<Output = T>, instead: impl FnOnce(Problem, T) -> T) -> T {
        let (state, was_refused) = (Mutex::default(), std::sync::Mutex::default());
        let portion = Arc::new(Portion { memory: self.clone(), state, was_refused });
        let done = PORTION.scope(Arc::clone(&portion), work).await;
        let was_refused = *portion.was_refused.lock().unwrap_or_else(PoisonError::into_inner);
        if was_refused { instead(full(), done) } else { done }
    }
}

impl Portion {
    async fn grow(&self, bytes: usize) -> Result<(), Problem> {
        let mut state = self.state.lock().await;
        state.needed = state.needed.saturating_add(bytes.saturating_mul(WEIGHT));
        // What needs more than there is has all of it for itself: it would never be taken otherwise.
        let wanted = u32::try_from(state.needed.saturating_sub(FREE).div_ceil(UNIT)).unwrap_or(u32::MAX);
        let held = state.held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let lacking = wanted.min(self.memory.total).saturating_sub(u32::try_from(held).unwrap_or(u32::MAX));
        if lacking == 0 {
            return Ok(());
        }
        let room = Arc::clone(&self.memory.room);
        let Ok(Ok(more)) = timeout(PATIENCE, room.acquire_many_owned(lacking)).await else {
            *self.was_refused.lock().unwrap_or_else(PoisonError::into_inner) = true;
            return Err(full());
        };
        match &mut state.held {
            Some(held) => held.merge(more),
            None => state.held = Some(more),
        }
        Ok(())
    }
}

fn full() -> Problem {
    let title = "the server has no memory left for what comes at the same time; try again later";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, title).later(5)
}

/// So many bytes more of documents are to be in hand, until the request is answered. Waits for room; without any for long, it is told
/// to come later.
pub(crate) async fn hold(bytes: usize) -> Result<(), Problem> {
    match PORTION.try_with(Arc::clone) {
        Ok(portion) => portion.grow(bytes).await,
        // Not of a request.
        Err(_) => Ok(()),
    }
}

/// Works at what the request has in hand where nobody waits for it. Its room is not given back before that is done, even if the request
/// has an answer already, or nobody waits for one.
pub(crate) fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let portion = PORTION.try_with(Arc::clone).ok();
    tokio::task::spawn_blocking(move || {
        let done = work();
        drop(portion);
        done
    })
}

/// What the request needs by now, for [`back_to`].
pub(crate) async fn needed() -> usize {
    let Ok(portion) = PORTION.try_with(Arc::clone) else { return 0 };
    portion.state.lock().await.needed
}

/// What came after `needed` was asked for is no longer in hand. Its room is kept for what comes in its stead.
pub(crate) async fn back_to(needed: usize) {
    if let Ok(portion) = PORTION.try_with(Arc::clone) {
        portion.state.lock().await.needed = needed;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    use futures_util::future::join_all;

    use super::*;

    const MIB: usize = 1 << 20;

    #[tokio::test(start_paused = true)]
    async fn requests_wait_for_each_other_and_all_get_their_turn() {
        let memory = Memory::new((2 * WEIGHT * MIB) as u64);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let request = async || {
            hold(MIB).await?;
            most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, SeqCst);
            Ok::<_, Problem>(())
        };
        let requests = (0..8).map(|_| memory.within(request(), |_, done| done));
        assert!(join_all(requests).await.into_iter().all(|done| done.is_ok()));
        assert_eq!(most.into_inner(), 2, "what is for nothing is not enough for a third");
        assert_eq!(memory.room.available_permits(), 2 * WEIGHT * 1024, "all is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_small_waits_for_nobody_and_what_is_large_has_all_for_itself() {
        let memory = Memory::new(16 * MIB as u64);
        let large = memory.within(
            async {
                hold(100 * MIB).await?;
                tokio::time::sleep(Duration::from_mins(1)).await;
                hold(100 * MIB).await
            },
            |_, done| done,
        );
        let small = memory.within(
            async {
                let before = needed().await;
                // What is done again in place of what was done takes no more than that.
                for _ in 0..10 {
                    back_to(before).await;
                    hold(FREE / WEIGHT).await?;
                }
                Ok::<_, Problem>(())
            },
            |_, done| done,
        );
        let middling = memory.within(hold(MIB), |problem, _| Err(problem));
        let (large, small, middling) = tokio::join!(large, small, middling);
        assert!(large.is_ok() && small.is_ok());
        let refused = middling.unwrap_err();
        assert_eq!((refused.status, refused.retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(5)));
    }
}
