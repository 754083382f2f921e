//! What each command asks a server, and what it makes of the answer.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, unreachable_pub, dead_code)]

mod fake;

use axum::http::Method;
use fake::{Fake, Program, csv, events, json};

const INVENTORIES: &str = r#"{"items":[
    {"inventory_type":"kubernetes","context":"prod/shop","image_tag":"nginx:1.25","image_digest":"sha256:ab","created_at":"2026-05-01T00:00:00Z","last_updated":"2026-05-04T10:00:00Z","last_seen":"2026-05-04T10:00:00.5Z"},
    {"inventory_type":"docker","context":"host-1","image_tag":"web","image_digest":null,"last_seen":"2026-05-04T10:00:00Z"}]}"#;

#[test]
fn the_inventory_is_listed_as_anchorectl_does() {
    let server = Fake::start(&[json("v2/inventories", 200, INVENTORIES)]);
    let expected = "\
IMAGE TAG   IMAGE DIGEST  CONTEXT    LAST SEEN AT          INVENTORY TYPE
nginx:1.25  sha256:ab     prod/shop  2026-05-04T10:00:00Z  kubernetes
web         unknown       host-1     2026-05-04T10:00:00Z  docker
";
    assert_eq!(server.run(&["inventory", "list"]).printed(), expected);
    let expected = "\
inventory_type,context,image_tag,image_digest,created_at,last_updated,last_seen
kubernetes,prod/shop,nginx:1.25,sha256:ab,2026-05-01T00:00:00Z,2026-05-04T10:00:00Z,2026-05-04T10:00:00.5Z
docker,host-1,web,,,,2026-05-04T10:00:00Z
";
    assert_eq!(server.run(&["inventory", "list", "-o", "csv"]).printed(), expected);
    let listed: serde_json::Value =
        serde_json::from_str(server.run(&["inventory", "list", "-o", "json"]).printed()).unwrap();
    assert_eq!(listed.as_array().unwrap().len(), 2);
}

