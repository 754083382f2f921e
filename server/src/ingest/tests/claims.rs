//! Reports under the identity of an agent that another token reports with.

use super::*;

const OTHER: i64 = 200;

/// Makes it a token.
async fn token(database: &Database, id: i64, expires_at: Option<i64>) {
    let insert = sqlx::query(
        "INSERT INTO api_token (account_id, id, name, hash, role, created_at, expires_at) VALUES (1, $1, $2, $3, 'inventory-agent', 0, $4)",
    );
    let insert = insert.bind(id).bind(id.to_string()).bind(id.to_le_bytes().to_vec()).bind(expires_at);
    insert.execute(database.pool()).await.unwrap();
}

/// The next report, in a run, with a token.
fn report(agent: &mut Made, run: u128, credential: i64) -> Incoming {
    let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, format!("nginx:{credential}")))]);
    agent.run = run;
    let told = [(ScopeId::namespace("a"), Coverage::Complete, Some(scope(&pods)))];
    Incoming { credential: Some(credential), ..agent.report(&told, Coverage::Complete) }
}

async fn accept(ingest: &Ingest, report: &Incoming) {
    assert_eq!(ingest.take(1, report).await.unwrap().outcome, Outcome::Accepted);
}

async fn refuse(ingest: &Ingest, report: &Incoming) {
    let refused = ingest.take(1, report).await.unwrap_err();
    assert_eq!((refused.status.as_u16(), refused.kind), (403, problem::IDENTITY_HELD), "{}", refused.title);
}

#[tokio::test]
async fn whoever_uses_an_agents_identity_does_not_keep_it_from_reporting() {
    for database in databases().await {
        let replicas = [Ingest::new(database.clone()), Ingest::new(database.clone())];
        let (mut agent, mut thief) = (Made::new(1), Made::new(1));
        for credential in [SENDER.credential, OTHER] {
            token(&database, credential, None).await;
        }
        for _ in 0..3 {
            accept(&replicas[0], &report(&mut agent, 1, SENDER.credential)).await;
        }
        thief.now = agent.now;
        // It might be the agent, started anew with another token.
        for _ in 0..3 {
            accept(&replicas[1], &report(&mut thief, 2, OTHER)).await;
        }
        agent.now = thief.now;
        // It was not.
        for ingest in &replicas {
            for _ in 0..3 {
                accept(ingest, &report(&mut agent, 1, SENDER.credential)).await;
            }
        }
        for ingest in &replicas {
            refuse(ingest, &report(&mut thief, 2, OTHER)).await;
            refuse(ingest, &report(&mut thief, 3, OTHER)).await;
        }
        assert_eq!(rows(&database).await.0[&("a".into(), "web-1".into())].1, "nginx:100");
        // Its token is removed: whoever reports then is the agent.
        sqlx::query("DELETE FROM api_token WHERE id = 100").execute(database.pool()).await.unwrap();
        thief.now = agent.now;
        accept(&replicas[0], &report(&mut thief, 3, OTHER)).await;
        check_events(&database).await;
    }
}

#[tokio::test]
async fn a_token_is_replaced_without_a_report_that_waits() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let now = Timestamp::now().as_millisecond();
        for (credential, expires_at) in [(SENDER.credential, None), (OTHER, Some(now - 1000)), (300, None), (400, None)]
        {
            token(&database, credential, expires_at).await;
        }
        let mut agent = Made::new(1);
        accept(&ingest, &report(&mut agent, 1, SENDER.credential)).await;
        // While it runs, to and fro; and after a start, while the former one is still of use, or has expired.
        for (run, credential) in
            [(1, 300), (1, SENDER.credential), (1, OTHER), (1, OTHER), (2, 300), (3, 400), (4, 400)]
        {
            accept(&ingest, &report(&mut agent, run, credential)).await;
        }
        // What an agent keeps of the run before comes first.
        accept(&ingest, &report(&mut agent, 4, 300)).await;
        accept(&ingest, &report(&mut agent, 5, 300)).await;
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM agent WHERE runs LIKE '%is_contested%'")
            .fetch_one(database.pool())
            .await
            .unwrap();
        assert_eq!(waiting, 0);
    }
}

#[tokio::test]
async fn who_does_not_name_its_id_keeps_it_whoever_names_that() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let (mut server, mut thief) = (Made::new(1), Made::new(1));
        let look = |server: &mut Made| Incoming { kind: "agentless", credential: None, ..report(server, 1, 0) };
        accept(&ingest, &look(&mut server)).await;
        thief.sequence = 1 << 60;
        for run in [1, u128::MAX] {
            refuse(&ingest, &report(&mut thief, run, OTHER)).await;
        }
        accept(&ingest, &look(&mut server)).await;
        // Nor does one that came first, before anybody looked.
        let (mut server, mut thief) = (Made::new(2), Made::new(2));
        thief.sequence = 1 << 60;
        accept(&ingest, &report(&mut thief, u128::MAX, OTHER)).await;
        server.now = thief.now;
        accept(&ingest, &look(&mut server)).await;
        refuse(&ingest, &report(&mut thief, u128::MAX, OTHER)).await;
        assert_eq!(rows(&database).await.0[&("a".into(), "web-1".into())].1, "nginx:0");
        check_events(&database).await;
    }
}
