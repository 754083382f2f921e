//! The stream of events.

use serde_json::{Value, json};

use crate::{
    notify,
    testing::{Listener, Served},
};

/// What a text of the stream says: number and data of each event.
fn told(text: &str) -> Vec<(i64, Value)> {
    let field = |event: &str, name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let events = text.split("\n\n").filter_map(|event| Some((field(event, "id: ")?, field(event, "data: ")?)));
    events.map(|(id, data)| (number(&id), serde_json::from_str(&data).unwrap())).collect()
}

/// The number in what an event is known by.
fn number(id: &str) -> i64 {
    id.split('-').next().unwrap().parse().unwrap()
}

/// What the latest event of a text of the stream is known by.
fn last_id(text: &str) -> String {
    text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap().to_owned()
}

/// So many events of a stream.
async fn some(listener: &mut Listener, count: usize) -> Vec<(i64, Value)> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(told(&listener.next().await.expect("the stream goes on")));
    }
    all
}

#[tokio::test]
async fn a_stream_has_all_in_its_order_and_goes_on_where_it_ended() {
    for served in Served::all().await {
        let account = served.account("shop").await;
        let (reader, agent) = (account.with("read-only"), account.with("inventory-agent"));
        let following = tokio::spawn(notify::always(served.app.clone()));
        let mut live = served.listen("/v1/events", reader, None).await.unwrap();
        assert_eq!(live.next().await.unwrap(), "id: 0\n\n", "who is cut off goes on from there");
        assert_eq!(live.next().await.unwrap(), ": here\nid: 0\n\n");
        served.report(agent, &[("web", "shop", "nginx:1"), ("db", "back", "redis:7")]).await;
        let first = some(&mut live, 4).await;
        drop(live);
        served.report(agent, &[("web", "shop", "nginx:2"), ("db", "back", "redis:7")]).await;
        let changes = served.get("/v1/changes", reader).await.json()["items"].as_array().unwrap().clone();
        assert!(changes.len() > 4, "{changes:?}");
        // A number alone is enough for people.
        let last = first[3].0.to_string();
        let mut again = served.listen("/v1/events?since=2020-01-01T00:00:00Z", reader, Some(&last)).await.unwrap();
        let rest = some(&mut again, changes.len() - 4).await;
        let all: Vec<(i64, Value)> = first.into_iter().chain(rest).collect();
        assert_eq!(all.iter().map(|(id, _)| *id).collect::<Vec<_>>(), (1..).take(all.len()).collect::<Vec<i64>>());
        for ((id, told), change) in all.iter().zip(&changes) {
            let same = ["id", "at", "change", "entity", "entity_id", "context", "detail", "scope"];
            assert!(same.iter().all(|key| told[key] == change[key]) && *id == told["id"], "{told} {change}");
        }
        let sign = again.next().await.unwrap();
        assert!(sign.starts_with(&format!(": here\nid: {}-", all.len())), "{sign}");
        served.app.notify.stopping.cancel();
        assert_eq!(again.next().await, None, "it ends when the server stops");
        following.abort();
    }
}

#[tokio::test]
async fn a_stream_has_what_is_asked_for_and_tells_how_far_it_looked() {
    for served in Served::all().await {
        let account = served.account("shop").await;
        let (reader, agent) = (account.with("read-only"), account.with("inventory-agent"));
        served.report(agent, &[("web", "shop", "nginx:1"), ("db", "back", "redis:7")]).await;
        let all = told(&served.get("/v1/events?since=2020-01-01T00:00:00Z", reader).await.text);
        assert_eq!(all.len(), 4);
        for (query, expected) in [
            ("cluster=prod", 4),
            ("cluster=test", 0),
            ("context=prod/shop", 2),
            ("context=prod", 4),
            ("repository=redis", 2),
            ("label=app=web", 1),
        ] {
            let answer = served.get(&format!("/v1/events?since=2020-01-01T00:00:00Z&{query}"), reader).await;
            assert_eq!(told(&answer.text).len(), expected, "{query}: {}", answer.text);
            assert_eq!(number(&last_id(&answer.text)), 4, "{query}: {}", answer.text);
            assert_eq!(answer.headers["content-type"], "text/event-stream");
        }
        // Of another account, nothing.
        let other = served.account("other").await;
        let answer = served.get("/v1/events?since=2020-01-01T00:00:00Z", other.with("admin")).await;
        assert_eq!(answer.text, "id: 0\n\n: here\nid: 0\n\n");
    }
}

#[tokio::test]
async fn a_stream_that_finds_nothing_for_long_tells_how_far_it_looked() {
    for served in Served::all().await {
        let account = served.account("shop").await;
        let (reader, agent) = (account.with("read-only"), account.with("inventory-agent"));
        served.report(agent, &[("web", "shop", "nginx:1")]).await;
        for text in [
            "WITH RECURSIVE n (id) AS (SELECT 3 UNION ALL SELECT id + 1 FROM n WHERE id < 2500) INSERT INTO event \
             (account_id, id, at, kind, entity, entity_id, scope_id, detail) SELECT ev.account_id, n.id, ev.at, ev.kind, ev.entity, \
             ev.entity_id, ev.scope_id, ev.detail FROM n CROSS JOIN event AS ev WHERE ev.id = 1",
            "UPDATE account SET last_event = 2500 WHERE name = 'shop'",
        ] {
            sqlx::query(text).execute(served.app.database.pool()).await.unwrap();
        }
        let mut stream = served.listen("/v1/events?cluster=test", reader, Some("0")).await.unwrap();
        assert_eq!(stream.next().await.unwrap(), "id: 0\n\n");
        for expected in [1000, 2000, 2500] {
            let sign = stream.next().await.unwrap();
            assert!(sign.starts_with(&format!(": here\nid: {expected}-")) && sign.ends_with("\n\n"), "{sign}");
        }
    }
}