#[test]
fn filters_of_the_inventory_are_the_servers() {
    let target = "v2/inventories?inventory_type=kubernetes&image_digest=sha256:ab&context=prod/shop";
    let server = Fake::start(&[json(target, 200, r#"{"items":[]}"#)]);
    let arguments = ["--type", "kubernetes", "--image-digest", "sha256:ab", "--context", "prod/shop"];
    let ended = server.run(&[["inventory", "list"].as_slice(), &arguments].concat());
    assert_eq!(ended.printed(), "IMAGE TAG  IMAGE DIGEST  CONTEXT  LAST SEEN AT  INVENTORY TYPE\n");
}

#[test]
fn contexts_are_watched_and_not() {
    let found = r#"{"items":[{"subscription_id":"7","subscription_key":"prod/shop","subscription_type":"runtime_inventory","active":false,
        "subscription_value":null,"account_name":"a","created_at":"2026-05-01T00:00:00Z","last_updated":"2026-05-04T10:00:00.5Z"}]}"#;
    let one = "v2/subscriptions?subscription_type=runtime_inventory&subscription_key=";
    let server = Fake::start(&[
        json(&format!("{one}prod"), 200, r#"{"items":[]}"#),
        json(&format!("{one}prod/shop"), 200, found),
        json("v2/subscriptions?subscription_type=runtime_inventory", 200, found),
        json("v2/subscriptions", 200, "{}"),
        json("v2/subscriptions/7", 200, "{}"),
    ]);
    let run = |arguments: &[&str]| server.run(&[["inventory", "watch"].as_slice(), arguments].concat());
    assert_eq!(run(&["activate", "prod"]).err, "prod is watched\n");
    assert_eq!(run(&["activate", "prod/shop"]).err, "prod/shop is watched\n");
    assert_eq!(run(&["deactivate", "prod/shop"]).err, "prod/shop is watched no longer\n");
    run(&["deactivate", "prod"]).failed(1, "`prod` is not watched");
    let changes: Vec<(Method, String, String)> = server
        .asked()
        .into_iter()
        .filter(|asked| asked.method != Method::GET)
        .map(|asked| (asked.method, asked.target, String::from_utf8(asked.body.to_vec()).unwrap()))
        .collect();
    let new = r#"{"subscription_key":"prod","subscription_type":"runtime_inventory","subscription_value":null}"#;
    let of_7 = |body: &str| (Method::PUT, "v2/subscriptions/7".to_owned(), body.to_owned());
    let expected = [
        (Method::POST, "v2/subscriptions".to_owned(), new.to_owned()),
        of_7(r#"{"active":true}"#),
        of_7(r#"{"active":false}"#),
    ];
    assert_eq!(changes, expected);
    let table = "\
CONTEXT    ACTIVE  LAST UPDATED          ID
prod/shop  no      2026-05-04T10:00:00Z  7
";
    assert_eq!(run(&["list"]).printed(), table);
    assert_eq!(run(&["list", "-k", "prod/shop"]).printed(), table);
    assert!(run(&["list", "-o", "csv"]).printed().contains("7,prod/shop,runtime_inventory,,a,no,"));
}

#[test]
fn deleting_needs_a_yes() {
    let target = "v2/inventories?inventory_type=kubernetes&context=prod/shop";
    let server = Fake::start(&[json(target, 204, "")]);
    let arguments = ["inventory", "delete", "--context", "prod/shop", "--type", "kubernetes"];
    server.run(&arguments).failed(2, "say -y if it is meant");
    assert!(server.asked().is_empty());
    let ended = server.run(&[arguments.as_slice(), &["-y"]].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, "deleted all of prod/shop (kubernetes)\n"));
    assert_eq!(server.asked_once().method, Method::DELETE);
}

#[test]
fn deleting_what_is_not_there_fails() {
    let server = Fake::start(&[]);
    let arguments = ["inventory", "delete", "--context", "a", "--type", "docker", "--image-digest", "sha256:ab", "-y"];
    let target = "v2/inventories?inventory_type=docker&context=a&image_digest=sha256:ab";
    server.run(&arguments).failed(1, &format!("error: nothing at {target}\n"));
}

#[test]
fn images_are_a_line_each() {
    let page = r#"{"items":[{"identity":"i","digests":{"index":{"digest":"sha256:aa"},"manifest":{"missing":"x"},"config":{}},
        "names":["nginx:1","nginx:1.25"],"containers":3,"contexts":2,"first_seen_at":"2026-05-01T00:00:00Z",
        "last_seen_at":"2026-05-04T10:00:00.25Z"},{"identity":"j","names":["web"],"containers":1,"contexts":1}],"next":null}"#;
    let server = Fake::start(&[json("v1/images?repository=nginx&status=all&limit=100", 200, page)]);
    let expected = "\
IMAGE                IMAGE DIGEST  CONTAINERS  CONTEXTS  FIRST SEEN AT         LAST SEEN AT
nginx:1, nginx:1.25  sha256:aa     3           2         2026-05-01T00:00:00Z  2026-05-04T10:00:00Z
web                  unknown       1           1
";
    assert_eq!(server.run(&["images", "--repository", "nginx", "--status", "all"]).printed(), expected);
}

#[test]
fn containers_take_every_filter() {
    let target = "v1/containers?cluster=c&context=c/n&coverage=complete&digest=sha256:ab&repository=nginx&tag=1\
                  &seen_since=2026-05-04T10:00:00Z&status=stale&host=h&kind=init&namespace=n&node=m&owner=Job/o&state=exited\
                  &sort=-name&label=a=b&label=c&limit=7";
    let page = r#"{"items":[{"id":1,"name":"app","kind":"init","state":"exited","image":"nginx:1","pod":{"name":"p-1"},
        "context":"c/n","last_seen_at":"2026-05-04T10:00:00Z","status":"stale"}],"next":null}"#;
    let server = Fake::start(&[json(target, 200, page)]);
    let arguments = "containers --cluster c --context c/n --coverage complete --digest sha256:ab --repository nginx --tag 1 \
                     --seen-since 2026-05-04T10:00:00Z --status stale --host h --kind init --namespace n --node m \
                     --owner Job/o --state exited --sort -name --label a=b --label c --limit 7";
    let expected = "\
CONTEXT  POD  CONTAINER  KIND  STATE   IMAGE    LAST SEEN AT          STATUS
c/n      p-1  app        init  exited  nginx:1  2026-05-04T10:00:00Z  stale
";
    assert_eq!(server.run(&arguments.split_whitespace().collect::<Vec<_>>()).printed(), expected);
}

