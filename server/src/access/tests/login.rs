//! Who is let in, and with what.

use std::time::Duration;

use super::*;

const ROLES: [Role; 4] = [Role::Admin, Role::ReadWrite, Role::ReadOnly, Role::InventoryAgent];

#[tokio::test]
async fn each_role_may_what_it_may_and_no_more() {
    for bed in beds().await {
        for role in ROLES {
            let allowed = match role {
                Role::Admin => [true, true, true, true],
                Role::ReadWrite => [true, true, true, false],
                Role::ReadOnly => [false, true, false, false],
                Role::InventoryAgent => [true, false, false, false],
            };
            let user = bed.user("admin", &format!("user-{}", role.as_str()), role).await;
            let token = format!("Bearer {}", bed.token("admin", role.as_str(), role).await);
            for who in [user, token] {
                for (path, allowed) in ["/report", "/read", "/write", "/admin"].into_iter().zip(allowed) {
                    let expected = if allowed { StatusCode::OK } else { StatusCode::FORBIDDEN };
                    assert_eq!(bed.status(path, &who).await, expected, "{role:?} {path}");
                }
                for path in ["/v1/accounts", "/v1/users", "/v1/tokens", "/v1/audit"] {
                    let expected = if role == Role::Admin { StatusCode::OK } else { StatusCode::FORBIDDEN };
                    assert_eq!(bed.status(path, &who).await, expected, "{role:?} {path}");
                }
                let body = json!({"name": "other", "role": "admin", "password": PASSWORD});
                for (method, path) in [
                    (Method::POST, "/v1/accounts"),
                    (Method::DELETE, "/v1/accounts/x"),
                    (Method::POST, "/v1/users"),
                    (Method::PATCH, "/v1/users/admin"),
                    (Method::DELETE, "/v1/users/admin"),
                    (Method::POST, "/v1/tokens"),
                    (Method::DELETE, "/v1/tokens/admin"),
                ] {
                    if role != Role::Admin {
                        let answer = bed.ask(method.clone(), path, &who, "", Some(body.clone())).await;
                        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{role:?} {method} {path}");
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn nobody_is_let_in_without_credentials_and_is_told_how() {
    for bed in beds().await {
        for who in ["", "Basic !", "Bearer nonsense", "Negotiate x"] {
            let answer = bed.get("/read", who).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{who}");
            assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"stocktake\", Bearer");
            assert_eq!(answer.headers["content-type"], "application/problem+json");
        }
        for (name, password) in
            [("admin", "wrong horse"), ("nobody", PASSWORD), ("ADMIN", PASSWORD), ("a\0b", PASSWORD)]
        {
            assert_eq!(bed.status("/read", &basic(name, password)).await, StatusCode::UNAUTHORIZED, "{name}");
        }
    }
}

#[tokio::test]
async fn tokens_are_taken_as_bearers_and_as_passwords_of_their_own_name() {
    for bed in beds().await {
        let secret = bed.token("admin", "agent-1", Role::InventoryAgent).await;
        for who in [format!("Bearer {secret}"), basic("_api_key", &secret), basic("agent-1", &secret)] {
            assert_eq!(bed.status("/report", &who).await, StatusCode::OK);
        }
        for who in [basic("admin", &secret), basic("agent-2", &secret), format!("Bearer {}", spoilt(&secret))] {
            assert_eq!(bed.status("/report", &who).await, StatusCode::UNAUTHORIZED);
        }
    }
}

#[tokio::test]
async fn an_expired_token_is_of_no_use_and_is_not_made() {
    for bed in beds().await {
        let secret = bed.token("admin", "old", Role::ReadOnly).await;
        let who = format!("Bearer {secret}");
        let expire = async |at: i64| {
            sqlx::query("UPDATE api_token SET expires_at = $1")
                .bind(at)
                .execute(bed.app.database.pool())
                .await
                .unwrap();
            bed.app.access.callers.clear();
        };
        let now = jiff::Timestamp::now().as_millisecond();
        expire(now + 3_600_000).await;
        assert_eq!(bed.status("/read", &who).await, StatusCode::OK);
        expire(now).await;
        assert_eq!(bed.status("/read", &who).await, StatusCode::UNAUTHORIZED);
        let body = json!({"name": "new", "role": "read-only", "expires_at": "2020-01-01T00:00:00Z"});
        assert_eq!(bed.post("/v1/tokens", &admin(), body).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_revoked_token_is_of_no_use_at_once_and_elsewhere_soon() {
    for here in beds().await {
        let there = bed(another(&here.app.database).await);
        let who = format!("Bearer {}", here.token("admin", "agent", Role::InventoryAgent).await);
        assert_eq!(here.status("/report", &who).await, StatusCode::OK);
        assert_eq!(there.status("/report", &who).await, StatusCode::OK);
        assert_eq!(here.delete("/v1/tokens/agent", &admin()).await, StatusCode::NO_CONTENT);
        assert_eq!(here.status("/report", &who).await, StatusCode::UNAUTHORIZED);
        let soon = async {
            while there.status("/report", &who).await == StatusCode::OK {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), soon).await.unwrap();
    }
}

#[tokio::test]
async fn a_changed_password_or_role_counts_at_once_and_elsewhere_once_it_is_looked_at() {
    for here in beds().await {
        let there = bed(another(&here.app.database).await);
        let who = here.user("admin", "jane", Role::ReadWrite).await;
        for bed in [&here, &there] {
            assert_eq!(bed.status("/write", &who).await, StatusCode::OK);
        }
        let change = json!({"role": "read-only"});
        let answer = here.ask(Method::PATCH, "/v1/users/jane", &admin(), "", Some(change)).await;
        assert_eq!((answer.status, &answer.body["role"]), (StatusCode::OK, &json!("read-only")));
        assert_eq!(here.status("/write", &who).await, StatusCode::FORBIDDEN);
        let change = json!({"password": "another horse"});
        assert_eq!(here.ask(Method::PATCH, "/v1/users/jane", &admin(), "", Some(change)).await.status, StatusCode::OK);
        // As if some seconds had passed. The old password is still among those that were right.
        there.app.access.callers.clear();
        for bed in [&here, &there] {
            assert_eq!(bed.status("/read", &who).await, StatusCode::UNAUTHORIZED);
            assert_eq!(bed.status("/read", &basic("jane", "another horse")).await, StatusCode::OK);
        }
        assert_eq!(here.delete("/v1/users/jane", &admin()).await, StatusCode::NO_CONTENT);
        assert_eq!(here.status("/read", &basic("jane", "another horse")).await, StatusCode::UNAUTHORIZED);
        // Another user of the same name is not the one that was.
        here.app
            .access
            .create_user(
                &Actor::command_line(),
                "admin",
                NewUser { name: "jane".to_owned(), password: "a third horse".into(), role: Role::Admin },
            )
            .await
            .unwrap();
        there.app.access.callers.clear();
        assert_eq!(there.status("/read", &basic("jane", "another horse")).await, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn who_guesses_has_to_wait_and_others_do_not() {
    for bed in beds().await {
        let from = async |address: &str, who: &str| bed.ask_from(address, Method::GET, "/read", who, "", None).await;
        let known = bed.user("admin", "jane", Role::ReadOnly).await;
        bed.user("admin", "joe", Role::ReadOnly).await;
        assert_eq!(from("192.0.2.1", &known).await.status, StatusCode::OK);
        for who in ["jane", "joe", "nobody"] {
            let mut statuses = Vec::new();
            for _ in 0..12 {
                statuses.push(from("192.0.2.9", &basic(who, "guess")).await.status);
            }
            assert_eq!(statuses[0], StatusCode::UNAUTHORIZED, "{who}");
            // A user that there is not is treated like one that there is.
            assert!(statuses.contains(&StatusCode::TOO_MANY_REQUESTS), "{who} {statuses:?}");
        }
        let throttle = &bed.app.access.throttle;
        for _ in 0..10 {
            throttle.failed(Some("joe"), None, std::time::Instant::now());
        }
        let answer = from("192.0.2.1", &basic("joe", PASSWORD)).await;
        assert_eq!(answer.status, StatusCode::TOO_MANY_REQUESTS);
        let seconds: u64 = answer.headers["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((1..=301).contains(&seconds), "{seconds}");
        // Whoever has shown the right password lately goes on, and so do tokens, even from where guesses come.
        assert_eq!(from("192.0.2.1", &known).await.status, StatusCode::OK);
        bed.app.access.callers.clear();
        assert_eq!(from("192.0.2.1", &known).await.status, StatusCode::OK);
        for _ in 0..40 {
            throttle.failed(None, Some("192.0.2.9".parse().unwrap()), std::time::Instant::now());
        }
        let token = bed.token("admin", "agent", Role::ReadOnly).await;
        assert_eq!(from("192.0.2.9", &format!("Bearer {token}")).await.status, StatusCode::OK);
        let spoilt = from("192.0.2.9", &format!("Bearer {}", spoilt(&token))).await;
        assert_eq!(spoilt.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(from("192.0.2.9", &admin()).await.status, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(from("192.0.2.1", &admin()).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn many_with_the_same_new_password_at_once_are_let_in() {
    for bed in beds().await {
        let bed = std::sync::Arc::new(bed);
        let asking: Vec<_> = (0..50)
            .map(|_| {
                let bed = std::sync::Arc::clone(&bed);
                tokio::spawn(async move { bed.status("/read", &admin()).await })
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.await.unwrap(), StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn when_a_token_was_used_is_written_down() {
    for bed in beds().await {
        let who = format!("Bearer {}", bed.token("admin", "agent", Role::InventoryAgent).await);
        assert_eq!(bed.app.access.tokens("admin").await.unwrap()[0].last_used_at, None);
        assert_eq!(bed.status("/report", &who).await, StatusCode::OK);
        let written = async {
            while bed.app.access.tokens("admin").await.unwrap()[0].last_used_at.is_none() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), written).await.unwrap();
    }
}

#[tokio::test]
async fn no_password_or_secret_is_in_the_database_or_shown() {
    for bed in beds().await {
        let body = json!({"name": "agent", "role": "inventory-agent"});
        let made = bed.post("/v1/tokens", &admin(), body).await;
        let secret = made.body["secret"].as_str().unwrap().to_owned();
        assert_eq!(bed.status("/report", &format!("Bearer {secret}")).await, StatusCode::OK);
        assert!(!bed.get("/v1/tokens", &admin()).await.body.to_string().contains(&secret[..]));
        let raw = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(&secret[4..]).unwrap();
        let mut kept = Vec::new();
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT name, password FROM account_user").fetch_all(bed.app.database.pool()).await.unwrap();
        assert!(rows.iter().all(|(_, password)| password.starts_with("$argon2id$")));
        let hashes: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT hash FROM api_token").fetch_all(bed.app.database.pool()).await.unwrap();
        kept.extend(hashes.concat());
        kept.extend(bed.log("admin").await.concat().into_bytes());
        if bed.app.database.dialect() == Dialect::Sqlite {
            let file = sqlite_file(&bed.app.database).await;
            kept.extend(std::fs::read(&file).unwrap());
            kept.extend(std::fs::read(format!("{file}-wal")).unwrap());
            let holds = |text: &str| kept.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(holds("argon2id") && holds("token.create"), "this is where it would be");
        }
        for clear in [PASSWORD.as_bytes(), secret.as_bytes(), &raw] {
            assert!(!kept.windows(clear.len()).any(|window| window == clear));
        }
    }
    let user = NewUser { name: "jane".to_owned(), password: PASSWORD.into(), role: Role::Admin };
    let change = UserChange { password: Some(PASSWORD.into()), role: None };
    let shown = format!("{user:?} {change:?}");
    assert!(shown.contains("jane") && !shown.contains(PASSWORD), "{shown}");
}
