//! What bounds the requests at an address all together.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::rate::Rate;
use crate::{config::Limits, memory::Memory};

/// What requests share. It outlives the router, so that reading the configuration again gives nobody more than it says.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) requests: Arc<Semaphore>,
    pub(super) rate: Arc<Option<Rate>>,
    pub(super) memory: Memory,
}

impl Bounds {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(limits.requests_at_once.max(1).into())),
            rate: Arc::new(Rate::new(limits.requests_per_second)),
            memory: Memory::new(limits.memory.as_u64()),
        }
    }

    /// Those of other limits. Of what is bounded as before, what is in use stays in use.
    pub(super) fn changed(&self, before: &Limits, limits: &Limits) -> Self {
        let (mut same, fresh) = (self.clone(), Self::new(limits));
        if before.requests_at_once != limits.requests_at_once {
            same.requests = fresh.requests;
        }
        if before.requests_per_second != limits.requests_per_second {
            same.rate = fresh.rate;
        }
        if before.memory != limits.memory {
            same.memory = fresh.memory;
        }
        same
    }
}