#[test]
fn an_image_is_somewhere_or_exit_status_1() {
    let found = r#"{"items":[{"id":1,"image":"nginx:1","found_by":"index_digest","context":"prod/shop","containers":2,
        "first_seen_at":"2026-05-01T00:00:00Z","last_seen_at":"2026-05-04T10:00:00Z","status":"present"}],"next":null}"#;
    let head = "id,image\n";
    let server = Fake::start(&[
        json("v1/where?image=nginx:1&limit=100", 200, found),
        json("v1/where?image=none&limit=100", 200, r#"{"items":[],"next":null}"#),
        json("v1/where?image=none&limit=1000", 200, r#"{"items":[],"next":null}"#),
        csv("v1/where?image=nginx:1&format=csv", "id,image\n1,nginx:1\n"),
        csv("v1/where?image=none&format=csv", head),
    ]);
    let expected = "\
IMAGE    FOUND BY      CONTEXT    CONTAINERS  FIRST SEEN AT         LAST SEEN AT          STATUS
nginx:1  index digest  prod/shop  2           2026-05-01T00:00:00Z  2026-05-04T10:00:00Z  present
";
    assert_eq!(server.run(&["where", "nginx:1"]).printed(), expected);
    assert_eq!(server.run(&["where", "nginx:1", "-o", "csv"]).printed(), "id,image\n1,nginx:1\n");
    for form in ["table", "json", "csv"] {
        server.run(&["where", "none", "-o", form]).failed(1, "`none` is nowhere in the inventory");
    }
    assert_eq!(server.run(&["where", "none", "-o", "json"]).out, "[]\n");
    assert_eq!(server.run(&["where", "none", "-o", "csv"]).out, head);
}

#[test]
fn changes_are_asked_for_since_a_time() {
    let page = r#"{"items":[{"id":9,"at":"2026-05-04T10:00:00.9Z","change":"changed","entity":"container","context":"h","scope":1,
        "detail":{"state":["running","exited"]},"container":{"name":"app","image":"nginx:1","pod":{"name":"p"}},"image":null}],
        "next":null}"#;
    let server =
        Fake::start(&[json("v1/changes?since=2026-05-04T00:00:00Z&until=2026-05-05T00:00:00Z&limit=100", 200, page)]);
    let expected = "\
AT                    CHANGE   WHAT       CONTEXT  POD  CONTAINER  IMAGE    DETAIL
2026-05-04T10:00:00Z  changed  container  h        p    app        nginx:1  {\"state\":[\"running\",\"exited\"]}
";
    let arguments = ["changes", "--since", "2026-05-04T00:00:00Z", "--until", "2026-05-05T00:00:00Z"];
    assert_eq!(server.run(&arguments).printed(), expected);
    server.run(&["changes", "--since", "24h"]).failed(1, "nothing at v1/changes?since=");
    server.run(&["changes", "--since", "yesterday"]).failed(2, "expected a time");
    server.run(&["changes"]).failed(2, "--since");
}

