//! When a runtime tells what changes, when it does not any more, and when it cannot.

use std::{sync::Arc, time::Duration};

use stocktake_core::ScopeChange;
use tokio::time::Instant;

use super::scripted::{Asked, COLLECT_ALL, Followed, INTERVAL, LIMIT, Stream, collect, live, lost, only};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn it_is_subscribed_before_it_is_looked_at() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    assert!(followed.is_quiet(LIMIT / 2).await, "the subscription does not stand yet");
    assert_eq!(followed.collector.asked(), [Asked::Changes]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    let began = Instant::now();
    let update = followed.update().await;
    assert!(update.is_first && update.source.is_complete());
    assert_eq!(began.elapsed(), Duration::ZERO, "at once");
    assert_eq!(followed.collector.asked(), [Asked::Who, COLLECT_ALL]);
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_one_look() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    followed.collector.asked();
    let sending = tokio::spawn(async move {
        for name in ["a", "b", "a", "b"] {
            changes.send(Ok(only(&[name]))).unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        changes
    });
    let began = Instant::now();
    followed.update().await;
    assert_eq!(followed.collector.asked(), [collect(&["a", "b"])], "and nobody is asked again who it is");
    // The last one after 600 ms, and then a quiet time.
    assert_eq!(began.elapsed(), Duration::from_millis(850));
    let _changes = sending.await.unwrap();
    assert!(followed.is_quiet(INTERVAL).await);
}

#[tokio::test(start_paused = true)]
async fn a_burst_without_end_is_looked_at_all_the_same() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    followed.collector.asked();
    tokio::spawn(async move {
        while changes.send(Ok(only(&["a"]))).is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let began = Instant::now();
    followed.update().await;
    assert!(began.elapsed() <= SECOND + Duration::from_millis(1), "{:?}", began.elapsed());
    assert_eq!(followed.collector.asked(), [collect(&["a"])]);
}

/// On the machine's own time: such a stream leaves none to wait in.
#[test]
fn a_stream_that_floods_starves_nobody_and_can_be_ended() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let has_ended = runtime.block_on(async {
        let mut followed = Followed::new([Stream::Floods]);
        for _ in 0..2 {
            let update = tokio::time::timeout(LIMIT, followed.update()).await.unwrap();
            assert_eq!(update.source.scopes.len(), 3);
        }
        let collector = Arc::clone(&followed.collector);
        drop(followed);
        // Whoever polls the stream holds the collector.
        let ended = async {
            while Arc::strong_count(&collector) > 1 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(LIMIT, ended).await.is_ok()
    });
    // Not waiting for one that does not end.
    runtime.shutdown_background();
    assert!(has_ended);
}

#[tokio::test(start_paused = true)]
async fn what_changes_while_it_is_looked_at_is_looked_at_again() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    followed.collector.world().takes = 5 * SECOND;
    changes.send(Ok(ScopeChange::All)).unwrap();
    tokio::time::sleep(SECOND).await;
    for name in ["b", "c"] {
        changes.send(Ok(only(&[name]))).unwrap();
        tokio::time::sleep(SECOND).await;
    }
    followed.update().await;
    followed.update().await;
    assert_eq!(followed.collector.asked()[2..], [COLLECT_ALL, collect(&["b", "c"])]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_subscription_is_asked_for_again_and_again_with_growing_patience() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    // It stood long enough for the loss to be the first.
    tokio::time::sleep(INTERVAL).await;
    changes.send(Err(lost())).unwrap();
    drop(changes);
    let began = Instant::now();
    while began.elapsed() < 10 * INTERVAL {
        let update = followed.update().await;
        assert!(update.gone.is_empty() && update.changed.is_empty(), "{update:?}");
        assert!(update.source.is_complete(), "it answers, and only does not tell what changes");
    }
    let attempts = followed.collector.times(|asked| *asked == Asked::Changes);
    let waits: Vec<Duration> = attempts[1..].windows(2).map(|pair| pair[1] - pair[0]).collect();
    let first = attempts[1] - began;
    assert!((SECOND..=2 * SECOND).contains(&first), "{first:?}");
    for (wait, at_least) in waits.iter().zip([2, 4, 8, 16, 30, 30, 30, 30]) {
        let at_least = Duration::from_secs(at_least);
        assert!((at_least..=2 * at_least).contains(wait), "{waits:?}");
    }
    assert!(waits.len() >= 10, "{waits:?}");
    let looks = followed.collector.times(|asked| *asked == COLLECT_ALL);
    let mut waits = looks[1..].windows(2).map(|pair| pair[1] - pair[0]);
    assert!(waits.all(|wait| (INTERVAL..=INTERVAL.mul_f64(1.1)).contains(&wait)), "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_told_before_the_loss_counts_and_all_is_looked_at_when_it_stands_again() {
    let (changes, first) = live();
    let (again, second) = live();
    let mut followed = Followed::new([first, Stream::Refused, Stream::Panics, second]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    followed.collector.asked();
    changes.send(Ok(only(&["b"]))).unwrap();
    changes.send(Err(lost())).unwrap();
    followed.update().await;
    assert_eq!(followed.collector.asked(), [collect(&["b"])]);
    again.send(Ok(ScopeChange::All)).unwrap();
    followed.collector.world().scopes.insert("d", Ok("app:1"));
    let update = followed.update().await;
    assert_eq!(update.changed.len(), 1);
    let subscribing = [Asked::Changes, Asked::Changes, Asked::Changes];
    assert_eq!(followed.collector.asked(), [&subscribing[..], &[Asked::Who, COLLECT_ALL]].concat());
    again.send(Ok(only(&["d"]))).unwrap();
    followed.update().await;
    assert_eq!(followed.collector.asked(), [collect(&["d"])], "it is heard again");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_goes_on_where_it_ended_costs_no_look() {
    let (changes, first) = live();
    let (again, second) = live();
    let mut followed = Followed::new([first, second]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    changes.send(Err(lost())).unwrap();
    again.send(Ok(only(&[]))).unwrap();
    assert!(followed.is_quiet(5 * INTERVAL).await);
    again.send(Ok(only(&["c"]))).unwrap();
    followed.update().await;
    assert_eq!(followed.collector.asked().last(), Some(&collect(&["c"])));
}

#[tokio::test(start_paused = true)]
async fn the_first_look_is_at_everything_whatever_is_told() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(only(&["a"]))).unwrap();
    assert_eq!(followed.update().await.source.scopes.len(), 3);
}

/// What comes of it, and after which time.
async fn without_a_first_item(stream: Stream) -> Duration {
    let (changes, second) = live();
    let mut followed = Followed::new([stream, second]);
    let began = Instant::now();
    let update = followed.update().await;
    assert!(update.is_first && update.source.is_complete());
    let took = began.elapsed();
    changes.send(Ok(ScopeChange::All)).unwrap();
    changes.send(Ok(only(&["a"]))).unwrap();
    followed.update().await;
    let of_changes = followed.collector.times(|asked| *asked == Asked::Changes);
    assert_eq!(of_changes.len(), 2, "it is asked again");
    took
}

#[tokio::test(start_paused = true)]
async fn it_is_looked_at_though_it_cannot_be_subscribed_to() {
    assert_eq!(without_a_first_item(Stream::Refused).await, Duration::ZERO);
    assert_eq!(without_a_first_item(Stream::Panics).await, Duration::ZERO);
    assert_eq!(without_a_first_item(Stream::Hangs).await, LIMIT);
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_cannot_tell_is_looked_at_every_interval_and_rarely_asked_again() {
    let mut followed = Followed::new([Stream::Empty, Stream::Empty, Stream::Empty]);
    let began = Instant::now();
    followed.update().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    for _ in 1..20 {
        let before = Instant::now();
        followed.update().await;
        // With what keeps agents that started together from looking together.
        assert!((INTERVAL..=INTERVAL.mul_f64(1.1)).contains(&before.elapsed()));
    }
    let asked = followed.collector.times(|asked| *asked == Asked::Changes).len();
    let intervals = began.elapsed().as_secs() / 600;
    assert_eq!(u64::try_from(asked), Ok(1 + intervals), "every ten minutes");
}

#[tokio::test(start_paused = true)]
async fn dropping_what_follows_ends_its_subscription() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    assert!(!changes.is_closed());
    drop(followed);
    changes.closed().await;
}
