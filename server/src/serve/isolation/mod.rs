//! Every route, asked without credentials, by every role, and by another account that knows all identifiers, names and digests of
//! the first: nothing of the first may be in any answer, and nothing of it may change.

mod red;
mod routes;

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};
use stocktake_core::wire;

use self::{
    red::{MARKS, Red},
    routes::{ROUTES, questions},
};
use super::router::paths;
use crate::testing::{Answer, PASSWORD, Served, basic};

const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];
const ROLES: [(&str, char); 4] = [("admin", 'a'), ("read-write", 'w'), ("read-only", 'r'), ("inventory-agent", 'i')];

/// A request.
struct Ask {
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
}

impl Ask {
    async fn by(&self, served: &Served, who: &str, account: &str) -> Answer {
        served.send(account, self.method, &self.path, who, self.content_type, self.body.clone()).await
    }

    /// Marks in an answer that the request does not name itself.
    fn leaked(&self, answer: &Answer) -> Vec<&'static str> {
        let said = String::from_utf8_lossy(&self.body);
        let is_said = |mark: &str| self.path.contains(mark) || said.contains(mark);
        let text = format!("{:?}{}", answer.headers, answer.text);
        MARKS.into_iter().filter(|mark| text.contains(mark) && !is_said(mark)).collect()
    }
}

/// What is asked of a route: as it is, and with everything in it that means something of the other account.
async fn asks(served: &Served, red: &Red, method: &'static str, route: &'static str) -> Vec<Ask> {
    let mut path = route.to_owned();
    if let Some((start, rest)) = route.split_once('{') {
        let (name, end) = rest.split_once('}').unwrap();
        path = format!("{start}{}{end}", red.value(route, name)[0]);
    }
    let mut queries: Vec<String> = vec![String::new()];
    queries.extend(questions(route).iter().map(ToString::to_string));
    if ["GET", "HEAD"].contains(&method) {
        queries.extend(documented(served, red, route).await);
    }
    let bodies = bodies(red, method, route);
    let mut asks = Vec::new();
    for query in &queries {
        let path = if query.is_empty() { path.clone() } else { format!("{path}?{query}") };
        for (content_type, body) in &bodies {
            asks.push(Ask { method, path: path.clone(), content_type, body: body.clone() });
        }
    }
    asks
}

/// Questions with each parameter that the description has, and the place where a page of the other account ended.
async fn documented(served: &Served, red: &Red, route: &str) -> Vec<String> {
    let reader = red.account.with("read-only");
    let document = served.get("/v1/openapi.json", reader).await.json();
    let parameters = document["paths"][route]["get"]["parameters"].as_array().cloned().unwrap_or_default();
    let names: Vec<&str> = parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
    let needed = match route {
        "/v1/where" => format!("image={}", red::DIGEST),
        "/v1/dead-letters" => format!("subscription={}", red.subscription),
        _ => String::new(),
    };
    let mut queries = vec![needed.clone()];
    for name in &names {
        queries.extend(red.value(route, name).iter().map(|value| format!("{name}={value}")));
    }
    let page = served.get(&format!("{route}?limit=1&{needed}"), red.account.with("admin")).await.json();
    if let Some(next) = page["next"].as_str() {
        queries.push(format!("after={next}"));
    }
    if let Some((name, _)) = needed.split_once('=') {
        for query in &mut queries[1..] {
            if !query.starts_with(&format!("{name}=")) {
                *query = format!("{needed}&{query}");
            }
        }
    }
    queries
}

