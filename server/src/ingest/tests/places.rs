//! Clusters that tell their uid at some times and at others do not.

use super::*;

/// Two namespaces of a cluster, as it is told.
fn told(agent: &mut Made, uid: Option<&str>, name: Option<&str>) -> Incoming {
    let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, "nginx:1".to_owned()))]);
    let namespace = |name: &str| (ScopeId::namespace(name), Coverage::Complete, Some(scope(&pods)));
    let mut report = agent.report(&[namespace("a"), namespace("b")], Coverage::Complete);
    report.report.sources[0].cluster = Some(Cluster { uid: uid.map(Into::into), name: name.map(Into::into) });
    report
}

/// Scopes that are there, with what identifies their cluster; and how many events there were.
async fn scopes(database: &Database) -> (Vec<(i64, String, String)>, i64) {
    let rows = sqlx::query(
        "SELECT scope.id, place.key, scope.context FROM scope JOIN place ON place.id = scope.place_id \
         WHERE scope.gone_at IS NULL ORDER BY scope.id",
    );
    let rows = rows.fetch_all(database.pool()).await.unwrap();
    let events = sqlx::query_scalar("SELECT count(*) FROM event").fetch_one(database.pool()).await.unwrap();
    (rows.iter().map(|row| (row.get("id"), row.get("key"), row.get("context"))).collect(), events)
}

fn keys(scopes: &[(i64, String, String)]) -> Vec<&str> {
    scopes.iter().map(|(_, key, _)| key.as_str()).collect()
}

#[tokio::test]
async fn a_cluster_whose_uid_may_not_be_read_any_more_is_the_one_it_was() {
    for database in databases().await {
        for (name, number) in [(Some("prod"), 1), (None, 2)] {
            let (ingest, mut agent) = (Ingest::new(database.clone()), Made::new(number));
            let uid = format!("c-{number}");
            ingest.take(1, &told(&mut agent, Some(&uid), name)).await.unwrap();
            let before = scopes(&database).await;
            let mut unseen = told(&mut agent, None, name);
            let source = &mut unseen.report.sources[0];
            (source.cluster, source.coverage) = (None, Coverage::Failed { reason: "no answer".into() });
            source.scopes.clear();
            for report in [
                told(&mut agent, None, name),
                told(&mut agent, None, name),
                unseen,
                told(&mut agent, None, name),
                told(&mut agent, Some(&uid), name),
            ] {
                agent.sequence += 1;
                let mut report = report;
                (report.report.sequence, report.report.id) = (Some(agent.sequence), Uuid::now_v7());
                assert_eq!(ingest.take(1, &report).await.unwrap().outcome, Outcome::Accepted);
                assert_eq!(scopes(&database).await, before, "nothing has come or gone, and all is called as it was");
            }
        }
        check_events(&database).await;
    }
}

#[tokio::test]
async fn a_cluster_whose_uid_may_be_read_later_on_is_the_one_it_was() {
    for database in databases().await {
        let (ingest, mut agent) = (Ingest::new(database.clone()), Made::new(1));
        ingest.take(1, &told(&mut agent, None, Some("prod"))).await.unwrap();
        let (named, events) = scopes(&database).await;
        assert_eq!(keys(&named), ["prod", "prod"]);
        for uid in [Some("c-1"), None, Some("c-1")] {
            ingest.take(1, &told(&mut agent, uid, Some("prod"))).await.unwrap();
            let (known, now) = scopes(&database).await;
            assert_eq!((keys(&known), now), (vec!["c-1", "c-1"], events));
            assert!(known.iter().zip(&named).all(|(known, named)| (known.0, &known.2) == (named.0, &named.2)));
        }
        // Another uid is another cluster, and so is another name without one.
        for (uid, name, key) in [(Some("c-2"), "prod", "c-2"), (None, "test", "test")] {
            ingest.take(1, &told(&mut agent, uid, Some(name))).await.unwrap();
            assert_eq!(keys(&scopes(&database).await.0), [key, key]);
        }
        check_events(&database).await;
    }
}

#[tokio::test]
async fn a_cluster_that_others_know_by_its_uid_is_there_once_when_it_tells_that() {
    for database in databases().await {
        let (ingest, mut one, mut other) = (Ingest::new(database.clone()), Made::new(1), Made::new(2));
        ingest.take(1, &told(&mut one, Some("c-1"), Some("prod"))).await.unwrap();
        ingest.take(1, &told(&mut other, None, Some("prod"))).await.unwrap();
        assert_eq!(keys(&scopes(&database).await.0), ["c-1", "c-1", "prod", "prod"]);
        other.now = one.now + SignedDuration::from_secs(60);
        ingest.take(1, &told(&mut other, Some("c-1"), Some("prod"))).await.unwrap();
        assert_eq!(keys(&scopes(&database).await.0), ["c-1", "c-1"]);
        check_events(&database).await;
    }
}

#[tokio::test]
async fn a_name_that_is_taken_away_is_not_looked_for() {
    for database in databases().await {
        let (ingest, mut agent) = (Ingest::new(database.clone()), Made::new(1));
        for (uid, name) in [(Some("c-1"), Some("prod")), (Some("c-1"), None), (None, None)] {
            ingest.take(1, &told(&mut agent, uid, name)).await.unwrap();
            assert_eq!(keys(&scopes(&database).await.0), ["c-1", "c-1"]);
        }
        check_events(&database).await;
    }
}

#[tokio::test]
async fn clusters_that_nobody_has_named_are_not_one_because_one_of_them_tells_its_uid() {
    for database in databases().await {
        let (ingest, mut one, mut other) = (Ingest::new(database.clone()), Made::new(1), Made::new(2));
        ingest.take(1, &told(&mut one, None, None)).await.unwrap();
        other.now = one.now;
        ingest.take(1, &told(&mut other, None, None)).await.unwrap();
        one.now = other.now;
        ingest.take(1, &told(&mut one, Some("c-1"), None)).await.unwrap();
        assert_eq!(keys(&scopes(&database).await.0), ["", "", "c-1", "c-1"]);
        check_events(&database).await;
    }
}
