use super::world::{CONFIG, INDEX, MANIFEST, REDIS, REPO, RUNTIME_ID, World, asked, worlds};
use crate::api::{
    changes::Changes,
    containers::{self, Containers},
    images::Images,
    pods::{Pods, Workloads},
    sources::{self, Agents, Scopes, Sources},
    whereabouts::Whereabouts,
};

async fn ids(world: &World, query: &str) -> Vec<i64> {
    world.ask::<Containers>(1, query).await.items.iter().map(|container| container.id).collect()
}

#[tokio::test]
async fn each_filter_finds_its_containers() {
    for world in worlds().await {
        for (query, expected) in [
            ("", &[81, 82, 83, 84, 87, 88][..]),
            ("context=prod/web", &[81, 82, 87]),
            ("context=node-1/k8s.io", &[85]),
            ("context=nowhere", &[]),
            ("cluster=prod", &[81, 82, 83, 87]),
            ("cluster=h1", &[]),
            ("host=h1", &[84, 88]),
            ("host=node-1", &[81, 87]),
            ("host=node-2", &[82, 83]),
            ("node=node-1", &[81, 87]),
            ("node=h1", &[]),
            ("namespace=web", &[81, 82, 87]),
            ("namespace=web&context=node-1/k8s.io", &[85]),
            // The pod says that its namespace is another.
            ("namespace=k8s.io", &[]),
            ("owner=web", &[81, 82, 87]),
            ("owner=Deployment/web", &[81, 82, 87]),
            ("owner=StatefulSet/web", &[]),
            ("label=app", &[81, 82, 84, 87]),
            ("label=app%3Ddb", &[84]),
            ("label=app%3Dweb&label=tier%3Da%3Db", &[81, 82, 87]),
            ("label=app%3Dweb&label=tier%3Da", &[]),
            ("state=running", &[81, 83, 84, 88]),
            ("state=waiting", &[82]),
            ("kind=init", &[87]),
            ("coverage=partial", &[83]),
            ("repository=nginx", &[81, 82, 84, 87]),
            ("repository=docker.io/library/redis", &[83, 88]),
            ("repository=reg.example/x/cache", &[88]),
            ("repository=nginx&tag=1.25", &[81, 82, 84, 87]),
            ("repository=nginx&tag=2", &[]),
            ("tag=7", &[83]),
            ("status=stale", &[83, 84, 87, 88]),
            ("status=present", &[81, 82]),
            ("status=gone", &[86]),
            ("status=all", &[81, 82, 83, 84, 86, 87, 88]),
            ("status=all&label=app", &[81, 82, 84, 87]),
            ("status=all&node=node-1", &[81, 87]),
            ("status=all&owner=web", &[81, 82, 87]),
            ("cluster=prod&state=running&repository=redis", &[83]),
        ] {
            assert_eq!(ids(&world, query).await, expected, "{query}");
        }
        for (digest, expected) in [
            (INDEX, &[81, 82, 84, 87][..]),
            (MANIFEST, &[81, 82, 84, 87]),
            (CONFIG, &[81, 82, 84, 87]),
            (REPO, &[81, 82, 84, 87]),
            (REDIS, &[83, 88]),
        ] {
            assert_eq!(ids(&world, &format!("digest={digest}")).await, expected, "{digest}");
        }
    }
}

#[tokio::test]
async fn what_several_sources_see_is_one_line_that_names_them() {
    for world in worlds().await {
        let page = world.ask::<Containers>(1, "limit=1").await;
        let container = &page.items[0];
        assert_eq!((container.id, container.runtime_id.as_deref()), (81, Some(RUNTIME_ID)));
        let seen: Vec<_> = container.seen.iter().map(|seen| (seen.source, seen.scope, seen.status.as_str())).collect();
        assert_eq!(seen, [(1, 11, "present"), (3, 14, "present")]);
        // What has no identifier of the runtime is seen where it is.
        let alone = containers::one(&world.app, 1, 84).await.unwrap();
        assert_eq!(alone.seen.len(), 1);
        // Without the cluster's word, the node's is shown.
        world.run("UPDATE container SET gone_at = 7 WHERE id = 81").await;
        assert!(ids(&world, "").await.contains(&85));
    }
}

