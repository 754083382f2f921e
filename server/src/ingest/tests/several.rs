//! Several replicas with reports of one agent, and several agents that see the same.

use super::*;

#[tokio::test]
async fn two_replicas_that_take_the_reports_of_one_agent_leave_nothing_out_and_nothing_double() {
    for database in databases().await {
        let replicas = [Ingest::new(database.clone()), Ingest::new(database.clone())];
        let mut agent = Made::new(1);
        let mut model = BTreeMap::new();
        let mut random = fastrand::Rng::with_seed(3);
        for _ in 0..30 {
            let mut unconfirmed = BTreeSet::new();
            let now = model.get("a").cloned().unwrap_or_default();
            let told = tell(&mut random, "a", now, &mut model, &mut unconfirmed);
            if !told.1.is_complete() {
                model = BTreeMap::new();
            }
            let incoming = agent.report(&[told], Coverage::Complete);
            let (one, other) = tokio::join!(replicas[0].take(1, &incoming), replicas[1].take(1, &incoming));
            let mut outcomes = [one.unwrap().outcome, other.unwrap().outcome];
            outcomes.sort_by_key(|outcome| format!("{outcome:?}"));
            assert_eq!(outcomes, [Outcome::Accepted, Outcome::Known]);
            check_events(&database).await;
            check_uses(&database).await;
        }
    }
}

#[tokio::test]
async fn an_agent_takes_over_what_it_sees_and_takes_nothing_away_that_another_told_of() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, "nginx:1".to_owned()))]);
        let namespace = |name: &str| (ScopeId::namespace(name), Coverage::Complete, Some(scope(&pods)));
        let mut former = Made::new(1);
        ingest.take(1, &former.report(&[namespace("a"), namespace("b")], Coverage::Complete)).await.unwrap();
        let mut heir = Made::new(2);
        heir.now = former.now + SignedDuration::from_secs(120);
        // Its list is complete by its own settings.
        ingest.take(1, &heir.report(&[namespace("a")], Coverage::Complete)).await.unwrap();
        assert_eq!(rows(&database).await.0.len(), 2);
        // An older look of the former one does not undo the later one.
        let late =
            former.report(&[(ScopeId::namespace("a"), Coverage::Complete, Some(Scope::default()))], Coverage::Complete);
        assert!(late.report.created_at < heir.now);
        ingest.take(1, &late).await.unwrap();
        let present: Vec<_> = rows(&database).await.0.into_keys().map(|(scope, _)| scope).collect();
        assert_eq!(present, ["a"], "b was the former one's to take away, and a is the heir's");
        // One that sees nothing takes nothing over.
        let denied = (ScopeId::namespace("a"), Coverage::Denied { reason: "forbidden".into() }, None);
        former.now = heir.now + SignedDuration::from_secs(60);
        ingest.take(1, &former.report(&[denied], Coverage::Complete)).await.unwrap();
        let coverage: String =
            sqlx::query_scalar("SELECT coverage FROM scope WHERE name = 'a'").fetch_one(database.pool()).await.unwrap();
        assert_eq!(coverage, "complete");
        check_events(&database).await;
    }
}