#[tokio::test]
async fn what_was_removed_before_it_was_sent_is_told() {
    for served in Served::all().await {
        let account = served.account("shop").await;
        let (reader, agent) = (account.with("read-only"), account.with("inventory-agent"));
        served.report(agent, &[("web", "shop", "nginx:1"), ("db", "back", "redis:7")]).await;
        let removed = |first: i64, last: i64| json!({"first": first, "last": last});
        sqlx::query("DELETE FROM event WHERE id IN (1, 2)").execute(served.app.database.pool()).await.unwrap();
        let told_after_one = told(&served.listen("/v1/events", reader, Some("1")).await.unwrap().all().await);
        assert_eq!(told_after_one[0], (2, removed(2, 2)));
        assert_eq!(told_after_one.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [2, 3, 4]);
        sqlx::query("DELETE FROM event").execute(served.app.database.pool()).await.unwrap();
        // Another process, which remembers nothing.
        let app = crate::app::App::usual(served.app.database.clone(), crate::app::Retention::default());
        let part = app.notify.log.after(&app, account_id(&served).await, 2, 4).await.unwrap();
        assert!(matches!(part.entries[..], [notify::log::Entry::Removed { first: 3, last: 4 }]));
        assert_eq!(part.until, 4);
    }
}

async fn account_id(served: &Served) -> i64 {
    let query = sqlx::query_scalar("SELECT id FROM account WHERE name = 'shop'");
    query.fetch_one(served.app.database.pool()).await.unwrap()
}

#[tokio::test]
async fn a_number_that_is_of_no_event_is_refused() {
    for served in Served::all().await {
        let account = served.account("shop").await;
        for last in ["7", "-1", "x", "7-", "7-xyzxyzxy"] {
            let refused = served.listen("/v1/events", account.with("read-only"), Some(last)).await;
            assert_eq!(refused.err(), Some(axum::http::StatusCode::BAD_REQUEST), "{last}");
        }
    }
}

/// A server whose database was restored, from a copy without the events behind a number.
async fn restored(served: &Served, last: i64) -> Served {
    for text in ["DELETE FROM event WHERE id > $1", "UPDATE account SET last_event = $1 WHERE name = 'shop'"] {
        sqlx::query(text).bind(last).execute(served.app.database.pool()).await.unwrap();
    }
    Served::again(crate::app::App::usual(served.app.database.clone(), crate::app::Retention::default()))
}

#[tokio::test]
async fn who_knows_an_event_of_before_a_restore_is_told_that_its_number_is_anothers() {
    for served in Served::all().await {
        let account = served.account("shop").await;
        let (reader, agent) = (account.with("read-only"), account.with("inventory-agent"));
        served.report(agent, &[("web", "shop", "nginx:1")]).await;
        let all = async |served: &Served| served.get("/v1/events?since=2020-01-01T00:00:00Z", reader).await.text;
        let kept = last_id(&all(&served).await);
        served.report(agent, &[("web", "shop", "nginx:2")]).await;
        let lost = last_id(&all(&served).await);
        assert!(
            number(&kept) < number(&lost) && lost == last_id(&all(&served).await),
            "the same whenever it is asked for"
        );

        let served = restored(&served, number(&kept)).await;
        let from = async |served: &Served, last: &str| {
            served.listen("/v1/events", reader, Some(last)).await.unwrap().all().await
        };
        let told = |last: &str, text: &str| {
            let event = format!("event: restored\nid: {last}\ndata: {{\"last\":{}}}\n\n", number(last));
            assert!(text.starts_with(&format!("id: {last}\n\n{event}")), "{text}");
        };
        // There is no event of that number yet.
        told(&kept, &from(&served, &lost).await);
        served
            .report(agent, &[("web", "shop", "nginx:1"), ("db", "back", "redis:7"), ("cache", "back", "redis:8")])
            .await;
        let again = all(&served).await;
        let other = again.lines().filter_map(|line| line.strip_prefix("id: ")).find(|id| number(id) == number(&lost));
        let other = other.unwrap_or_else(|| panic!("the number is given again: {again}"));
        assert_ne!(other, lost);
        // There is another one.
        told(other, &from(&served, &lost).await);
        // What was kept is what it was, and so is what came afterwards; of a number alone nobody can say.
        for last in [kept.as_str(), other, &number(&lost).to_string()] {
            let text = from(&served, last).await;
            assert!(!text.contains("restored") && text.starts_with("id: "), "{last}: {text}");
        }
        assert!(from(&served, &kept).await.contains(&format!("id: {other}\ndata: ")));
    }
}