#[tokio::test]
async fn a_line_says_all_that_is_known() {
    for world in worlds().await {
        let container = containers::one(&world.app, 1, 81).await.unwrap();
        let line = serde_json::to_value(&container).unwrap();
        for (pointer, expected) in [
            ("/image", "nginx:1.25"),
            ("/image_identity", MANIFEST),
            ("/digests/index/digest", INDEX),
            ("/digests/index/from", "a_test"),
            ("/pod/name", "web-1"),
            ("/pod/namespace", "web"),
            ("/owner/kind", "Deployment"),
            ("/node", "node-1"),
            ("/cluster", "prod"),
            ("/context", "prod/web"),
            ("/pod_labels/app", "web"),
            ("/state", "running"),
            ("/first_seen_at", "1970-01-01T00:00:00.005Z"),
        ] {
            assert_eq!(line.pointer(pointer).and_then(|value| value.as_str()), Some(expected), "{pointer}");
        }
        assert_eq!(containers::one(&world.app, 1, 4).await.unwrap_err().status, 404);
    }
}

#[tokio::test]
async fn no_answer_leaves_its_account() {
    for world in worlds().await {
        assert_eq!(world.ask::<Containers>(2, "").await.items.len(), 1);
        for query in ["context=prod/web", "node=node-1", "label=app", "repository=nginx", "namespace=web", "status=all"]
        {
            let page = world.ask::<Containers>(2, query).await;
            assert_eq!(page.items.iter().map(|container| container.id).collect::<Vec<_>>(), [181], "{query}");
            assert_eq!(page.items[0].seen.len(), 1, "{query}");
        }
        let other = containers::one(&world.app, 2, 81).await;
        assert_eq!(other.unwrap_err().status, 404);
        assert_eq!(world.ask::<Whereabouts>(2, &format!("image={CONFIG}")).await.items.len(), 1);
        assert_eq!(world.ask::<Images>(2, "").await.items.len(), 1);
        assert_eq!(world.ask::<Pods>(2, "").await.items.len(), 1);
        assert_eq!(world.ask::<Workloads>(2, "").await.items.len(), 0);
        assert_eq!(world.ask::<Changes>(2, "").await.items.len(), 1);
        assert_eq!(sources::change(&world.app, 2, 1, br#"{"image_ttl_days":1}"#).await.unwrap_err().status, 404);
        assert!(world.ask::<Sources>(1, "").await.items.iter().all(|source| source.image_ttl_days.is_none()));
        assert_eq!(world.ask::<Agents>(3, "").await.items.len(), 0);
    }
}

#[tokio::test]
async fn where_an_image_is_and_what_tells_it() {
    for world in worlds().await {
        for (image, expected) in [
            (INDEX, &[(41, "index_digest"), (43, "same_config"), (44, "index_digest")][..]),
            (MANIFEST, &[(41, "manifest_digest"), (43, "same_config"), (44, "manifest_digest")]),
            (CONFIG, &[(41, "config_digest"), (43, "config_digest"), (44, "config_digest")]),
            (&CONFIG[7..], &[(41, "config_digest"), (43, "config_digest"), (44, "config_digest")]),
            (REPO, &[(41, "same_config"), (43, "repo_digest"), (44, "same_config")]),
            (REDIS, &[(42, "manifest_digest"), (45, "manifest_digest")]),
            ("nginx:1.25", &[(41, "name"), (43, "name"), (44, "name")]),
            ("docker.io/library/nginx", &[(41, "name"), (43, "name"), (44, "name")]),
            ("redis", &[(42, "name"), (45, "tag")]),
            ("redis:stable", &[(42, "tag"), (45, "tag")]),
            ("nginx:9", &[]),
        ] {
            let page = world.ask::<Whereabouts>(1, &format!("image={image}")).await;
            let found: Vec<_> = page.items.iter().map(|found| (found.id, found.found_by.unwrap())).collect();
            assert_eq!(found, expected, "{image}");
        }
        let page = world.ask::<Whereabouts>(1, "image=redis&status=all").await;
        let statuses: Vec<_> = page.items.iter().map(|found| (found.id, found.whence.status.as_str())).collect();
        assert_eq!(statuses, [(42, "stale"), (45, "stale"), (46, "gone")]);
        assert_eq!(page.items[0].containers, 1);
        for query in ["", "image=%20", "image=A@b"] {
            let asked = asked::<Whereabouts>(query).unwrap();
            let refused = <Whereabouts as crate::api::answer::View>::page(&world.app, 1, &asked).await;
            assert_eq!(refused.unwrap_err().status, 400, "{query}");
        }
    }
}

#[tokio::test]
async fn images_are_told_by_identity() {
    for world in worlds().await {
        let page = world.ask::<Images>(1, "").await;
        let images: Vec<_> =
            page.items.iter().map(|image| (image.identity.as_str(), image.containers, image.contexts)).collect();
        // One of nginx's five rows is of a container that the cluster tells of.
        assert_eq!(images, [(MANIFEST, 4, 3), (REDIS, 2, 2)]);
        let containers = async |query: &str| world.ask::<Images>(1, query).await.items[0].containers;
        for (query, expected) in [("context=node-1/k8s.io", 1), ("cluster=prod", 3), ("repository=nginx", 4)] {
            assert_eq!(containers(query).await, expected, "{query}");
        }
        // The node knows it by another name: under that, the cluster's row does not stand for the node's.
        world.run("UPDATE image_use SET name_id = 33 WHERE account_id = 1 AND id = 44").await;
        assert_eq!((containers("tag=2").await, containers("tag=1.25").await, containers("").await), (1, 4, 4));
        world.run("UPDATE image_use SET name_id = 31 WHERE account_id = 1 AND id = 44").await;
        // Whichever of what is shared and what is asked about there is more of.
        let many: Vec<String> = (0..20).map(|n| format!("(1, {})", world.blob(&[3, n]))).collect();
        world.run(&format!("INSERT INTO shared_container VALUES {}", many.join(","))).await;
        assert_eq!(containers("").await, 4);
        assert_eq!(page.items[1].names.iter().collect::<Vec<_>>(), ["redis:7", "reg.example/x/cache:2"]);
        for (query, expected) in [
            ("context=prod/web", &[MANIFEST][..]),
            ("cluster=prod", &[MANIFEST, REDIS]),
            ("repository=redis", &[REDIS]),
            ("tag=2", &[REDIS]),
            ("status=gone", &[REDIS]),
            ("coverage=partial", &[REDIS]),
            (&format!("digest={REPO}"), &[MANIFEST]),
        ] {
            let page = world.ask::<Images>(1, query).await;
            assert_eq!(page.items.iter().map(|image| image.identity.as_str()).collect::<Vec<_>>(), expected, "{query}");
        }
        let (all, pages) = world.all::<Images>("limit=1").await;
        assert_eq!((all.len(), pages), (2, 2));
    }
}

#[tokio::test]
async fn each_filter_finds_its_pods_and_workloads() {
    for world in worlds().await {
        for (query, expected) in [
            ("", &["web-1", "web-2", "db-0", "web-1"][..]),
            ("cluster=prod", &["web-1", "web-2", "db-0"]),
            ("context=prod/db", &["db-0"]),
            ("namespace=web", &["web-1", "web-2", "web-1"]),
            ("namespace=k8s.io", &[]),
            ("node=node-2", &["web-2", "db-0"]),
            ("host=node-1", &["web-1", "web-1"]),
            ("label=app%3Dweb", &["web-1", "web-2"]),
            ("owner=StatefulSet/db", &["db-0"]),
            ("coverage=partial", &["db-0"]),
            ("status=stale", &["db-0"]),
            ("sort=-name&cluster=prod", &["web-2", "web-1", "db-0"]),
        ] {
            let page = world.ask::<Pods>(1, query).await;
            assert_eq!(page.items.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), expected, "{query}");
        }
        for (query, expected) in [
            ("", &["web", "db"][..]),
            ("kind=Deployment", &["web"]),
            ("owner=Deployment/web", &["web"]),
            ("namespace=db", &["db"]),
            ("cluster=prod", &["web", "db"]),
            ("context=prod/web", &["web"]),
            ("status=gone", &[]),
        ] {
            let page = world.ask::<Workloads>(1, query).await;
            assert_eq!(page.items.iter().map(|owner| owner.name.as_str()).collect::<Vec<_>>(), expected, "{query}");
        }
    }
}

#[tokio::test]
async fn sources_and_their_agents_are_told_silent() {
    for world in worlds().await {
        let agents = world.ask::<Agents>(1, "").await.items;
        let silent: Vec<_> = agents.iter().map(|agent| (agent.uuid.as_str(), agent.silent)).collect();
        assert_eq!(silent, [("a1", false), ("a2", true), ("a3", false)]);
        let sources = world.ask::<Sources>(1, "host=h1").await.items;
        assert_eq!(sources.iter().map(|source| (source.id, source.silent)).collect::<Vec<_>>(), [(2, true)]);
        let scopes = world.ask::<Scopes>(1, "").await.items;
        let statuses: Vec<_> = scopes.iter().map(|scope| (scope.context.as_str(), scope.status.as_str())).collect();
        let expected = [("prod/web", "present"), ("prod/db", "stale"), ("h1", "stale"), ("node-1/k8s.io", "present")];
        assert_eq!(statuses, expected);
        assert_eq!(world.ask::<Scopes>(1, "namespace=db&coverage=partial").await.items.len(), 1);
        assert_eq!(world.ask::<Scopes>(1, "status=stale&cluster=prod").await.items.len(), 1);
    }
}

#[tokio::test]
async fn changes_come_in_their_order() {
    for world in worlds().await {
        let page = world.ask::<Changes>(1, "").await;
        let told: Vec<_> = page.items.iter().map(|change| (change.id, change.change, change.entity)).collect();
        let expected = [
            (1, "appeared", "container"),
            (2, "disappeared", "container"),
            (3, "disappeared", "image"),
            (4, "changed", "container"),
            (5, "appeared", "container"),
        ];
        assert_eq!(told, expected);
        assert_eq!(page.items[1].container.as_ref().map(|container| container.name.as_str()), Some("old"));
        assert_eq!(page.items[2].image.as_ref().map(|image| image.image.as_str()), Some("redis:7"));
        // Its row is no more.
        assert!(page.items[4].container.is_none());
        let (all, pages) = world.all::<Changes>("limit=2").await;
        assert_eq!((all.iter().map(|change| change.id).collect::<Vec<_>>(), pages), (vec![1, 2, 3, 4, 5], 3));
        let since = jiff::Timestamp::from_millisecond(world.now - super::world::DAY).unwrap();
        for (query, expected) in [
            (format!("since={since}"), &[2, 3, 4, 5][..]),
            (format!("until={since}"), &[1]),
            (format!("since={since}&context=prod/db"), &[4, 5]),
            ("since=2100-01-01T00:00:00Z".to_owned(), &[]),
        ] {
            let found: Vec<_> = world.ask::<Changes>(1, &query).await.items.iter().map(|change| change.id).collect();
            assert_eq!(found, expected, "{query}");
        }
    }
}

#[tokio::test]
async fn a_container_belongs_to_what_its_pod_belongs_to_now() {
    for world in worlds().await {
        // As if written before its pod had another owner: its own is not said.
        world.run("UPDATE container SET workload_id = NULL").await;
        assert_eq!(ids(&world, "owner=web").await, [81, 82, 87]);
        world.run("UPDATE workload SET name = 'shop' WHERE account_id = 1 AND name = 'web'").await;
        assert_eq!(ids(&world, "owner=web").await, [0; 0]);
        assert_eq!(ids(&world, "owner=shop").await, [81, 82, 87]);
        let page = world.ask::<Workloads>(1, "owner=shop").await;
        assert_eq!(page.items[0].containers, 3);
    }
}

#[tokio::test]
async fn changes_of_a_context_that_many_scopes_have_are_told() {
    for world in worlds().await {
        let scope = |id: i64| {
            format!("(1, {id}, 2, 2, 'c{id}', 'docker', 'host', 'h{id}', 'raspberrypi', 'complete', '', 1, 1, 1, 1)")
        };
        let event = |id: i64| format!("(1, {id}, 1, 1, 1, 999, {id}, NULL)");
        for (first, count) in [(1000, 3), (2000, 600)] {
            let ids = first..first + count;
            let (scopes, events): (Vec<String>, Vec<String>) = ids.map(|id| (scope(id), event(id))).unzip();
            world
                .run(&format!(
                    "INSERT INTO scope (account_id, id, place_id, source_id, collector, kind, scope_kind, name, context, coverage, counts, \
                     follows, seen_at, first_seen_at, changed_at) VALUES {}; INSERT INTO event VALUES {}",
                    scopes.join(","),
                    events.join(",")
                ))
                .await;
            let page = world.ask::<Changes>(1, "context=raspberrypi&limit=3").await;
            assert_eq!(page.items.iter().map(|change| change.id).collect::<Vec<_>>(), [1000, 1001, 1002]);
        }
    }
}
