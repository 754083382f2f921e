//! The made-up runtime tells what changes, with the faults that a stream can have.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use stocktake_core::{CollectError, ScopeChange, model::ScopeId};

use crate::model::{Fault, Runtime};

/// A stream that stands until the runtime dies. `was_lost` outlives it.
pub(crate) fn changes(
    runtime: &Arc<Runtime>,
    fault: Option<Fault>,
    was_lost: &Arc<AtomicBool>,
) -> BoxStream<'static, Result<ScopeChange, CollectError>> {
    let (runtime, was_lost) = (Arc::clone(runtime), Arc::clone(was_lost));
    if fault == Some(Fault::SubscribesUnasked) {
        tokio::spawn(std::future::pending::<()>());
    }
    let first = {
        let runtime = Arc::clone(&runtime);
        let was_lost = was_lost.load(Ordering::SeqCst);
        async move {
            match fault {
                Some(Fault::StaysSubscribed) => drop(tokio::spawn(std::future::pending::<()>())),
                Some(Fault::NeverStands) => std::future::pending().await,
                Some(Fault::RefusesToTell) => return Err(CollectError::protocol("nonsense", "as an event")),
                Some(Fault::NeverSubscribesAgain) if was_lost => return Err(lost()),
                _ => {}
            }
            runtime.ask().await?;
            Ok(match fault {
                Some(Fault::BeginsWithScopes) => ScopeChange::Scopes([ScopeId::namespace("a")].into()),
                _ => ScopeChange::All,
            })
        }
    };
    let end = async move {
        // Not by asking: a runtime that hangs has not died.
        while !runtime.is_down() || fault == Some(Fault::HearsNoEnd) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        was_lost.store(true, Ordering::SeqCst);
        assert!(fault != Some(Fault::PanicsAtTheEnd), "end of file");
        Err(lost())
    };
    let items = stream::once(first).chain(stream::once(end));
    match fault {
        Some(Fault::EndsWithoutError) => items.take_while(|item| std::future::ready(item.is_ok())).boxed(),
        _ => items.boxed(),
    }
}

fn lost() -> CollectError {
    CollectError::unavailable("the model does not answer", "down")
}