#[test]
fn changes_are_followed_and_taken_up_where_they_ended() {
    let event = |id: u32, name: &str| {
        format!(
            "id: {id}-0123abcd\ndata: {{\"id\":{id},\"at\":\"2026-05-04T10:00:00.9Z\",\"change\":\"appeared\",\"entity\":\"container\",\
             \"context\":\"h\",\"container\":{{\"name\":\"{name}\",\"image\":\"nginx:1\"}}}}\n\n"
        )
    };
    let target = "v1/events?since=2026-05-04T00:00:00Z&context=h";
    let second = format!(
        "{}event: removed\nid: 6-00000000\ndata: {{\"first\":5,\"last\":6}}\n\nevent: restored\nid: 3-0123abcd\ndata: {{\"last\":3}}\n\n",
        event(4, "c")
    );
    let server = Fake::start(&[
        events(target, &format!(": here\n\n{}{}id: 4\ndata: {{\"id\"", event(2, "a"), event(3, "b\u{7f}"))),
        json(target, 503, r#"{"title":"the server is busy"}"#),
        events(target, &second),
        json(target, 400, r#"{"title":"there is no such event"}"#),
    ]);
    let arguments = ["changes", "--follow", "--since", "2026-05-04T00:00:00Z", "--context", "h"];
    let ended = server.run(&arguments);
    ended.failed(1, "there is no such event");
    let line = |name: &str| format!("2026-05-04T10:00:00Z  appeared  container  h  -  {name}  nginx:1  -\n");
    assert_eq!(ended.out, [line("a"), line("b\u{fffd}"), line("c")].concat());
    assert_eq!(ended.err.matches("the server has ended the stream; trying again").count(), 2, "{}", ended.err);
    assert!(ended.err.contains("changes 5 to 6 were removed"), "{}", ended.err);
    assert_eq!(ended.err.matches("the server's database was restored").count(), 1, "{}", ended.err);
    let lasts: Vec<Option<String>> = server
        .asked()
        .iter()
        .map(|asked| asked.headers.get("last-event-id").map(|id| id.to_str().unwrap().to_owned()))
        .collect();
    assert_eq!(lasts, [None, Some("3-0123abcd".into()), Some("3-0123abcd".into()), Some("3-0123abcd".into())]);
}

#[test]
fn what_is_followed_has_no_end_and_needs_a_server() {
    let server = Fake::start(&[json("v1/events", 503, r#"{"title":"the server is busy"}"#)]);
    server.run(&["changes", "--follow"]).failed(69, "the server is busy");
    server.run(&["changes", "--follow", "-o", "csv"]).failed(2, "csv has an end");
    server.run(&["changes", "--follow", "--until", "1h"]).failed(2, "--until");
    server.run(&["changes", "--follow", "--limit", "5"]).failed(2, "--limit");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn agents_and_sources_are_listed() {
    let agents = r#"{"items":[{"id":1,"uuid":"u","kind":"stocktake","version":"0.1.0","hostname":"h","silent":true,"sources":2,
        "missing_reports":3,"reported_at":"2026-05-04T10:00:00Z"}],"next":null}"#;
    let sources = r#"{"items":[{"id":2,"agent":1,"collector":"docker","kind":"docker","cluster":null,"host":"h","scopes":1,
        "runtime_name":"docker","runtime_version":"29","observed_at":"2026-05-04T10:00:00Z","coverage":"denied",
        "reason":"no permission","silent":false}],"next":null}"#;
    let server =
        Fake::start(&[json("v1/agents?limit=100", 200, agents), json("v1/sources?host=h&limit=100", 200, sources)]);
    let expected = "\
ID  AGENT  HOST  KIND       VERSION  SOURCES  REPORTED AT           MISSING  SILENT
1   u      h     stocktake  0.1.0    2        2026-05-04T10:00:00Z  3        yes
";
    assert_eq!(server.run(&["agents"]).printed(), expected);
    let expected = "\
ID  AGENT  COLLECTOR  KIND    CLUSTER OR HOST  RUNTIME    SCOPES  OBSERVED AT           COVERAGE  SILENT  REASON
2   1      docker     docker  h                docker 29  1       2026-05-04T10:00:00Z  denied    no      no permission
";
    assert_eq!(server.run(&["sources", "--host", "h"]).printed(), expected);
}

#[test]
fn a_table_has_its_limit_and_says_when_there_is_more() {
    let page = r#"{"items":[{"id":1},{"id":2}],"next":"x"}"#;
    let server = Fake::start(&[json("v1/agents?limit=2", 200, page)]);
    let ended = server.run(&["agents", "--limit", "2"]);
    assert_eq!((ended.code, ended.out.lines().count()), (0, 3), "{ended:?}");
    assert!(ended.err.starts_with("these are the first 2; there are more"), "{ended:?}");
    server.run(&["agents", "--limit", "2", "-o", "json"]).failed(2, "--limit is for tables");
}

