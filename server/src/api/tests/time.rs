use super::world::{DAY, HOUR, World, worlds};
use crate::api::{
    containers::Containers,
    pods::Pods,
    sources::{self, Sources},
};

async fn ids(world: &World, query: &str) -> Vec<i64> {
    world.ask::<Containers>(1, query).await.items.iter().map(|container| container.id).collect()
}

#[tokio::test]
async fn a_time_to_live_hides_what_is_older() {
    for world in worlds().await {
        // 83's scope was seen two days ago, 86 as well, and is gone since.
        assert_eq!(ids(&world.with_ttl(0), "status=all").await, [81, 82, 83, 84, 86, 87, 88]);
        assert_eq!(ids(&world.with_ttl(3), "status=all").await, [81, 82, 83, 84, 86, 87, 88]);
        assert_eq!(ids(&world.with_ttl(1), "status=all").await, [81, 82, 84, 87, 88]);
        assert_eq!(ids(&world.with_ttl(-1), "status=all").await, [81, 82, 83, 84, 87, 88]);
        assert_eq!(ids(&world.with_ttl(-1), "status=gone").await, [0; 0]);
        assert_eq!(ids(&world.with_ttl(0), "status=gone").await, [86]);
    }
}

#[tokio::test]
async fn a_row_counts_until_its_very_time() {
    for world in worlds().await {
        let world = world.with_ttl(1);
        let seen = |at: i64| format!("UPDATE container SET last_seen_at = {at} WHERE account_id = 1 AND id = 87");
        world.run(&seen(world.now - DAY + HOUR)).await;
        assert!(ids(&world, "").await.contains(&87));
        // The clock has gone on since `now` was taken.
        world.run(&seen(world.now - DAY - 1)).await;
        assert!(!ids(&world, "").await.contains(&87));
    }
}

#[tokio::test]
async fn a_source_may_have_another_time_to_live() {
    for world in worlds().await {
        let set = async |body: &str| sources::change(&world.app, 1, 1, body.as_bytes()).await;
        assert_eq!(set(r#"{"image_ttl_days":1}"#).await.unwrap().image_ttl_days, Some(1));
        assert_eq!(ids(&world, "cluster=prod&status=all").await, [81, 82, 87]);
        assert_eq!(set(r#"{"image_ttl_days":-1}"#).await.unwrap().image_ttl_days, Some(-1));
        assert_eq!(ids(&world, "cluster=prod&status=all").await, [81, 82, 83, 87]);
        assert_eq!(set(r#"{"image_ttl_days":0}"#).await.unwrap().image_ttl_days, Some(0));
        assert_eq!(ids(&world.with_ttl(1), "cluster=prod&status=all").await, [81, 82, 83, 86, 87]);
        assert_eq!(set(r#"{"image_ttl_days":null}"#).await.unwrap().image_ttl_days, None);
        assert_eq!(ids(&world.with_ttl(1), "cluster=prod&status=all").await, [81, 82, 87]);
        for wrong in
            ["", "{}", r#"{"image_ttl_days":-2}"#, r#"{"image_ttl_days":1,"x":2}"#, r#"{"image_ttl_days":99999999}"#]
        {
            assert_eq!(set(wrong).await.unwrap_err().status, 400, "{wrong}");
        }
        assert_eq!(world.ask::<Sources>(1, "").await.items[0].image_ttl_days, None);
    }
}

#[tokio::test]
async fn a_scope_that_is_gone_takes_its_rows_along() {
    for world in worlds().await {
        world.run(&format!("UPDATE scope SET gone_at = {} WHERE account_id = 1 AND id = 11", world.now)).await;
        // The cluster's word on what the node still sees counts no more.
        assert_eq!(ids(&world, "").await, [83, 84, 85, 88]);
        assert_eq!(ids(&world, "status=gone").await, [81, 82, 86, 87]);
        assert_eq!(ids(&world.with_ttl(-1), "status=gone").await, [0; 0]);
    }
}

#[tokio::test]
async fn what_was_there_at_a_time() {
    for world in worlds().await {
        let at = |time: i64| format!("at={}", jiff::Timestamp::from_millisecond(time).unwrap());
        assert_eq!(ids(&world, &at(4)).await, [0; 0]);
        assert_eq!(ids(&world, &at(world.now - 2 * DAY - 1)).await, [81, 82, 83, 84, 86, 88]);
        assert_eq!(ids(&world, &at(world.now - DAY - 1)).await, [81, 82, 83, 84, 86, 87, 88]);
        // Gone at that very time.
        assert_eq!(ids(&world, &at(world.now - DAY)).await, [81, 82, 83, 84, 87, 88]);
        // What the time to live has taken was there all the same.
        assert_eq!(ids(&world.with_ttl(1), &at(world.now - DAY - 1)).await, [81, 82, 83, 84, 86, 87, 88]);
        assert_eq!(world.ask::<Pods>(1, &at(6)).await.items.len(), 4);
    }
}

#[tokio::test]
async fn seen_since_is_of_what_was_seen() {
    for world in worlds().await {
        let since = jiff::Timestamp::from_millisecond(world.now - HOUR).unwrap();
        assert_eq!(ids(&world, &format!("seen_since={since}")).await, [81, 82]);
    }
}

#[tokio::test]
async fn what_was_seen_too_long_before_a_time_did_not_count_then() {
    for world in worlds().await {
        let at = |time: i64| format!("at={}", jiff::Timestamp::from_millisecond(time).unwrap());
        let world = world.with_ttl(1);
        // 83's scope was seen two days ago, and never again.
        assert!(ids(&world, &at(world.now - DAY - HOUR)).await.contains(&83));
        assert!(!ids(&world, &at(world.now - DAY + HOUR)).await.contains(&83));
        assert!(ids(&world.with_ttl(0), &at(world.now - DAY + HOUR)).await.contains(&83));
    }
}
