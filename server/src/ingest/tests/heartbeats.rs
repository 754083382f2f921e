//! Reports that say what the one before said.

use super::*;

fn told(state: ContainerState) -> Vec<Told> {
    let pods = Pods::from([("web-1".to_owned(), (state, "nginx:1".to_owned()))]);
    vec![
        (ScopeId::namespace("a"), Coverage::Complete, Some(scope(&pods))),
        (ScopeId::namespace("b"), Coverage::Denied { reason: "forbidden".into() }, None),
    ]
}

/// The agent's latest number, when its source was seen, and when it reported.
async fn times(database: &Database, agent: &Made) -> (String, i64, i64) {
    let row = sqlx::query(
        "SELECT agent.runs, source.observed_at, agent.reported_at FROM agent JOIN source ON source.agent_id = agent.id WHERE agent.uuid = $1",
    );
    let row = row.bind(agent.id.to_string()).fetch_one(database.pool()).await.unwrap();
    (row.get("runs"), row.get("observed_at"), row.get("reported_at"))
}

#[tokio::test]
async fn what_says_the_same_changes_times_alone_and_is_written_by_itself() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agent = Made::new(1);
        let mut is_short = Vec::new();
        for _ in 0..5 {
            let report = agent.report(&told(ContainerState::Running), Coverage::Complete);
            is_short.push(ingest.heartbeats.take(1, &report).await.unwrap());
            let outcome = ingest.take(1, &report).await.unwrap().outcome;
            // The second time it is one that is here.
            assert_eq!(outcome == Outcome::Known, *is_short.last().unwrap());
            let (runs, observed_at, reported_at) = times(&database, &agent).await;
            assert!(runs.contains(&format!("\"last\":{}", agent.sequence)), "{runs}");
            assert_eq!((observed_at, reported_at), (agent.now.as_millisecond(), agent.now.as_millisecond()));
        }
        assert_eq!(
            is_short,
            [false, false, true, true, true],
            "what is new, then what is as before, is found out first"
        );
        let changed = agent.report(&told(ContainerState::Exited), Coverage::Complete);
        assert!(!ingest.heartbeats.take(1, &changed).await.unwrap());
        ingest.take(1, &changed).await.unwrap();
        assert_eq!(rows(&database).await.0[&("a".into(), "web-1".into())].0, ContainerState::Exited);
        check_events(&database).await;
    }
}

#[tokio::test]
async fn the_dictionary_of_the_next_report_is_the_last_one_for_another_replica_too() {
    for database in databases().await {
        let replicas = [Ingest::new(database.clone()), Ingest::new(database.clone())];
        let mut agent = Made::new(1);
        let mut former: Option<Bytes> = None;
        for number in 0..12 {
            let report = agent.report(&told(ContainerState::Running), Coverage::Complete);
            let manifest = report.manifest.unwrap().1;
            let mut frames = Vec::new();
            append_frame(&mut frames, &manifest, former.as_deref()).unwrap();
            for body in report.bodies.values().filter(|_| former.is_none()) {
                append_frame(&mut frames, body, None).unwrap();
            }
            // Four to the one, then four to the other: some by what it remembers, some by what it has to look up.
            let receipt = replicas[number / 4 % 2].report(SENDER, None, frames.into()).await.unwrap();
            assert_eq!(receipt.outcome, Outcome::Accepted);
            former = Some(manifest);
        }
        let runs = times(&database, &agent).await.0;
        assert!(runs.contains("\"last\":12,\"missing\":[]"), "{runs}");
    }
}

#[tokio::test]
async fn many_at_once_are_all_written_and_none_twice() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agents: Vec<Made> = (1..=60).map(Made::new).collect();
        for (number, agent) in agents.iter_mut().enumerate() {
            for _ in 0..2 {
                ingest.take(1, &cluster(agent, number)).await.unwrap();
            }
        }
        for _ in 0..3 {
            let reports: Vec<Incoming> =
                agents.iter_mut().enumerate().map(|(number, agent)| cluster(agent, number)).collect();
            // Each is delivered twice, at the same time.
            let all = reports.iter().chain(&reports).map(|report| ingest.take(1, report));
            let outcomes = futures_util::future::join_all(all).await;
            let accepted = outcomes.iter().filter(|taken| taken.as_ref().unwrap().outcome == Outcome::Accepted).count();
            assert_eq!((accepted, outcomes.len()), (60, 120));
        }
        for agent in &agents {
            assert_eq!(times(&database, agent).await.1, agent.now.as_millisecond());
        }
    }
}