fn bodies(red: &Red, method: &str, route: &str) -> Vec<(&'static str, Vec<u8>)> {
    let json = |body: Value| vec![("application/json", body.to_string().into_bytes())];
    let of = |told: &str| red::told().into_iter().find(|(path, _)| path.ends_with(told)).map(|(_, body)| body).unwrap();
    match (method, route) {
        ("POST", "/v1/reports") => vec![(wire::MEDIA_TYPE, red.manifest.clone())],
        ("POST", "/v1/scopes") => vec![(wire::MEDIA_TYPE, red.report.clone())],
        ("POST", "/v1/accounts") => json(json!({"name": "red"})),
        ("POST", "/v1/users") => json(json!({"name": "red-user", "role": "admin", "password": PASSWORD})),
        ("POST", "/v1/tokens") => json(json!({"name": "red-read-only", "role": "admin"})),
        ("PATCH", "/v1/users/{name}") => json(json!({"password": "another horse"})),
        ("POST", "/v1/subscriptions") => json(red::subscription()),
        ("PATCH", "/v1/subscriptions/{id}") => json(json!({"name": "another", "active": false})),
        ("POST", "/v2/subscriptions") => json(red::watch()),
        ("PUT", "/v2/subscriptions/{id}") => json(json!({"active": true, "subscription_value": "another"})),
        ("POST", "/v1/dead-letters/replay") => json(json!({"subscription": red.subscription})),
        ("POST", "/v1/agentless/sources" | "/v1/agentless/test") => json(red::agentless()),
        ("PATCH", "/v1/agentless/sources/{name}") => json(json!({"interval_seconds": 600})),
        ("POST", "/v1/agentless/sources/{name}/test") => vec![("", Vec::new())],
        ("POST", "/v1/enterprise/inventories/clusters") => json(red::cluster()),
        ("PATCH", "/v1/sources/{id}") => json(json!({"image_ttl_days": 1})),
        ("POST", "/v2/kubernetes-inventory" | "/v1/enterprise/kubernetes-inventory") => {
            json(of("kubernetes-inventory"))
        }
        ("POST", "/v2/ecs-inventory" | "/v1/enterprise/ecs-inventory") => json(of("ecs-inventory")),
        ("POST", "/v1/enterprise/inventories") => json(of("inventories")),
        ("POST", "/v2/system/integrations/registration") => json(red::registration()),
        ("POST", _) => json(json!({"uuid": red::uid("5"), "protocol_version": 1, "timestamp": "2024-06-26T14:02:43Z",
            "uptime": 1.5, "health_report_interval": 60, "health_data": {"type": "k8s_inventory_agent", "version": 1}})),
        _ => vec![("", Vec::new())],
    }
}

/// All that the account can read of itself, as it is. Tokens say when they were used last, and metrics change with each request.
async fn everything(served: &Served, red: &Red) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (method, route, roles) in ROUTES {
        if method != "GET" || ["*", "s"].contains(&roles) || ["/metrics", "/v1/tokens"].contains(&route) {
            continue;
        }
        for ask in asks(served, red, method, route).await {
            let answer = ask.by(served, red.account.with("admin"), "").await;
            all.push((ask.path, answer.text));
        }
    }
    all
}

#[tokio::test]
async fn every_route_is_walked_and_wants_credentials() {
    for served in Served::all().await {
        let red = Red::of(&served).await;
        let mut found = BTreeSet::new();
        for path in paths() {
            for method in METHODS {
                let asked = path.replace(['{', '}'], "");
                let answer = served.ask(method, &asked, "", Value::Null).await;
                match answer.status {
                    StatusCode::METHOD_NOT_ALLOWED => continue,
                    StatusCode::UNAUTHORIZED => {
                        assert!(answer.headers.contains_key("www-authenticate"), "{method} {path}");
                    }
                    StatusCode::OK => {
                        assert!(["/livez", "/readyz", "/version"].contains(&path.as_str()), "{method} {path}");
                    }
                    status => panic!("{method} {path}: {status} without credentials: {}", answer.text),
                }
                found.insert((method, path.clone()));
            }
        }
        let known: BTreeSet<(&str, String)> = ROUTES
            .iter()
            .filter(|(method, ..)| *method != "HEAD")
            .map(|(method, path, _)| (*method, (*path).to_owned()))
            .collect();
        assert_eq!(found, known, "`ROUTES` has to name every route with who may ask it");
        for (method, route, roles) in ROUTES {
            for ask in asks(&served, &red, method, route).await {
                for who in ["", "Bearer stk_", &basic("red-user", "a wrong horse")] {
                    let answer = ask.by(&served, who, "").await;
                    // The last one is throttled after a while.
                    let refused = [StatusCode::UNAUTHORIZED, StatusCode::TOO_MANY_REQUESTS].contains(&answer.status);
                    assert_eq!(refused, roles != "*", "{method} {}: {}", ask.path, answer.status);
                    assert_eq!(ask.leaked(&answer), [""; 0], "{method} {}: {}", ask.path, answer.text);
                }
            }
        }
    }
}

