use axum::{body::to_bytes, http::header::CONTENT_TYPE};

use super::world::{World, asked, worlds};
use crate::api::{
    answer::{View, answer},
    changes::Changes,
    containers::Containers,
    pods::Pods,
    routes,
    sources::{Agents, Scopes},
    whereabouts::Whereabouts,
};

/// More containers than a page has, several of each name.
async fn many(world: &World, count: i64) {
    for id in 0..count {
        world
            .run(&format!(
                "INSERT INTO container (account_id, id, scope_id, key, image_use_id, name, kind, state, first_seen_at) \
                 VALUES (1, {}, 11, {id}, 41, 'n{}', 0, 2, 5)",
                1000 + id,
                id % 7
            ))
            .await;
    }
}

#[tokio::test]
async fn pages_have_no_gaps_and_nothing_twice() {
    for world in worlds().await {
        many(&world, 40).await;
        let all: Vec<i64> =
            world.ask::<Containers>(1, "limit=1000").await.items.iter().map(|container| container.id).collect();
        assert_eq!(all.len(), 46);
        for sort in ["first_seen", "-first_seen", "name", "-name"] {
            for limit in [1, 7, 23, 46, 47] {
                for filter in ["", "&context=prod/web&context=prod/web"].map(|filter| &filter[..filter.len() / 2]) {
                    let (lines, pages) = world.all::<Containers>(&format!("sort={sort}&limit={limit}{filter}")).await;
                    let expected: usize = if filter.is_empty() { 46 } else { 43 };
                    let mut ids: Vec<i64> = lines.iter().map(|container| container.id).collect();
                    assert_eq!((ids.len(), pages), (expected, expected.div_ceil(limit)), "{sort} {limit} {filter}");
                    match sort {
                        "first_seen" => assert!(ids.is_sorted()),
                        "-first_seen" => assert!(ids.iter().rev().is_sorted()),
                        _ => assert_eq!(lines.iter().rev().is_sorted_by_key(|line| &line.name), sort == "-name"),
                    }
                    ids.sort_unstable();
                    ids.dedup();
                    assert_eq!(ids.len(), expected);
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_added_meanwhile_moves_no_page() {
    for world in worlds().await {
        let first = world.ask::<Containers>(1, "limit=3").await;
        world.run("UPDATE container SET gone_at = 7 WHERE account_id = 1 AND id = 81").await;
        let next = first.next.unwrap().text();
        let rest = world.ask::<Containers>(1, &format!("after={next}")).await;
        // 85 is told in place of 81.
        assert_eq!(rest.items.iter().map(|line| line.id).collect::<Vec<_>>(), [84, 85, 87, 88]);
    }
}

#[tokio::test]
async fn what_is_not_understood_is_refused() {
    for query in [
        "colour=red",
        "limit=0",
        "limit=1001",
        "limit=x",
        "sort=age",
        "state=happy",
        "status=lost",
        "at=yesterday",
        "at=2026-01-01T00:00:00Z&status=all",
        "after=x",
        "digest=nginx",
        "context=a&context=b",
        "context=%00",
        "format=xml",
        "seen_since=1",
    ] {
        assert_eq!(asked::<Containers>(query).unwrap_err().status, 400, "{query}");
    }
    assert!(asked::<Changes>("since=2026-05-04T10:00:00%2B02:00").is_ok());
    assert!(asked::<Agents>("context=a").is_err());
    for world in worlds().await {
        for query in ["kind=happy", "repository=A%20B"] {
            let refused = Containers::page(&world.app, 1, &asked::<Containers>(query).unwrap()).await;
            assert_eq!(refused.unwrap_err().status, 400, "{query}");
        }
        // A place in one order is none in another.
        let next = world.ask::<Containers>(1, "limit=1").await.next.unwrap().text();
        assert_eq!(asked::<Containers>(&format!("sort=name&after={next}")).unwrap_err().status, 400);
    }
}

async fn text<V: View>(world: &World, query: &str) -> (String, String) {
    let answer = answer::<V>(world.app.clone(), 1, asked::<V>(query).unwrap()).await.unwrap();
    let kind = answer.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    let body = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (kind, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn exports_are_of_all_pages() {
    for world in worlds().await {
        // More than a thousand lines, which are a page of an export.
        let rows: Vec<String> =
            (2000..3100).map(|id| format!("(1, {id}, 11, {id}, 41, 'a\"b,{id}', 0, 2, 5)")).collect();
        world
            .run(&format!(
                "INSERT INTO container (account_id, id, scope_id, key, image_use_id, name, kind, state, first_seen_at) VALUES {}",
                rows.join(",")
            ))
            .await;
        let (kind, lines) = text::<Containers>(&world, "format=ndjson&limit=5").await;
        assert_eq!(kind, "application/x-ndjson");
        let ids: Vec<i64> = lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_i64().unwrap())
            .collect();
        assert_eq!(ids.len(), 1106);
        assert!(ids.is_sorted_by(|one, next| one < next));

        let (kind, table) = text::<Containers>(&world, "format=csv").await;
        assert!(kind.starts_with("text/csv"));
        let mut table = csv::Reader::from_reader(table.as_bytes());
        assert_eq!(table.headers().unwrap().get(8), Some("digests_index_digest"));
        let records: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), 1106);
        assert_eq!(&records[1105][2], "a\"b,3099");
        assert_eq!(&records[0][10], super::world::CONFIG);
    }
}

#[tokio::test]
async fn every_view_is_written_as_csv() {
    async fn check<V: View>(world: &World, query: &str) {
        let (_, table) = text::<V>(world, &format!("{query}format=csv")).await;
        let mut table = csv::Reader::from_reader(table.as_bytes());
        let records: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
        assert!(!records.is_empty());
        // What a column names is there, unless it may be missing.
        assert!(records.iter().all(|record| record.len() == V::COLUMNS.len() && !record[0].is_empty()));
    }
    for world in worlds().await {
        check::<Agents>(&world, "").await;
        check::<Scopes>(&world, "").await;
        check::<Pods>(&world, "").await;
        check::<Changes>(&world, "").await;
        check::<Whereabouts>(&world, "image=nginx&").await;
    }
}

#[test]
fn the_document_describes_every_path() {
    let document = serde_json::to_value(routes().get_openapi()).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "/v1/agents",
        "/v1/changes",
        "/v1/containers",
        "/v1/containers/{id}",
        "/v1/dead-letters",
        "/v1/dead-letters/replay",
        "/v1/events",
        "/v1/images",
        "/v1/pods",
        "/v1/scopes",
        "/v1/sources",
        "/v1/sources/{id}",
        "/v1/subscriptions",
        "/v1/subscriptions/{id}",
        "/v1/where",
        "/v1/workloads",
    ];
    assert_eq!(paths, expected);
    let parameters = document["paths"]["/v1/containers"]["get"]["parameters"].as_array().unwrap();
    let named = |name: &str| parameters.iter().find(|parameter| parameter["name"] == name);
    let takes: usize = Containers::TAKES.iter().map(|some| some.len()).sum();
    assert_eq!(parameters.len(), takes, "every parameter is described");
    assert_eq!(named("limit").unwrap()["schema"]["maximum"], 1000);
    assert_eq!(named("limit").unwrap()["required"], false);
    // What is referred to is there.
    let text = document.to_string();
    for part in text.split("#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}
