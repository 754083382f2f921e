//! What people are answered.

use std::{io::Write as _, time::Duration};

use axum::http::StatusCode;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::future::join_all;

use super::*;
use crate::config::AgentlessSettings;

/// What the database has, as text.
async fn stored(served: &Served) -> String {
    let mut text = Vec::new();
    let rows = sqlx::query("SELECT destination, selection, credential, key_id FROM agentless ORDER BY id");
    for row in rows.fetch_all(served.app.database.pool()).await.unwrap() {
        for column in ["destination", "selection", "key_id"] {
            let value: Option<String> = sqlx::Row::try_get(&row, column).unwrap();
            writeln!(text, "{}", value.unwrap_or_default()).unwrap();
        }
        let bytes: Option<Vec<u8>> = sqlx::Row::try_get(&row, "credential").unwrap();
        text.extend(bytes.unwrap_or_default());
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn a_source_is_made_told_changed_and_removed_and_its_secret_is_nowhere() {
    for served in Served::all().await {
        let admin = admin();
        let made = add(&served, nobody("prod")).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        let json = made.json();
        assert_eq!((&json["interval_seconds"], &json["enabled"]), (&json!(300), &json!(true)));
        assert_eq!(json["kubernetes"]["credential_type"], "token");
        assert_eq!((&json["status"]["coverage"], &json["status"]["looking"]), (&Value::Null, &json!(false)));
        assert_eq!(add(&served, nobody("prod")).await.status, StatusCode::CONFLICT);

        let path = &format!("{SOURCES}/prod");
        let change = json!({"interval_seconds": 60, "enabled": false});
        let changed = served.ask("PATCH", path, &admin, change).await;
        assert_eq!((changed.status, &changed.json()["interval_seconds"]), (StatusCode::OK, &json!(60)));
        assert_eq!(changed.json()["status"]["next_look_at"], Value::Null, "it is not looked at");
        let tested = served.ask("POST", &format!("{path}/test"), &admin, Value::Null).await;
        assert_eq!((tested.status, &tested.json()["coverage"]), (StatusCode::OK, &json!("failed")), "{}", tested.text);

        let (all, one) = (served.get(SOURCES, &admin).await, served.get(path, &admin).await);
        assert_eq!(all.json()["items"], json!([one.json()]));
        let audit = served.get("/v1/audit", &admin).await;
        for action in ["agentless.create", "agentless.change", "agentless.test"] {
            assert!(audit.text.contains(action), "{}", audit.text);
        }
        assert!(stored(&served).await.contains("https://127.0.0.1:1"));
        for text in [&made.text, &changed.text, &tested.text, &all.text, &audit.text, &stored(&served).await] {
            assert!(!text.contains(TOKEN), "{text}");
        }
        let gone = served.ask("DELETE", path, &admin, Value::Null).await;
        assert_eq!(gone.status, StatusCode::NO_CONTENT);
        for (method, path) in [("GET", path.as_str()), ("DELETE", path), ("POST", &format!("{path}/test"))] {
            assert_eq!(served.ask(method, path, &admin, Value::Null).await.status, StatusCode::NOT_FOUND, "{path}");
        }
        assert!(served.get("/v1/audit", &admin).await.text.contains("/v1/agentless/sources/prod"));
    }
}

#[tokio::test]
async fn a_credential_goes_nowhere_else_than_it_was_meant_for() {
    for served in Served::all().await {
        add(&served, nobody("prod")).await;
        let path = &format!("{SOURCES}/prod");
        let to = async |cluster: Value| served.ask("PATCH", path, &admin(), json!({"kubernetes": cluster})).await;
        let same = json!({"server": "https://127.0.0.1:1", "insecure_skip_tls_verify": true, "cluster_objects": false});
        let kept = to(same.clone()).await;
        assert_eq!((kept.status, &kept.json()["kubernetes"]["cluster_objects"]), (StatusCode::OK, &json!(false)));
        for (key, value) in [
            ("server", json!("https://127.0.0.1:2")),
            ("proxy_url", json!("http://127.0.0.1:3")),
            ("tls_server_name", json!("evil.example")),
        ] {
            let mut other = same.clone();
            other[key] = value;
            let refused = to(other.clone()).await;
            assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{key}: {}", refused.text);
            assert!(refused.text.contains("say it again"), "{}", refused.text);
            other["token"] = json!("another");
            assert_eq!(to(other).await.status, StatusCode::OK, "{key}");
            let mut back = same.clone();
            back["token"] = json!(TOKEN);
            assert_eq!(to(back).await.status, StatusCode::OK);
        }
        // Nor does it help to change the row.
        let text = "UPDATE agentless SET destination = replace(destination, '127.0.0.1:1', '127.0.0.1:4')";
        sqlx::query(text).execute(served.app.database.pool()).await.unwrap();
        let tested = served.ask("POST", &format!("{path}/test"), &admin(), Value::Null).await;
        assert_eq!(tested.status, StatusCode::CONFLICT, "{}", tested.text);
    }
}

#[tokio::test]
async fn what_cannot_be_looked_at_is_refused_with_what_is_wrong() {
    let served = Served::all().await.swap_remove(0);
    let refused = async |source: Value, part: &str| {
        for path in [SOURCES, "/v1/agentless/test"] {
            let answer = served.ask("POST", path, &admin(), source.clone()).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{source}: {}", answer.text);
            assert!(answer.text.contains(part), "{source}: {}", answer.text);
            assert!(!answer.text.contains(TOKEN), "{}", answer.text);
        }
    };
    let cluster = |more: Value| {
        let mut source = nobody("prod");
        source["kubernetes"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        source
    };
    refused(json!({"name": "x"}), "neither `kubernetes` nor `docker`").await;
    refused(json!({"name": "", "kubernetes": nobody("x")["kubernetes"]}), "a name has").await;
    refused(json!({"name": "x", "kubernetes": {"token": TOKEN}}), "neither `server` nor `kubeconfig`").await;
    refused(json!({"name": "x", "kubernetes": {"server": "https://a"}}), "no credential").await;
    refused(json!({"name": "x", "kubernetes": {"tokn": TOKEN}}), "unknown field `tokn`").await;
    refused(json!({"name": "x", "kubernetes": {"server": "https://a", "token": [TOKEN]}}), "see `kubernetes.token`")
        .await;
    refused(json!({"name": "x", "kubernetes": TOKEN}), "see `kubernetes`").await;
    refused(cluster(json!({"server": "http://127.0.0.1:1"})), "begins with `https://`").await;
    refused(cluster(json!({"server": "https://jo:pw@a"})), "user name or password").await;
    refused(cluster(json!({"proxy_url": "http://jo:pw@a"})), "`proxy_url`").await;
    refused(cluster(json!({"client_key": TOKEN})), "leave out one of them").await;
    refused(cluster(json!({"kubeconfig": "x"})), "leave out one of them").await;
    refused(cluster(json!({"certificate_authority": "no PEM"})), "certificate").await;
    refused(cluster(json!({"namespaces": {"include": ["/(/"]}})), "not a valid pattern").await;
    let exec = "clusters: [{name: a, cluster: {server: 'https://a'}}]\nusers: [{name: b, user: {exec: {command: sh}}}]\n\
                contexts: [{name: c, context: {cluster: a, user: b}}]\ncurrent-context: c\n";
    refused(json!({"name": "x", "kubernetes": {"kubeconfig": exec}}), "asks for a program").await;
    refused(json!({"name": "x", "kubernetes": {"kubeconfig": exec.replace("exec: {command: sh}", "tokenFile: /etc/passwd")}}), "names a file")
        .await;
    let daemon = |host: &str| json!({"name": "x", "docker": {"host": host, "certificate_authority": "no PEM"}});
    refused(daemon("unix:///var/run/docker.sock"), "begins with `tcp://`").await;
    refused(daemon("tcp://127.0.0.1:1"), "no certificate").await;
    let mut often = nobody("x");
    often["interval_seconds"] = json!(5);
    let answer = add(&served, often).await;
    assert!(answer.text.contains("expected 30 to 86400"), "{}", answer.text);
}

#[tokio::test]
async fn a_key_that_is_not_pem_is_not_repeated() {
    let served = Served::all().await.swap_remove(0);
    let made = rcgen::generate_simple_self_signed(["jo".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem().replace('\n', " "));
    let docker = json!({"host": "tcp://127.0.0.1:1", "certificate_authority": certificate, "client_certificate": certificate,
        "client_key": key});
    let cluster = json!({"server": "https://127.0.0.1:1", "client_certificate": certificate, "client_key": key});
    for source in [json!({"name": "x", "docker": docker}), json!({"name": "x", "kubernetes": cluster})] {
        let answer = add(&served, source).await;
        assert!(answer.status == StatusCode::BAD_REQUEST && answer.text.contains("cannot be used"), "{}", answer.text);
        let bytes = format!("{:?}", key.as_bytes());
        assert!(!answer.text.contains(&key[30..50]) && !answer.text.contains(&bytes[1..20]), "{}", answer.text);
    }
}

#[tokio::test]
async fn who_hangs_up_has_tried_all_the_same() {
    let served = Served::all().await.swap_remove(0);
    let cluster = Cluster::new().await;
    cluster.set(cluster::HANGS);
    let (admin, body) = (admin(), source(&cluster, "prod"));
    let test = served.ask("POST", "/v1/agentless/test", &admin, body);
    let recorded = async {
        while !served.get("/v1/audit", &admin).await.text.contains("agentless.test") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // Whoever asked hangs up here.
    tokio::select! {
        answer = test => panic!("it hangs: {}", answer.text),
        () = recorded => {}
    }
    assert!(served.get("/v1/audit", &admin).await.text.contains("agentless.test"));
}

#[tokio::test]
async fn an_account_that_tries_much_leaves_others_their_turn() {
    let served = Served::all().await.swap_remove(0);
    let other = served.account("other").await;
    let cluster = Cluster::new().await;
    cluster.set(cluster::HANGS);
    let (admin, path) = (admin(), "/v1/agentless/test");
    let tests = (0..5).map(|_| served.ask("POST", path, &admin, source(&cluster, "prod")));
    let another = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        served.ask("POST", path, other.with("admin"), nobody("prod")).await
    };
    tokio::select! {
        _ = join_all(tests) => panic!("others were not waited for"),
        answer = tokio::time::timeout(Duration::from_secs(20), another) => {
            assert_eq!(answer.expect("it has its turn").status, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn there_is_an_end_to_how_much_is_kept() {
    for served in Served::all().await {
        let mut large = nobody("large");
        large["kubernetes"]["certificate_authority"] = json!("x".repeat((256 << 10) + 1));
        let refused = add(&served, large).await;
        assert!(refused.status == StatusCode::BAD_REQUEST && refused.text.contains("bytes"), "{}", refused.text);
        let mut large = nobody("large");
        large["kubernetes"]["token"] = json!("x".repeat((256 << 10) + 1));
        let refused = add(&served, large).await;
        assert!(refused.status == StatusCode::BAD_REQUEST && refused.text.contains("bytes"), "{}", refused.text);
        add(&served, nobody("first")).await;
        let columns = "kind, destination, selection, interval_seconds, enabled, created_at, updated_at, next_at";
        let text = format!(
            "INSERT INTO agentless (account_id, id, name, {columns}) WITH RECURSIVE n(i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 998) SELECT account_id, -i, name || i, {columns} FROM agentless, n"
        );
        sqlx::query(sqlx::AssertSqlSafe(text)).execute(served.app.database.pool()).await.unwrap();
        assert_eq!(add(&served, nobody("thousandth")).await.status, StatusCode::CREATED);
        let refused = add(&served, nobody("another")).await;
        assert!(refused.status == StatusCode::CONFLICT && refused.text.contains("1000"), "{}", refused.text);
    }
}

#[tokio::test]
async fn link_local_addresses_and_the_server_itself_are_not_looked_at_by_default() {
    let served = Served::all().await.swap_remove(0);
    served.app.agentless.set(AgentlessSettings::default());
    for server in ["https://169.254.169.254", "https://127.0.0.1:6443", "https://[::1]:6443", "https://localhost:6443"]
    {
        let mut source = nobody("prod");
        source["kubernetes"]["server"] = json!(server);
        let tested = served.ask("POST", "/v1/agentless/test", &admin(), source).await;
        let reason = tested.json()["reason"].to_string();
        assert!(tested.status == StatusCode::OK && reason.contains("refused_networks"), "{server}: {}", tested.text);
    }
}

#[tokio::test]
async fn a_server_that_does_not_look_does_not_try_either() {
    for served in Served::all().await {
        assert_eq!(add(&served, nobody("prod")).await.status, StatusCode::CREATED);
        served.app.agentless.set(AgentlessSettings { looks_at_once: 0, ..AgentlessSettings::of_tests() });
        for (path, body) in [("/v1/agentless/test", nobody("other")), ("/v1/agentless/sources/prod/test", Value::Null)]
        {
            let refused = served.ask("POST", path, &admin(), body).await;
            let says = refused.json()["title"].to_string();
            assert!(refused.status == StatusCode::CONFLICT && says.contains("`looks_at_once = 0`"), "{}", refused.text);
        }
        assert!(!served.get("/v1/audit", &admin()).await.text.contains("agentless.test"), "nothing was tried");
        // Others look at what is kept.
        assert_eq!(add(&served, nobody("third")).await.status, StatusCode::CREATED);
    }
}

#[tokio::test]
async fn without_a_key_nothing_is_stored_and_it_says_what_to_do() {
    let served = Served::all().await.swap_remove(0);
    let app = crate::app::App { vault: crate::secrets::Vault::default(), ..served.app.clone() };
    let served = Served::again(app);
    let refused = add(&served, nobody("prod")).await;
    assert_eq!(refused.status, StatusCode::CONFLICT);
    assert!(refused.text.contains("openssl rand -base64 32"), "{}", refused.text);
    assert_eq!(served.get(SOURCES, &admin()).await.json()["items"], json!([]));
}

#[tokio::test]
async fn anchores_tools_are_answered_in_their_words() {
    const CLUSTERS: &str = "/v1/enterprise/inventories/clusters";
    for served in Served::all().await {
        let admin = admin();
        let ca = STANDARD.encode(Cluster::new().await.certificate());
        let cluster = json!({"cluster_name": "prod/eu", "inventory_type": "kubernetes", "cluster_config": {
            "credential_type": "token", "namespaces": ["shop", "team-a"], "cluster_server": "https://127.0.0.1:1",
            "cluster_certificate": ca, "credential": TOKEN}});
        let made = served.ask("POST", CLUSTERS, &admin, cluster.clone()).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.text);
        let mut told = cluster.clone();
        told["cluster_config"].as_object_mut().unwrap().remove("credential");
        assert_eq!(made.json(), told);
        let one = format!("{CLUSTERS}/prod%2Feu");
        assert_eq!(served.get(&one, &admin).await.json(), told);
        assert_eq!(served.get(CLUSTERS, &admin).await.json(), json!([told]));
        assert_eq!(served.get(&format!("{CLUSTERS}?inventory_type=kubernetes"), &admin).await.json(), json!([told]));
        assert_eq!(served.get(&format!("{CLUSTERS}?inventory_type=ecs"), &admin).await.json(), json!([]));
        let ours = served.get(&format!("{SOURCES}/prod%2Feu"), &admin).await.json();
        assert_eq!(ours["kubernetes"]["namespaces"]["include"], json!(["shop", "team-a"]));
        assert_eq!(ours["kubernetes"]["cluster_objects"], json!(false));

        let again = served.ask("POST", CLUSTERS, &admin, cluster.clone()).await;
        assert_eq!((again.status, &again.json()["httpcode"]), (StatusCode::CONFLICT, &json!(409)));
        for (key, value) in [
            ("cluster_certificate", json!("!")),
            ("credential", Value::Null),
            ("credential_type", json!("password")),
            ("cluster_server", json!("unix:///run/x")),
        ] {
            let mut wrong = cluster.clone();
            wrong["cluster_config"][key] = value;
            let answer = served.ask("POST", CLUSTERS, &admin, wrong).await;
            assert_eq!((answer.status, &answer.json()["code"]), (StatusCode::BAD_REQUEST, &json!(400)), "{key}");
            assert!(!answer.text.contains(TOKEN), "{}", answer.text);
        }
        let mut other = cluster.clone();
        other["inventory_type"] = json!("ecs");
        assert_eq!(served.ask("POST", CLUSTERS, &admin, other).await.status, StatusCode::BAD_REQUEST);
        assert_eq!(served.ask("DELETE", &one, &admin, Value::Null).await.status, StatusCode::NO_CONTENT);
        assert_eq!(served.get(&one, &admin).await.status, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_private_key_of_anchores_is_one_in_base64() {
    let served = Served::all().await.swap_remove(0);
    let made = rcgen::generate_simple_self_signed(["jo".to_owned()]).unwrap();
    let [certificate, key] = [made.cert.pem(), made.signing_key.serialize_pem()].map(|pem| STANDARD.encode(pem));
    let cluster = json!({"cluster_name": "prod", "cluster_config": {"credential_type": "private_key", "namespaces": ["all"],
        "cluster_server": "https://127.0.0.1:1", "cluster_certificate": certificate, "client_certificate": certificate,
        "credential": key}});
    let path = "/v1/enterprise/inventories/clusters";
    let answer = served.ask("POST", path, &admin(), cluster.clone()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(!answer.text.contains(&key));
    assert_eq!(answer.json()["cluster_config"]["client_certificate"], json!(certificate));
    assert_eq!(answer.json()["cluster_config"]["namespaces"], json!(["all"]));
    let mut without = cluster;
    without["cluster_name"] = json!("other");
    without["cluster_config"].as_object_mut().unwrap().remove("client_certificate");
    assert_eq!(served.ask("POST", path, &admin(), without).await.status, StatusCode::BAD_REQUEST);
}