#[tokio::test]
async fn two_agents_of_one_cluster_that_report_at_once_leave_what_was_seen_last() {
    for database in databases().await {
        let replicas = [Ingest::new(database.clone()), Ingest::new(database.clone())];
        let mut agents = [Made::new(1), Made::new(2)];
        let mut random = fastrand::Rng::with_seed(5);
        for round in 0..40 {
            // Either of them may have looked last.
            let looks = if random.bool() { [1, 2] } else { [2, 1] };
            let mut seen = Vec::new();
            for (agent, second) in agents.iter_mut().zip(looks) {
                agent.now =
                    Timestamp::now() - SignedDuration::from_hours(2) + SignedDuration::from_secs(round * 100 + second);
                let mut pods: [Pods; 3] = Default::default();
                for held in &mut pods {
                    for number in 0..random.u8(1..6) {
                        held.insert(
                            format!("web-{number}"),
                            (ContainerState::Running, format!("nginx:{}", random.u8(..3))),
                        );
                    }
                }
                let told: Vec<Told> = ["a", "b", "c"]
                    .iter()
                    .zip(&pods)
                    .map(|(name, pods)| (ScopeId::namespace(*name), Coverage::Complete, Some(scope(pods))))
                    .collect();
                seen.push((agent.report(&told, Coverage::Complete), pods));
            }
            let (one, other) = tokio::join!(replicas[0].take(1, &seen[0].0), replicas[1].take(1, &seen[1].0));
            assert_eq!((one.unwrap().outcome, other.unwrap().outcome), (Outcome::Accepted, Outcome::Accepted));
            let last = &seen[usize::from(looks[1] > looks[0])].1;
            let expected = ["a", "b", "c"].iter().zip(last).flat_map(|(name, pods)| {
                pods.iter().map(move |(pod, row)| (((*name).to_owned(), pod.clone()), row.clone()))
            });
            assert_eq!(rows(&database).await.0, expected.collect(), "round {round}");
            check_events(&database).await;
            check_uses(&database).await;
        }
    }
}

/// Containers whose identifiers a runtime has drawn.
fn drawn(numbers: impl Iterator<Item = u32>) -> Scope {
    let pods = numbers.map(|number| (number.to_string(), (ContainerState::Running, "nginx:1".to_owned()))).collect();
    let mut scope = scope(&pods);
    for container in &mut scope.containers {
        let pod: u32 = container.pod_uid.as_deref().unwrap().parse().unwrap();
        container.id = Some(format!("{pod:064x}").into());
    }
    scope
}

#[tokio::test]
async fn containers_that_several_sources_see_are_noted_whoever_comes_first() {
    for database in databases().await {
        let replicas = [Ingest::new(database.clone()), Ingest::new(database.clone())];
        let (mut cluster, mut node) = (Made::new(1), Made::new(2));
        for round in 0..20 {
            // All but one of the cluster's run on the node, which has one more; all of them are new.
            let first = 100 * round;
            let told = |numbers| (ScopeId::namespace("a"), Coverage::Complete, Some(drawn(numbers)));
            let of_cluster = cluster.report(&[told(first..first + 10)], Coverage::Complete);
            let mut of_node = node.report(&[told(first + 1..first + 11)], Coverage::Complete);
            let source = &mut of_node.report.sources[0];
            (source.cluster, source.collector, source.kind) = (None, "containerd".into(), "containerd".into());
            source.host = Some(Host { machine_id: Some("m-1".into()), hostname: Some("node-1".into()) });
            of_node.manifest = None;
            let (one, other) = tokio::join!(replicas[0].take(1, &of_cluster), replicas[1].take(1, &of_node));
            assert_eq!((one.unwrap().outcome, other.unwrap().outcome), (Outcome::Accepted, Outcome::Accepted));
            let noted = sqlx::query_scalar("SELECT runtime_id FROM shared_container").fetch_all(database.pool());
            let noted: BTreeSet<Vec<u8>> = noted.await.unwrap().into_iter().collect();
            let expected = (0..=round).flat_map(|round| 100 * round + 1..100 * round + 10);
            assert_eq!(noted, expected.map(|number| words::pack(&format!("{number:064x}"))).collect(), "{round}");
        }
    }
}

#[tokio::test]
async fn a_container_that_comes_back_has_two_rows_of_one_source() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agent = Made::new(1);
        for numbers in [1..3, 2..3, 1..3] {
            let told = (ScopeId::namespace("a"), Coverage::Complete, Some(drawn(numbers)));
            ingest.take(1, &agent.report(&[told], Coverage::Complete)).await.unwrap();
        }
        let noted = sqlx::query_scalar("SELECT runtime_id FROM shared_container").fetch_all(database.pool());
        let noted: Vec<Vec<u8>> = noted.await.unwrap();
        assert_eq!(noted, [words::pack(&format!("{:064x}", 1))]);
    }
}
