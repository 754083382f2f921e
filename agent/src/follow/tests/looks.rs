//! When it is looked at, and what a look that goes wrong does.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use stocktake_core::{ScopeChange, filter::Filters, model::Coverage};
use tokio::time::Instant;

use super::scripted::{
    Asked, COLLECT_ALL, Followed, INTERVAL, LIMIT, Mood, Scripted, Stream, collect, configured, live, only,
};
use crate::follow::follow;

#[tokio::test(start_paused = true)]
async fn a_runtime_that_tells_is_looked_at_as_a_whole_ten_times_less_often() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    let began = Instant::now();
    let update = followed.update().await;
    assert!((10 * INTERVAL..=11 * INTERVAL).contains(&began.elapsed()), "an interval and a little more");
    assert!(update.changed.is_empty() && update.bodies.is_empty() && !update.is_first, "{update:?}");
    assert_eq!(followed.collector.asked().last(), Some(&COLLECT_ALL));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_seen_as_a_whole_is_looked_at_again_within_an_interval() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    followed.collector.world().mood = Mood::Fails;
    tokio::time::sleep(INTERVAL / 2).await;
    changes.send(Ok(only(&["b"]))).unwrap();
    let update = followed.update().await;
    let coverage = |name| update.source.scopes.iter().find(|entry| entry.id.name == name).unwrap().coverage.clone();
    assert!(matches!(coverage("b"), Coverage::Failed { reason } if reason.contains("the daemon is gone")));
    assert!(coverage("a").is_complete() && update.source.coverage.is_complete(), "nothing was asked of it");
    followed.collector.world().mood = Mood::Sound;
    let began = Instant::now();
    assert!(followed.update().await.source.is_complete());
    assert!(began.elapsed() < INTERVAL);
}

