//! What becomes of a scope by a look that saw it, or did not.

use stocktake_core::{
    ScopeChange,
    model::{Coverage, ScopeEntry, ScopeId},
};

use super::scripted::{Followed, Item, Mood, Stream, live, only};
use crate::follow::Update;

async fn followed() -> (Followed, tokio::sync::mpsc::UnboundedSender<Item>) {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    followed.update().await;
    (followed, changes)
}

fn entry<'u>(update: &'u Update, name: &str) -> Option<&'u ScopeEntry> {
    update.source.scopes.iter().find(|entry| entry.id.name == name)
}

fn names(update: &Update) -> Vec<&str> {
    update.source.scopes.iter().map(|entry| &*entry.id.name).collect()
}

fn changed(update: &Update) -> Vec<(&str, bool)> {
    update.changed.iter().map(|change| (&*change.entry.id.name, change.has_new_content)).collect()
}

#[tokio::test(start_paused = true)]
async fn the_first_update_brings_everything() {
    let mut followed = Followed::new([Stream::Empty]);
    let update = followed.update().await;
    assert_eq!(changed(&update), [("a", true), ("b", true), ("c", true)]);
    assert_eq!(update.bodies.len(), 1, "they have the same content");
    assert!(update.changed.iter().all(|change| update.body(change).is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_changed_is_told_with_its_content_and_no_other_is() {
    let (mut followed, changes) = followed().await;
    followed.collector.world().scopes.extend([("b", Ok("app:2")), ("c", Ok("app:3"))]);
    changes.send(Ok(only(&["a", "b"]))).unwrap();
    let update = followed.update().await;
    assert_eq!(changed(&update), [("b", true)], "`c` was not looked at");
    assert_eq!(update.bodies.len(), 1);
    assert_eq!(update.body(&update.changed[0]).unwrap().containers[0].image.as_deref(), Some("app:2"));
    assert_eq!(names(&update), ["a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_is_gone_only_when_a_complete_list_is_without_it() {
    let (mut followed, changes) = followed().await;
    followed.collector.world().scopes.remove("c");
    for (mood, reason) in [(Mood::Partial, "half of it"), (Mood::Fails, "the daemon is gone")] {
        followed.collector.world().mood = mood;
        changes.send(Ok(ScopeChange::All)).unwrap();
        let update = followed.update().await;
        assert_eq!((names(&update), update.gone.len()), (vec!["a", "b", "c"], 0));
        let Coverage::Failed { reason: found } = &entry(&update, "c").unwrap().coverage else { panic!("{update:?}") };
        assert!(found.contains(reason), "{found}");
        assert!(entry(&update, "c").unwrap().digest.is_some());
    }
    followed.collector.world().mood = Mood::Sound;
    changes.send(Ok(only(&["c"]))).unwrap();
    let update = followed.update().await;
    assert_eq!((changed(&update), update.gone.len()), (vec![("c", true)], 0), "it is empty");
    assert!(entry(&update, "c").unwrap().coverage.is_complete());
    changes.send(Ok(ScopeChange::All)).unwrap();
    let update = followed.update().await;
    assert_eq!(update.gone, [ScopeId::namespace("c")]);
    assert_eq!(names(&update), ["a", "b"]);
    changes.send(Ok(ScopeChange::All)).unwrap();
    assert!(followed.update().await.gone.is_empty(), "once");
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_was_refused_stays_with_what_was_known_of_it() {
    let (mut followed, changes) = followed().await;
    let before = followed.collector.world().scopes.insert("b", Err("not any more")).unwrap();
    changes.send(Ok(only(&["b"]))).unwrap();
    let update = followed.update().await;
    assert_eq!(changed(&update), [("b", false)]);
    let b = entry(&update, "b").unwrap();
    assert!(matches!(&b.coverage, Coverage::Denied { reason } if reason.contains("not any more")), "{b:?}");
    assert_eq!((b.digest.as_ref(), b.counts.containers), (entry(&update, "a").unwrap().digest.as_ref(), 1));
    followed.collector.world().scopes.insert("b", before);
    changes.send(Ok(only(&["b"]))).unwrap();
    let update = followed.update().await;
    assert_eq!(changed(&update), [("b", false)], "seen again, and the same");
    assert!(update.source.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_was_refused_from_the_start_has_no_digest() {
    let (changes, stream) = live();
    let mut followed = Followed::new([stream]);
    followed.collector.world().scopes.insert("b", Err("no"));
    changes.send(Ok(ScopeChange::All)).unwrap();
    let update = followed.update().await;
    assert_eq!(entry(&update, "b").unwrap().digest, None);
    assert_eq!(changed(&update), [("a", true), ("b", false), ("c", true)]);
}

#[tokio::test(start_paused = true)]
async fn a_scope_that_may_not_exist_is_not_listed() {
    let (mut followed, changes) = followed().await;
    changes.send(Ok(only(&["nowhere"]))).unwrap();
    assert_eq!(names(&followed.update().await), ["a", "b", "c"]);
    followed.collector.world().scopes.insert("new", Ok("app:1"));
    changes.send(Ok(only(&["new"]))).unwrap();
    let update = followed.update().await;
    assert_eq!((names(&update), changed(&update)), (vec!["a", "b", "c", "new"], vec![("new", true)]));
    followed.collector.world().scopes.insert("empty", Ok(""));
    changes.send(Ok(ScopeChange::All)).unwrap();
    assert_eq!(names(&followed.update().await), ["a", "b", "c", "empty", "new"], "in a list it exists");
}

#[tokio::test(start_paused = true)]
async fn another_machine_has_other_scopes() {
    let (mut followed, changes) = followed().await;
    {
        let mut world = followed.collector.world();
        (world.machine, world.mood) = ("m2", Mood::Partial);
        world.scopes.retain(|name, _| *name == "a");
    }
    changes.send(Ok(ScopeChange::All)).unwrap();
    let update = followed.update().await;
    assert_eq!(update.gone, ["b", "c"].map(ScopeId::namespace));
    assert_eq!(names(&update), ["a"]);
}