/// A report of a cluster of its own.
fn cluster(agent: &mut Made, number: usize) -> Incoming {
    let mut report = agent.report(&told(ContainerState::Running), Coverage::Complete);
    report.report.sources[0].cluster = Some(Cluster { uid: Some(format!("c-{number}")), name: None });
    report
}

#[tokio::test]
async fn one_whose_scope_was_taken_over_meanwhile_is_looked_at() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let (mut one, mut other) = (Made::new(1), Made::new(2));
        for _ in 0..3 {
            ingest.take(1, &one.report(&told(ContainerState::Running), Coverage::Complete)).await.unwrap();
        }
        other.now = one.now + SignedDuration::from_secs(30);
        ingest.take(1, &other.report(&told(ContainerState::Exited), Coverage::Complete)).await.unwrap();
        let later = one.report(&told(ContainerState::Running), Coverage::Complete);
        other.now = one.now + SignedDuration::from_secs(30);
        ingest.take(1, &later).await.unwrap();
        let owner: String = sqlx::query_scalar(
            "SELECT agent.uuid FROM scope JOIN source ON source.id = scope.source_id JOIN agent ON agent.id = source.agent_id \
             WHERE scope.name = 'a'",
        )
        .fetch_one(database.pool())
        .await
        .unwrap();
        assert_eq!(owner, other.id.to_string(), "the other's look was the later one");
        let last = one.now + SignedDuration::from_secs(600);
        one.now = last;
        ingest.take(1, &one.report(&told(ContainerState::Running), Coverage::Complete)).await.unwrap();
        assert_eq!(rows(&database).await.0[&("a".into(), "web-1".into())].0, ContainerState::Running);
        check_events(&database).await;
    }
}

#[tokio::test]
async fn what_was_removed_comes_back_with_a_report_that_says_the_same() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agent = Made::new(1);
        let mut send = async |with_bodies: bool| {
            let report = agent.report(&told(ContainerState::Running), Coverage::Complete);
            let mut frames = Vec::new();
            append_frame(&mut frames, &report.manifest.unwrap().1, None).unwrap();
            for body in report.bodies.values().filter(|_| with_bodies) {
                append_frame(&mut frames, body, None).unwrap();
            }
            assert_eq!(ingest.report(SENDER, None, frames.into()).await.unwrap().outcome, Outcome::Accepted);
        };
        for with_bodies in [true, false, false, false] {
            send(with_bodies).await;
        }
        let what = Removal::Context { kind: "kubernetes", context: "prod/a" };
        assert!(remove(&database, 1, what, Timestamp::now().as_millisecond()).await.unwrap() > 0);
        assert_eq!(rows(&database).await.0.len(), 0);
        check_events(&database).await;
        for _ in 0..3 {
            send(false).await;
            assert_eq!(rows(&database).await.0.len(), 1);
        }
        check_events(&database).await;
        check_uses(&database).await;
    }
}

#[tokio::test]
async fn what_a_clock_that_went_back_left_open_is_settled_by_the_next_report() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, "nginx:1".to_owned()))]);
        let namespace = |name: &str| (ScopeId::namespace(name), Coverage::Complete, Some(scope(&pods)));
        let mut agent = Made::new(1);
        ingest.take(1, &agent.report(&[namespace("a"), namespace("b")], Coverage::Complete)).await.unwrap();
        agent.now -= SignedDuration::from_secs(62);
        ingest.take(1, &agent.report(&[namespace("a")], Coverage::Complete)).await.unwrap();
        assert_eq!(following(&database).await.len(), 2, "b was seen later than that");
        ingest.take(1, &agent.report(&[namespace("a")], Coverage::Complete)).await.unwrap();
        assert_eq!(following(&database).await, [("prod/a".to_owned(), 1)]);
    }
}

#[tokio::test]
async fn a_late_report_takes_no_collector_away_that_a_later_one_has_brought() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agent = Made::new(1);
        ingest.take(1, &agent.report(&told(ContainerState::Running), Coverage::Complete)).await.unwrap();
        let mut late = agent.report(&[], Coverage::Complete);
        late.report.sources.clear();
        ingest.take(1, &agent.report(&told(ContainerState::Running), Coverage::Complete)).await.unwrap();
        let (before, reported) = (following(&database).await, times(&database, &agent).await);
        assert_eq!(ingest.take(1, &late).await.unwrap().outcome, Outcome::Accepted);
        assert_eq!(following(&database).await, before);
        let after = times(&database, &agent).await;
        assert_eq!((after.1, after.2), (reported.1, reported.2), "it says nothing about now");
        assert_eq!(ingest.take(1, &late).await.unwrap().outcome, Outcome::Known);
    }
}
