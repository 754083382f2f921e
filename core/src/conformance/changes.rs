//! The stream of changes: what it does before it is polled, when it stands, what it leaves behind, and how it ends.

use std::{future::poll_fn, sync::Arc, task::Poll, time::Duration};

use futures_core::stream::BoxStream;

use super::{
    Daemon,
    failure::act,
    leftovers::{ROUNDS, Residue},
    look::{End, bounded},
    rule,
    suite::Suite,
    truth::Truth,
};
use crate::{CollectError, RuntimeCollector, ScopeChange, Selection};

type Stream = BoxStream<'static, Result<ScopeChange, CollectError>>;

pub(super) async fn check(suite: &mut Suite, truth: &Truth) {
    let Ok(collector) = suite.build().await else { return };
    before_it_is_polled(suite, &collector).await;
    if let Err(why) = stands(suite, &collector).await {
        return suite.skip(rule::STREAM_ENDS, why);
    }
    dropped(suite, truth, &collector).await;
    let why = match suite.daemon() {
        None => "the test gave the suite no daemon that it may stop".to_owned(),
        Some(daemon) => match ends_and_stands_again(suite, &daemon).await {
            Ok(()) => return,
            Err(error) => error,
        },
    };
    suite.skip(rule::STREAM_ENDS, why);
}

/// As many streams as there are rounds, all there at once: what one of them does is there so often.
async fn before_it_is_polled(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>) {
    let Some(before) = Residue::measure() else {
        return suite.skip(rule::STREAM_DROPPED, "this system has no /proc, which tells what a process has open");
    };
    let collector = Arc::clone(collector);
    let streams = bounded(suite.subject.deadline, async move {
        Ok((0..ROUNDS).map(|_| collector.changes()).collect::<Vec<Stream>>())
    });
    let seen = match streams.await {
        End::Answered(streams) => {
            let growth = before.growth(ROUNDS / 2).await;
            drop(streams);
            growth.map(|growth| format!("{growth} while {ROUNDS} streams wait to be polled for the first time"))
        }
        end => Some(format!("making a stream: {end}")),
    };
    suite.judge(rule::STREAM_DROPPED, seen);
}

/// Fails with why there is no stream to try anything else on.
async fn stands(suite: &mut Suite, collector: &Arc<dyn RuntimeCollector>) -> Result<(), &'static str> {
    let (seen, why) = match first(collector, suite.subject.deadline).await {
        End::Answered(Some((_, ScopeChange::All))) => (None, Ok(())),
        End::Answered(Some((_, ScopeChange::Scopes(_)))) => {
            (Some("a new collector begins with some scopes".to_owned()), Err("no stream begins as it should"))
        }
        End::Answered(None) => (None, Err("the runtime cannot tell what changes")),
        end => (Some(end.to_string()), Err("no stream stands")),
    };
    suite.judge(rule::STREAM_STANDS, seen);
    why
}

/// Streams that are dropped when they were polled once, a few times, and when they stand.
async fn dropped(suite: &mut Suite, truth: &Truth, collector: &Arc<dyn RuntimeCollector>) {
    let Some(before) = Residue::measure() else { return };
    for round in 0..ROUNDS {
        let collector = Arc::clone(collector);
        bounded(suite.subject.deadline, async move {
            let mut stream = collector.changes();
            polled(&mut stream, 1 + round / 2).await;
            Ok(())
        })
        .await;
    }
    let growth = before.growth(ROUNDS / 2).await;
    let growth = growth.map(|growth| format!("{growth} after {ROUNDS} streams that were dropped"));
    let look = suite.look(collector, Selection::All).await;
    let difference = || truth.difference(&look).map(|seen| format!("a look after streams that were dropped: {seen}"));
    suite.judge(rule::STREAM_DROPPED, growth.or_else(difference));
}

/// Fails with what went wrong with the daemon.
async fn ends_and_stands_again(suite: &mut Suite, daemon: &Arc<dyn Daemon>) -> Result<(), String> {
    let (collector, deadline) = (suite.build().await?, suite.subject.deadline);
    let End::Answered(Some((stream, _))) = first(&collector, deadline).await else {
        return Err("the stream of another collector object does not stand".to_owned());
    };
    act(daemon, "killed", |daemon| daemon.kill()).await?;
    let seen = match bounded(deadline, last(stream)).await {
        End::Erred(_) => None,
        End::Answered(()) => Some("an end without an error".to_owned()),
        end => Some(end.to_string()),
    };
    suite.judge(rule::STREAM_ENDS, seen.map(|seen| format!("after the runtime was killed: {seen}")));
    act(daemon, "started again", |daemon| daemon.start()).await?;
    let seen = match first(&collector, deadline).await {
        End::Answered(Some(_)) => None,
        End::Answered(None) => Some("an end without an item".to_owned()),
        end => Some(end.to_string()),
    };
    suite.judge(rule::STREAM_ENDS, seen.map(|seen| format!("after the runtime was started again: {seen}")));
    Ok(())
}

/// A stream that stands, with its first item; none if it ends without one.
async fn first(collector: &Arc<dyn RuntimeCollector>, limit: Duration) -> End<Option<(Stream, ScopeChange)>> {
    let collector = Arc::clone(collector);
    bounded(limit, async move {
        let mut stream = collector.changes();
        let first = next(&mut stream).await.transpose()?;
        Ok(first.map(|change| (stream, change)))
    })
    .await
}

/// Everything that a stream still tells.
async fn last(mut stream: Stream) -> Result<(), CollectError> {
    while next(&mut stream).await.transpose()?.is_some() {}
    Ok(())
}

async fn next(stream: &mut Stream) -> Option<Result<ScopeChange, CollectError>> {
    poll_fn(|context| stream.as_mut().poll_next(context)).await
}

/// Polls a stream until it tells something, but at most so often.
async fn polled(stream: &mut Stream, limit: usize) {
    let mut left = limit;
    poll_fn(|context| {
        left -= 1;
        match stream.as_mut().poll_next(context) {
            Poll::Pending if left > 0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    })
    .await;
}
