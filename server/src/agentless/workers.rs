//! Threads for looking: whatever a cluster answers, those that serve requests and take reports have theirs.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Runtime};
use tokio_util::task::AbortOnDropHandle;

/// How many.
const THREADS: usize = 2;

/// They are started when there is something to look at.
#[derive(Debug, Default)]
pub(crate) struct Workers(OnceLock<Option<Runtime>>);

impl Workers {
    /// Runs it there. It ends when the handle is dropped.
    pub(super) fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> AbortOnDropHandle<T> {
        let runtime = self.0.get_or_init(|| {
            let built =
                Builder::new_multi_thread().worker_threads(THREADS).thread_name("agentless").enable_all().build();
            built.inspect_err(|error| tracing::warn!("looks share the threads of requests: {error}")).ok()
        });
        AbortOnDropHandle::new(match runtime {
            Some(runtime) => runtime.spawn(work),
            None => tokio::spawn(work),
        })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // A runtime that is merely dropped waits for its threads, which nothing asynchronous may.
        if let Some(runtime) = self.0.take().flatten() {
            runtime.shutdown_background();
        }
    }
}