#[tokio::test]
async fn another_accounts_credentials_get_nothing_of_the_first_and_change_nothing_of_it() {
    for served in Served::all().await {
        let red = Red::of(&served).await;
        let blue = served.account("blue").await;
        let before = everything(&served, &red).await;
        for mark in MARKS {
            let stands = before.iter().any(|(path, text)| text.contains(mark) && !path.contains(mark));
            // Tokens are not in what is compared.
            assert!(stands || mark == "red-read-only", "`{mark}` is in no answer: it cannot be missed in the others'");
        }
        // First what reads, while blue has nothing that is called as red's.
        for reads in [true, false] {
            for (method, route, roles) in ROUTES {
                if ["GET", "HEAD"].contains(&method) != reads {
                    continue;
                }
                for ask in asks(&served, &red, method, route).await {
                    for (role, letter) in ROLES {
                        let answer = ask.by(&served, blue.with(role), "").await;
                        let may = roles == "*" || roles.contains(letter);
                        let refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&answer.status);
                        let what = format!("{method} {} by {role}: {} {}", ask.path, answer.status, answer.text);
                        assert_eq!(refused, !may, "{what}");
                        assert!(!answer.status.is_server_error(), "{what}");
                        assert_eq!(ask.leaked(&answer), [""; 0], "{what}");
                        let answer = ask.by(&served, blue.with(role), "red").await;
                        let what = format!("{method} {} by {role} for red: {}", ask.path, answer.text);
                        assert_eq!(answer.status == StatusCode::FORBIDDEN, roles != "*", "{what}");
                        assert_eq!(ask.leaked(&answer), [""; 0], "{what}");
                    }
                }
            }
        }
        for ((path, before), (_, after)) in before.iter().zip(everything(&served, &red).await) {
            assert_eq!(*before, after, "{path} has changed");
        }
    }
}

#[tokio::test]
async fn each_role_may_what_it_says_in_its_own_account() {
    for served in Served::all().await {
        let red = Red::of(&served).await;
        // What removes comes last, and by whoever may not before whoever may.
        let mut routes = ROUTES;
        routes.sort_by_key(|(method, ..)| *method == "DELETE");
        for (method, route, roles) in routes {
            for ask in asks(&served, &red, method, route).await {
                for (role, letter) in ROLES.into_iter().rev() {
                    // Itself, which would end it.
                    if route == "/v1/tokens/{name}" && letter == 'a' {
                        continue;
                    }
                    let answer = ask.by(&served, red.account.with(role), "").await;
                    let refused = [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&answer.status);
                    let may = roles == "*" || roles.contains(letter);
                    assert_eq!(refused, !may, "{method} {} by {role}: {} {}", ask.path, answer.status, answer.text);
                    assert!(!answer.status.is_server_error(), "{method} {}: {}", ask.path, answer.text);
                }
            }
        }
        // The server's admins ask in any account.
        let system = basic("admin", PASSWORD);
        for (method, route, _) in ROUTES.iter().filter(|(method, ..)| *method == "GET") {
            for ask in asks(&served, &red, method, route).await {
                let answer = ask.by(&served, &system, "red").await;
                let may_not = *route == "/v1/accounts";
                assert_eq!(answer.status == StatusCode::FORBIDDEN, may_not, "{route}: {}", answer.text);
            }
        }
        assert_eq!(served.get("/v1/accounts", &system).await.status, StatusCode::OK);
    }
}