#[test]
fn a_table_goes_on_over_pages_until_its_limit() {
    let server = Fake::start(&[
        json("v1/agents?limit=3", 200, r#"{"items":[{"id":1},{"id":2}],"next":"x"}"#),
        json("v1/agents?limit=1&after=x", 200, r#"{"items":[{"id":3}],"next":null}"#),
    ]);
    assert_eq!(server.run(&["agents", "--limit", "3"]).printed().lines().count(), 4);
}

#[test]
fn json_is_all_pages_as_one_array() {
    let server = Fake::start(&[
        json("v1/agents?limit=1000", 200, r#"{"items":[{"id":1, "new":{"field":[1]}}],"next":"a/b+c"}"#),
        json("v1/agents?limit=1000&after=a/b+c", 200, r#"{"items":[{"id":2},{"id":3}],"next":null}"#),
    ]);
    let ended = server.run(&["agents", "-o", "json"]);
    assert_eq!(ended.printed(), "[\n{\"id\":1, \"new\":{\"field\":[1]}},\n{\"id\":2},\n{\"id\":3}\n]\n");
}

#[test]
fn an_array_that_is_not_all_has_no_end() {
    let server = Fake::start(&[
        json("v1/agents?limit=1000", 200, r#"{"items":[{"id":1}],"next":"x"}"#),
        json("v1/agents?limit=1000&after=x", 503, r#"{"title":"the database is away"}"#),
    ]);
    let ended = server.run(&["agents", "-o", "json"]);
    ended.failed(69, "error: the database is away\n");
    assert!(serde_json::from_str::<serde_json::Value>(&ended.out).is_err(), "{ended:?}");
}

#[test]
fn control_characters_reach_neither_table_nor_message() {
    let server = Fake::start(&[
        json("v1/agents?limit=100", 200, r#"{"items":[{"id":1,"hostname":"a\u001b[31mb"}],"next":null}"#),
        json("v1/sources?limit=100", 400, r#"{"title":"no\u001b[31m"}"#),
    ]);
    assert!(server.run(&["agents"]).printed().contains("a\u{fffd}[31mb"));
    server.run(&["sources"]).failed(1, "error: no\u{fffd}[31m\n");
}

#[test]
fn a_bundle_is_posted_as_it_is() {
    let receipt = r#"{"report":"0190f0c4-7b1e-7cc2-8f1e-0123456789ab","outcome":"accepted","received_at":"2026-05-04T10:00:00Z"}"#;
    let server = Fake::start(&[json("v1/reports", 200, receipt)]);
    let mut bundle = Vec::new();
    stocktake_core::wire::append_skippable(&mut bundle, 0, br#"{"format":"stocktake-bundle","version":1}"#).unwrap();
    stocktake_core::wire::append_frame(&mut bundle, b"{}", None).unwrap();
    let ended = Program::new(&["submit", "-"]).variable("STOCKTAKE_URL", &server.url).input(&bundle).run();
    let expected = "0190f0c4-7b1e-7cc2-8f1e-0123456789ab: accepted, received at 2026-05-04T10:00:00Z\n";
    assert_eq!(ended.printed(), expected);
    let asked = server.asked_once();
    assert_eq!((asked.method, asked.body.to_vec()), (Method::POST, bundle));
    assert_eq!(asked.headers["content-type"], "application/vnd.stocktake.frames");
}

#[test]
fn what_is_no_bundle_is_not_posted() {
    let server = Fake::start(&[]);
    let ended = Program::new(&["submit", "-"]).variable("STOCKTAKE_URL", &server.url).input(b"{}").run();
    ended.failed(2, "standard input is no bundle");
    server.run(&["submit", "/does/not/exist"]).failed(2, "cannot read /does/not/exist");
    assert!(server.asked().is_empty());
}

#[test]
fn a_refused_report_is_told() {
    let server =
        Fake::start(&[json("v1/reports", 409, r#"{"type":"urn:x","title":"another agent has it","digests":[]}"#)]);
    let mut bundle = Vec::new();
    stocktake_core::wire::append_skippable(&mut bundle, 0, b"{}").unwrap();
    let ended = Program::new(&["submit", "-"]).variable("STOCKTAKE_URL", &server.url).input(&bundle).run();
    ended.failed(1, "error: another agent has it\n");
}