async fn goes_wrong(mood: Mood, reason: &str) {
    let mut followed = Followed::new([Stream::Empty]);
    let before = followed.update().await.source;
    followed.collector.world().mood = mood;
    let update = followed.update().await;
    assert!(update.gone.is_empty() && update.bodies.is_empty());
    assert!(!update.source.coverage.has_seen(), "{:?}", update.source.coverage);
    assert!(update.source.coverage.reason().unwrap().contains(reason), "{:?}", update.source.coverage);
    assert_eq!(update.source.host, before.host, "it is still who it was");
    for (entry, before) in update.source.scopes.iter().zip(&before.scopes) {
        assert_eq!((&entry.id, &entry.digest, entry.counts), (&before.id, &before.digest, before.counts));
        assert!(entry.coverage.reason().unwrap().contains(reason), "{:?}", entry.coverage);
    }
    assert_eq!(update.source.scopes.len(), 3);
    followed.collector.world().mood = Mood::Sound;
    let update = followed.update().await;
    assert!(update.source.is_complete() && update.bodies.is_empty(), "its content is known");
    assert_eq!(update.source.scopes, before.scopes);
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_a_failed_source_that_is_looked_at_again() {
    goes_wrong(Mood::Fails, "the daemon is gone").await;
    goes_wrong(Mood::Panics, "panicked: index out of bounds").await;
    goes_wrong(Mood::Hangs, &format!("no complete answer within {LIMIT:?}")).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_holds_up_no_other() {
    let (hung, sound) = (Scripted::new([Stream::Empty]), Scripted::new([Stream::Empty]));
    hung.world().mood = Mood::Hangs;
    let mut other = configured(&sound);
    other.name = "sound".into();
    let (_following, mut updates) = follow(vec![configured(&hung), other], &Arc::default());
    let began = Instant::now();
    assert_eq!(updates.recv().await.unwrap().source.collector, "sound");
    assert_eq!(began.elapsed(), Duration::ZERO);
}

fn excluding(image: &str) -> Filters {
    serde_json::from_value(json!({ "images": { "exclude": [image] } })).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_filter_that_selects_containers_has_everything_looked_at() {
    let (changes, stream) = live();
    let mut followed = Followed::with(Scripted::new([stream]), excluding("secret"));
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    followed.collector.world().scopes.insert("b", Ok("secret:1"));
    changes.send(Ok(only(&["b"]))).unwrap();
    let update = followed.update().await;
    assert_eq!(followed.collector.asked().last(), Some(&COLLECT_ALL));
    assert_eq!(update.changed.len(), 1);
    assert_eq!(update.changed[0].entry.counts.containers, 0);
    assert!(update.changed[0].entry.coverage.is_complete());
    assert!(!format!("{update:?}").contains("secret"));
    // Nor is it told as something new each time.
    changes.send(Ok(only(&["b"]))).unwrap();
    let update = followed.update().await;
    assert!(update.changed.is_empty() && update.bodies.is_empty());
}

#[tokio::test(start_paused = true)]
async fn such_a_filter_has_several_looked_at_together() {
    let (changes, stream) = live();
    let collectors = [Scripted::new([stream]), Scripted::new([Stream::Empty])];
    let mut both: Vec<_> = collectors.iter().map(configured).collect();
    both[1].name = "other".into();
    collectors[1].world().scopes.insert("b", Ok("secret:1"));
    let (_following, mut updates) = follow(both, &Arc::new(excluding("secret")));
    changes.send(Ok(ScopeChange::All)).unwrap();
    let mut first = [updates.recv().await.unwrap(), updates.recv().await.unwrap()];
    first.sort_by(|a, b| a.source.collector.cmp(&b.source.collector));
    assert_eq!(first.each_ref().map(|update| update.source.collector.as_str()), ["other", "scripted"]);
    assert!(first.iter().all(|update| update.is_first));
    assert!(!format!("{first:?}").contains("secret"));
    collectors[0].world().scopes.insert("b", Ok("secret:1"));
    changes.send(Ok(only(&["b"]))).unwrap();
    let second = [updates.recv().await.unwrap(), updates.recv().await.unwrap()];
    assert!(!format!("{second:?}").contains("secret"), "{second:?}");
    assert!(collectors.iter().all(|collector| collector.asked().iter().filter(|it| **it == COLLECT_ALL).count() == 2));
}

#[tokio::test(start_paused = true)]
async fn nobody_who_listens_holds_up_at_most_some_looks() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    for _ in 0..100 {
        tokio::time::sleep(INTERVAL / 20).await;
        changes.send(Ok(only(&["a"]))).unwrap();
    }
    let looks = followed.collector.times(|asked| *asked != Asked::Who && *asked != Asked::Changes);
    assert_eq!(looks.len(), 2, "one update waits, and one to take its place");
    for _ in 0..3 {
        followed.update().await;
    }
    assert_eq!(followed.collector.asked().last(), Some(&collect(&["a"])), "all that was told is one look");
    let _ = followed.is_quiet(Duration::ZERO).await;
}

/// What the agent is taken for hung by: silence for longer than a look said.
#[tokio::test(start_paused = true)]
async fn a_look_says_how_long_it_took_and_when_the_next_one_ends_at_the_latest() {
    let (changes, told) = live();
    for (stream, most) in [(told, 11 * INTERVAL), (Stream::Empty, 2 * INTERVAL)] {
        let mut followed = Followed::new([stream]);
        // Only where it is told anything.
        let _ = changes.send(Ok(ScopeChange::All));
        followed.collector.world().takes = Duration::from_secs(3);
        for mood in [Mood::Sound, Mood::Hangs, Mood::Fails, Mood::Sound, Mood::Partial] {
            followed.collector.world().mood = mood;
            let look = followed.update().await.look;
            assert_eq!(look.timed_out, mood == Mood::Hangs, "{mood:?}");
            let takes = match mood {
                Mood::Hangs => LIMIT,
                // It does not even say who it is.
                Mood::Fails => Duration::ZERO,
                _ => Duration::from_secs(3),
            };
            assert!((takes..takes + Duration::from_secs(2)).contains(&look.took), "{mood:?}: {:?}", look.took);
            assert!(look.next_within <= most + LIMIT, "{mood:?}: {:?}", look.next_within);
            // The slowest that there can be.
            followed.collector.world().mood = Mood::Hangs;
            let ended = Instant::now();
            followed.update().await;
            assert!(ended.elapsed() <= look.next_within + Duration::from_secs(1), "{mood:?}: {:?}", ended.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn so_does_a_look_at_several_together() {
    let collectors = [Scripted::new([Stream::Empty]), Scripted::new([Stream::Empty])];
    let mut both: Vec<_> = collectors.iter().map(configured).collect();
    both[1].name = "other".into();
    collectors[1].world().mood = Mood::Hangs;
    let (_following, mut updates) = follow(both, &Arc::new(excluding("secret")));
    let first = [updates.recv().await.unwrap(), updates.recv().await.unwrap()];
    for update in &first {
        assert_eq!(update.look.timed_out, update.source.collector == "other");
    }
    let ended = Instant::now();
    updates.recv().await.unwrap();
    assert!(ended.elapsed() <= first[0].look.next_within + Duration::from_secs(1), "{:?}", ended.elapsed());
    assert_eq!(first[0].look.next_within, first[1].look.next_within);
}
