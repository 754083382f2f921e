//! Accounts, users, tokens, and the log.

use futures_util::future::join_all;

use super::*;
use crate::config::Limits;

#[tokio::test]
async fn the_first_start_makes_an_admin_and_later_ones_do_not() {
    for database in databases().await {
        let bed = bed(database);
        let password = bed.app.access.bootstrap(None).await.unwrap().unwrap();
        let password = password.expose_secret();
        assert!(password.len() >= 20);
        assert_eq!(bed.get("/admin", &basic("admin", password)).await.body, "admin");
        for again in [None, Some(PASSWORD.into()), Some("short".into())] {
            assert!(bed.app.access.bootstrap(again).await.unwrap().is_none());
        }
        assert_eq!(bed.status("/admin", &basic("admin", password)).await, StatusCode::OK);
        assert_eq!(bed.status("/admin", &admin()).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_token_may_be_made_before_the_first_start() {
    for database in databases().await {
        let access = Access::new(another(&database).await);
        let actor = Actor::command_line();
        let token = || NewToken { name: "host".to_owned(), role: Role::ReadOnly, expires_at: None };
        let refused = access.create_token(&actor, SYSTEM, token()).await;
        assert!(matches!(refused, Err(AccessError::Missing { what: "account", .. })), "{refused:?}");
        assert!(access.make_system().await.unwrap());
        let (_, secret) = access.create_token(&actor, SYSTEM, token()).await.unwrap();
        // Nor is a server left without an admin for somebody else who was made before.
        let jo = NewUser { name: "jo".to_owned(), password: "a long horse".into(), role: Role::ReadOnly };
        access.create_user(&actor, SYSTEM, jo).await.unwrap();
        let bed = bed(database);
        let password = bed.app.access.bootstrap(None).await.unwrap().unwrap();
        assert!(bed.app.access.bootstrap(None).await.unwrap().is_none(), "there is one now");
        assert!(!access.make_system().await.unwrap(), "it is there, as it will be each time but the first");
        let bearer = format!("Bearer {}", secret.expose_secret());
        assert_eq!(bed.get("/read", &bearer).await.body, "admin");
        assert_eq!(bed.status("/admin", &basic("admin", password.expose_secret())).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn of_many_servers_that_start_at_once_one_makes_the_admin() {
    for database in databases().await {
        let mut starting = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let access = Access::new(another(&database).await);
            starting.spawn(async move { access.bootstrap(None).await.unwrap() });
        }
        let made: Vec<_> = starting.join_all().await.into_iter().flatten().collect();
        assert_eq!(made.len(), 1);
        let bed = bed(database);
        assert_eq!(bed.status("/admin", &basic("admin", made[0].expose_secret())).await, StatusCode::OK);
        assert_eq!(bed.log("admin").await, ["(server) user.create admin admin"]);
    }
}

#[tokio::test]
async fn a_first_password_that_cannot_be_one_is_refused() {
    for database in databases().await {
        let access = Access::new(database);
        assert!(matches!(access.bootstrap(Some("short".into())).await, Err(AccessError::Password(_))));
    }
}

#[tokio::test]
async fn nobody_sees_or_changes_what_is_another_accounts() {
    for bed in beds().await {
        let (red, blue) = (bed.account("red").await, bed.account("blue").await);
        for who in [&red, &blue] {
            let body = json!({"name": "agent", "role": "inventory-agent"});
            assert_eq!(bed.post("/v1/tokens", who, body).await.status, StatusCode::CREATED);
        }
        assert_eq!(bed.get("/read", &red).await.body, "red");
        assert_eq!(names(&bed.get("/v1/users", &red).await), ["red-admin"]);
        assert!(!bed.get("/v1/audit", &red).await.body.to_string().contains("blue"));
        let change = json!({"role": "read-only"});
        let patch = bed.ask(Method::PATCH, "/v1/users/blue-admin", &red, "", Some(change)).await;
        assert_eq!(patch.status, StatusCode::NOT_FOUND);
        assert_eq!(bed.delete("/v1/users/blue-admin", &red).await, StatusCode::NOT_FOUND);
        assert_eq!(bed.delete("/v1/users/admin", &red).await, StatusCode::NOT_FOUND);
        // Both have one of this name.
        assert_eq!(bed.delete("/v1/tokens/agent", &red).await, StatusCode::NO_CONTENT);
        assert_eq!(bed.delete("/v1/tokens/agent", &red).await, StatusCode::NOT_FOUND);
        assert_eq!(names(&bed.get("/v1/tokens", &blue).await), ["agent"]);
        for (method, path) in
            [(Method::GET, "/v1/accounts"), (Method::POST, "/v1/accounts"), (Method::DELETE, "/v1/accounts/blue")]
        {
            let answer = bed.ask(method, path, &red, "", Some(json!({"name": "green"}))).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        }
        // A user's name is one within the server.
        let body = json!({"name": "blue-admin", "role": "admin", "password": PASSWORD});
        assert_eq!(bed.post("/v1/users", &red, body).await.status, StatusCode::CONFLICT);
    }
}

#[tokio::test]
async fn only_the_systems_admins_may_name_another_account() {
    for bed in beds().await {
        let (red, _) = (bed.account("red").await, bed.account("blue").await);
        let reader = bed.user("admin", "reader", Role::ReadOnly).await;
        let status = async |who: &str, account: &str| bed.ask(Method::GET, "/read", who, account, None).await.status;
        assert_eq!(status(&red, "red").await, StatusCode::OK);
        assert_eq!(status(&reader, "admin").await, StatusCode::OK);
        for (who, account) in [(&red, "blue"), (&red, "admin"), (&red, "none"), (&reader, "red")] {
            assert_eq!(status(who, account).await, StatusCode::FORBIDDEN, "{account}");
        }
        let none = bed.ask(Method::GET, "/read", &admin(), "none", None).await;
        assert_eq!(
            (none.status, &none.body["type"]),
            (StatusCode::NOT_FOUND, &json!(crate::access::error::NO_SUCH_ACCOUNT))
        );
        assert_eq!(bed.ask(Method::GET, "/read", &admin(), "red", None).await.body, "red");
        let body = json!({"name": "new", "role": "read-only", "password": PASSWORD});
        assert_eq!(bed.ask(Method::POST, "/v1/users", &admin(), "red", Some(body)).await.status, StatusCode::CREATED);
        assert_eq!(names(&bed.get("/v1/users", &red).await), ["new", "red-admin"]);
        assert_eq!(bed.log("red").await.last().unwrap(), "admin/admin user.create new read-only");
        // Accounts are not those of the account that is named.
        assert_eq!(bed.ask(Method::GET, "/v1/accounts", &admin(), "red", None).await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn the_last_admin_stays() {
    for bed in beds().await {
        let demote = async |name: &str, who: &str| {
            let change = Some(json!({"role": "read-write"}));
            bed.ask(Method::PATCH, &format!("/v1/users/{name}"), who, "", change).await.status
        };
        assert_eq!(demote("admin", &admin()).await, StatusCode::CONFLICT);
        assert_eq!(bed.delete("/v1/users/admin", &admin()).await, StatusCode::CONFLICT);
        bed.user("admin", "reader", Role::ReadOnly).await;
        assert_eq!(demote("admin", &admin()).await, StatusCode::CONFLICT);
        let other = bed.user("admin", "other", Role::Admin).await;
        // Each at once: one of them stays.
        let admin = admin();
        let (first, second) = tokio::join!(demote("admin", &other), demote("other", &admin));
        assert!((first == StatusCode::OK) != (second == StatusCode::OK), "{first} {second}");
        let users = bed.app.access.users("admin").await.unwrap();
        assert_eq!(users.iter().filter(|user| user.role == Role::Admin).count(), 1);
        assert!(matches!(
            bed.app.access.delete_account(&Actor::command_line(), "admin").await,
            Err(AccessError::System)
        ));
    }
}

#[tokio::test]
async fn whoever_is_a_user_changes_their_own_password_and_no_more() {
    for bed in beds().await {
        bed.account("red").await;
        let own = json!({"password": "another horse"});
        for (name, role) in [("ann", Role::ReadWrite), ("bob", Role::ReadOnly), ("cid", Role::InventoryAgent)] {
            let who = bed.user("red", name, role).await;
            let change = async |path: &str, who: &str, body: &Value| {
                bed.ask(Method::PATCH, &format!("/v1/users/{path}"), who, "", Some(body.clone())).await.status
            };
            // A token of the same name is not the user.
            let token = format!("Bearer {}", bed.token("red", name, role).await);
            assert_eq!(change(name, &token, &own).await, StatusCode::FORBIDDEN);
            assert_eq!(change("red-admin", &who, &own).await, StatusCode::FORBIDDEN);
            assert_eq!(change("admin", &who, &own).await, StatusCode::FORBIDDEN);
            for more in [json!({"role": "admin"}), json!({"role": "admin", "password": "another horse"})] {
                assert_eq!(change(name, &who, &more).await, StatusCode::FORBIDDEN);
            }
            assert_eq!(change(name, &who, &json!({"password": "short"})).await, StatusCode::BAD_REQUEST);
            assert_eq!(change(name, &who, &own).await, StatusCode::OK);
            assert_eq!(change(name, &who, &own).await, StatusCode::UNAUTHORIZED, "by the old one");
            assert_eq!(change(name, &basic(name, "another horse"), &own).await, StatusCode::OK);
            assert_eq!(bed.log("red").await.last().unwrap(), &format!("{name} user.change {name} another password"));
        }
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_to_do() {
    for bed in beds().await {
        let jane = json!({"name": "jane", "role": "admin", "password": PASSWORD});
        assert_eq!(bed.post("/v1/users", &admin(), jane.clone()).await.status, StatusCode::CREATED);
        for (path, body, status) in [
            ("/v1/users", jane, 409),
            ("/v1/users", json!({"name": "a:b", "role": "admin", "password": PASSWORD}), 400),
            ("/v1/users", json!({"name": "joe", "role": "admin", "password": "short"}), 400),
            ("/v1/users", json!({"name": "joe", "role": "root", "password": PASSWORD}), 400),
            ("/v1/users", json!({"name": "joe", "role": "admin"}), 400),
            ("/v1/users", json!({"name": "joe", "role": "admin", "password": PASSWORD, "more": 1}), 400),
            ("/v1/tokens", json!({"name": "", "role": "admin"}), 400),
            ("/v1/accounts", json!({"name": "admin"}), 409),
            ("/v1/accounts", json!({"name": "no/name"}), 400),
        ] {
            let answer = bed.post(path, &admin(), body.clone()).await;
            assert_eq!(answer.status.as_u16(), status, "{path} {body}");
            assert!(answer.body["title"].as_str().is_some_and(|title| !title.contains(PASSWORD)), "{:?}", answer.body);
        }
        let who = admin();
        assert_eq!(bed.delete("/v1/accounts/none", &who).await, StatusCode::NOT_FOUND);
        assert_eq!(bed.status("/v1/audit?limit=0", &who).await, StatusCode::BAD_REQUEST);
        assert_eq!(bed.status("/v1/audit?after=x", &who).await, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_account_goes_with_all_that_is_its_and_nothing_else() {
    for bed in beds().await {
        let (red, blue) = (bed.account("red").await, bed.account("blue").await);
        let token = format!("Bearer {}", bed.token("red", "agent", Role::Admin).await);
        assert_eq!(bed.status("/read", &token).await, StatusCode::OK);
        let pool = bed.app.database.pool();
        let (one, other) =
            (bed.app.access.existing("red").await.unwrap(), bed.app.access.existing("blue").await.unwrap());
        for (account, statement) in [one, other].into_iter().flat_map(|account| {
            [
                "INSERT INTO image (account_id, id, hash, identity, facts, first_seen_at) VALUES ($1, 1, $2, 'i', '{}', 0)",
                "INSERT INTO image_name (account_id, id, name, repository, tag) VALUES ($1, 1, 'n', 'r', 't')",
                "INSERT INTO image_use (account_id, id, scope_id, image_id, name_id, containers, first_seen_at) \
                 VALUES ($1, 1, 1, 1, 1, 1, 0)",
            ]
            .map(|statement| (account, statement))
        }) {
            let query = sqlx::query(statement).bind(account);
            let query = if statement.contains("$2") { query.bind(vec![1_u8]) } else { query };
            query.execute(pool).await.unwrap();
        }
        assert_eq!(bed.delete("/v1/accounts/red", &admin()).await, StatusCode::NO_CONTENT);
        for table in accounts::TABLES {
            let left: i64 =
                sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table} WHERE account_id = $1")))
                    .bind(one)
                    .fetch_one(pool)
                    .await
                    .unwrap();
            assert_eq!(left, 0, "{table}");
        }
        assert_eq!(bed.status("/read", &red).await, StatusCode::UNAUTHORIZED);
        assert_eq!(bed.status("/read", &token).await, StatusCode::UNAUTHORIZED);
        assert_eq!(bed.status("/read", &blue).await, StatusCode::OK);
        let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM image_use").fetch_one(pool).await.unwrap();
        assert_eq!(left, 1);
        assert_eq!(names(&bed.get("/v1/accounts", &admin()).await), ["admin", "blue", "one"]);
        assert!(bed.log("admin").await.contains(&"admin account.delete red deleted".to_owned()));
    }
}

#[tokio::test]
async fn every_table_of_an_account_is_known() {
    for bed in beds().await {
        let statement = match bed.app.database.dialect() {
            Dialect::Sqlite => {
                "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c \
                 WHERE m.type = 'table' AND c.name = 'account_id' ORDER BY m.name"
            }
            Dialect::Postgres => {
                "SELECT CAST(table_name AS TEXT) FROM information_schema.columns \
                 WHERE column_name = 'account_id' AND table_schema = current_schema() ORDER BY table_name"
            }
        };
        let tables: Vec<String> = sqlx::query_scalar(statement).fetch_all(bed.app.database.pool()).await.unwrap();
        let mut known = accounts::TABLES;
        known.sort_unstable();
        assert_eq!(tables, known, "`accounts::TABLES` is what a removed account takes along");
    }
}

#[tokio::test]
async fn changes_removals_and_refused_log_ins_are_in_the_log() {
    for bed in beds().await {
        let (who, start) = (admin(), bed.log("admin").await.len());
        let jane = json!({"name": "jane", "role": "read-only", "password": PASSWORD});
        bed.post("/v1/users", &who, jane).await;
        let change = json!({"role": "read-write", "password": "another horse"});
        bed.ask(Method::PATCH, "/v1/users/jane", &who, "", Some(change)).await;
        bed.post("/v1/tokens", &who, json!({"name": "agent", "role": "inventory-agent"})).await;
        let jane = basic("jane", "another horse");
        assert_eq!(bed.delete("/things?older=1", &jane).await, StatusCode::NO_CONTENT);
        assert_eq!(bed.delete("/v1/users/admin", &jane).await, StatusCode::FORBIDDEN);
        bed.delete("/v1/tokens/agent", &who).await;
        bed.delete("/v1/users/jane", &who).await;
        for _ in 0..3 {
            bed.get("/read", &basic("admin", "guess")).await;
            bed.get("/read", &basic("no\nbody", "guess")).await;
        }
        assert_eq!(
            bed.log("admin").await[start..],
            [
                "admin user.create jane read-only",
                "admin user.change jane read-write, another password",
                "admin token.create agent inventory-agent",
                "jane DELETE /things?older=1 204",
                "jane DELETE /v1/users/admin 403",
                "admin token.delete agent deleted",
                "admin user.delete jane deleted",
                "admin login  refused",
                "no\u{fffd}body login  refused",
            ]
        );
        let answer = bed.get("/v1/audit?limit=1", &who).await;
        assert_eq!(answer.body["items"][0]["address"], "192.0.2.1");
    }
}

#[tokio::test]
async fn the_log_is_read_page_by_page() {
    for bed in beds().await {
        for number in 0..7 {
            bed.token("admin", &format!("token-{number}"), Role::ReadOnly).await;
        }
        let (mut seen, mut path) = (Vec::new(), "/v1/audit?limit=3".to_owned());
        loop {
            let page = bed.get(&path, &admin()).await;
            assert_eq!(page.status, StatusCode::OK);
            let items = page.body["items"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item["object"].as_str().unwrap().to_owned()));
            match page.body["next"].as_str() {
                Some(next) => path = format!("/v1/audit?limit=3&after={next}"),
                None => break,
            }
        }
        let mut expected: Vec<String> = (0..7).rev().map(|number| format!("token-{number}")).collect();
        expected.push("admin".to_owned());
        assert_eq!(seen, expected);
    }
}

#[test]
fn all_of_it_is_described() {
    let (_, described) = api::routes().split_for_parts();
    let described = serde_json::to_value(&described).unwrap();
    let of = |path: &str| described["paths"][path].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(of("/v1/accounts"), ["get", "post"]);
    assert_eq!(of("/v1/accounts/{name}"), ["delete"]);
    assert_eq!(of("/v1/users/{name}"), ["delete", "patch"]);
    assert_eq!(of("/v1/tokens/{name}"), ["delete"]);
    assert_eq!(of("/v1/audit"), ["get"]);
    assert_eq!(described["components"]["schemas"]["Role"]["enum"][3], "inventory-agent");
    assert_eq!(described["components"]["schemas"]["NewUser"]["properties"]["password"]["type"], "string");
}

#[tokio::test]
async fn an_account_has_no_more_users_and_tokens_than_it_may() {
    for bed in beds().await {
        let (red, blue) = (bed.account("red").await, bed.account("blue").await);
        let bounds =
            |tokens_per_account| Bounds::of(&Limits { tokens_per_account, users_per_account: 2, ..Limits::default() });
        bed.app.access.bound(bounds(3));
        let token = async |who: &str, name: &str| {
            bed.post("/v1/tokens", who, json!({"name": name, "role": "inventory-agent"})).await
        };
        let user = async |who: &str, name: &str| {
            bed.post("/v1/users", who, json!({"name": name, "role": "read-only", "password": PASSWORD})).await
        };
        // Each has an admin already.
        assert_eq!(user(&red, "second").await.status, StatusCode::CREATED);
        let refused = user(&red, "third").await;
        assert_eq!(refused.status, StatusCode::CONFLICT);
        let says = refused.body.to_string();
        assert!(says.contains("has 2 users, which is the most (`users_per_account` of `[limits]`)"), "{says}");
        assert_eq!(user(&blue, "other").await.status, StatusCode::CREATED, "another account has its own");

        // However many come at once.
        let names = ["a", "b", "c", "d", "e", "f"];
        let made = join_all(names.map(|name| token(&red, name))).await;
        let made = made.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
        assert_eq!((made, bed.get("/v1/tokens", &red).await.body["items"].as_array().unwrap().len()), (3, 3));
        let refused = token(&red, "g").await.body.to_string();
        assert!(refused.contains("has 3 tokens, which is the most (`tokens_per_account` of `[limits]`)"), "{refused}");
        let first = bed.get("/v1/tokens", &red).await.body["items"][0]["name"].as_str().unwrap().to_owned();
        assert_eq!(bed.delete(&format!("/v1/tokens/{first}"), &red).await, StatusCode::NO_CONTENT);
        assert_eq!(token(&red, "g").await.status, StatusCode::CREATED);
        bed.app.access.bound(bounds(0));
        assert_eq!(token(&red, "h").await.status, StatusCode::CREATED, "any number");
    }
}
