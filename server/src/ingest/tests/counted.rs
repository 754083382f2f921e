//! Reports in the metrics, by how they came and what became of them.

use serde_json::json;
use stocktake_core::wire::MEDIA_TYPE;

use super::*;
use crate::testing::{PASSWORD, Served, basic};

#[tokio::test]
async fn reports_of_all_agents_are_counted_and_refused_are_those_that_are_not_sent_again() {
    for served in Served::all().await {
        let (admin, mut agent) = (basic("admin", PASSWORD), Made::new(1));
        let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, "nginx:1".to_owned()))]);
        let told = [(ScopeId::namespace("a"), Coverage::Complete, Some(scope(&pods)))];
        let report = agent.report(&told, Coverage::Complete);
        let (mut manifest, mut whole) = (Vec::new(), Vec::new());
        append_frame(&mut manifest, &report.manifest.unwrap().1, None).unwrap();
        whole.extend_from_slice(&manifest);
        append_frame(&mut whole, report.bodies.values().next().unwrap(), None).unwrap();
        let kai = json!({"cluster_name": "kai", "inventory_type": "kubernetes", "namespaces": [], "timestamp": "2026-05-04T10:00:00Z"});
        let ecs = json!({"cluster_arn": "validating-creds", "timestamp": "2026-05-04T10:00:00Z"});
        for (path, kind, body, status) in [
            ("/v1/reports", MEDIA_TYPE, manifest, 409),
            ("/v1/reports", MEDIA_TYPE, whole.clone(), 200),
            ("/v1/reports", MEDIA_TYPE, whole.clone(), 200),
            ("/v1/reports", MEDIA_TYPE, b"frames".to_vec(), 400),
            ("/v1/reports", "text/plain", whole, 415),
            ("/v1/enterprise/inventories", "application/json", json!({}).to_string().into(), 400),
            ("/v2/kubernetes-inventory", "application/json", b"{}".to_vec(), 400),
            ("/v2/ecs-inventory", "application/json", ecs.to_string().into(), 204),
        ] {
            let answer = served.send("", "POST", path, &admin, kind, body).await;
            assert_eq!(answer.status.as_u16(), status, "{path}: {}", answer.text);
        }
        let kai = served.ask("POST", "/v1/enterprise/inventories", &admin, kai).await;
        assert!(kai.status.is_success(), "{}", kai.text);
        assert_eq!(served.ask("POST", "/v1/reports", "", json!({})).await.status.as_u16(), 401);

        let metrics = served.get("/metrics", &admin).await.text;
        let mut counted: Vec<&str> =
            metrics.lines().filter_map(|line| line.strip_prefix("stocktake_server_reports_total")).collect();
        counted.sort_unstable();
        assert_eq!(
            counted,
            [
                r#"{protocol="anchore",outcome="accepted"} 1"#,
                r#"{protocol="anchore",outcome="refused"} 2"#,
                r#"{protocol="stocktake",outcome="accepted"} 1"#,
                r#"{protocol="stocktake",outcome="known"} 1"#,
                r#"{protocol="stocktake",outcome="later"} 2"#,
                r#"{protocol="stocktake",outcome="refused"} 2"#,
            ]
        );
    }
}

#[tokio::test]
async fn reports_that_never_came_are_told_with_their_agent() {
    for served in Served::all().await {
        let (admin, mut agent) = (basic("admin", PASSWORD), Made::new(1));
        let account = sqlx::query_scalar("SELECT id FROM account WHERE name = 'admin'");
        let account: i64 = account.fetch_one(served.app.database.pool()).await.unwrap();
        let mut late = Vec::new();
        for number in 1..=6 {
            let report = agent.report(&[], Coverage::Complete);
            if [2, 4, 5].contains(&number) {
                late.push(report);
            } else {
                served.app.ingest.take(account, &report).await.unwrap();
            }
        }
        let missing = async || served.get("/v1/agents", &admin).await.json()["items"][0]["missing_reports"].clone();
        assert_eq!(missing().await, 3);
        served.app.ingest.take(account, &late[0]).await.unwrap();
        assert_eq!(missing().await, 2, "one has come after all");
    }
}
