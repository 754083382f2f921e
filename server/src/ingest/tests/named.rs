//! Documents that are named and not sent: only who has sent them before may do so.

use serde_json::Value;
use stocktake_core::wire::MEDIA_TYPE;

use super::*;
use crate::testing::Served;

const OTHER: Sender = Sender { account: 1, credential: 200 };

fn told(secret: &str) -> Vec<Told> {
    let pods = Pods::from([("web-1".to_owned(), (ContainerState::Running, secret.to_owned()))]);
    vec![(ScopeId::namespace("a"), Coverage::Complete, Some(scope(&pods)))]
}

/// A manifest and the one body that it names.
fn parts(incoming: &Incoming) -> (Bytes, Bytes) {
    (incoming.manifest.clone().unwrap().1, incoming.bodies.values().next().unwrap().clone())
}

/// Documents, each with what it is made from.
fn frames(documents: &[(&[u8], Option<&[u8]>)]) -> Bytes {
    let mut bytes = Vec::new();
    for (document, dictionary) in documents {
        append_frame(&mut bytes, document, *dictionary).unwrap();
    }
    bytes.into()
}

/// What a problem says, without the digests that were asked about.
fn said(problem: &Problem) -> (u16, &'static str, String, usize) {
    (problem.status.as_u16(), problem.kind, problem.title.clone(), problem.digests.len())
}

#[tokio::test]
async fn what_another_has_sent_is_not_there_for_who_knows_its_digest_alone() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let (mut agent, mut thief) = (Made::new(1), Made::new(2));
        let (manifest, body) = parts(&agent.report(&told("nginx:secret"), Coverage::Complete));
        let all = frames(&[(&manifest, None), (&body, Some(&manifest))]);
        assert_eq!(ingest.report(SENDER, None, all).await.unwrap().outcome, Outcome::Accepted);

        let (own, _) = parts(&thief.report(&told("nginx:secret"), Coverage::Complete));
        let absent = parts(&thief.report(&told("nginx:absent"), Coverage::Complete));
        // One that remembers what came, and one that looks it up.
        for ingest in [&ingest, &Ingest::new(database.clone())] {
            for (here, nowhere) in [
                (frames(&[(&own, None)]), frames(&[(&absent.0, None)])),
                (frames(&[(&own, None), (b"{}", Some(&body))]), frames(&[(&own, None), (b"{}", Some(&absent.1))])),
                (frames(&[(&own, Some(&manifest))]), frames(&[(&own, Some(&absent.0))])),
            ] {
                let here = ingest.report(OTHER, None, here).await.unwrap_err();
                let nowhere = ingest.report(OTHER, None, nowhere).await.unwrap_err();
                assert_eq!((said(&here), here.status.as_u16()), (said(&nowhere), 409));
            }
            for dictionary in [&body, &manifest] {
                let refused = ingest.scopes(OTHER, frames(&[(b"{}", Some(dictionary))])).await.unwrap_err();
                assert_eq!(refused.kind, problem::UNKNOWN_DICTIONARY);
            }
        }
        assert_eq!(rows(&database).await.0.len(), 1);
    }
}

#[tokio::test]
async fn who_has_sent_what_another_has_sent_too_may_name_it_from_then_on() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agents = [(Made::new(1), SENDER), (Made::new(2), OTHER)];
        for (agent, sender) in &mut agents {
            let (manifest, body) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
            ingest.report(*sender, None, frames(&[(&manifest, None), (&body, None)])).await.unwrap();
        }
        // Each takes the scope over from the other, again and again, and sends its body never again.
        for _ in 0..3 {
            for (agent, sender) in &mut agents {
                let (manifest, _) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
                let outcome = ingest.report(*sender, None, frames(&[(&manifest, None)])).await.unwrap().outcome;
                assert_eq!(outcome, Outcome::Accepted);
            }
        }
        // And makes new ones from it, whoever told of the scope last.
        for (agent, sender) in &mut agents {
            let (_, former) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
            let (manifest, body) = parts(&agent.report(&told("nginx:2"), Coverage::Complete));
            let changed = frames(&[(&manifest, None), (&body, Some(&former))]);
            assert_eq!(ingest.report(*sender, None, changed).await.unwrap().outcome, Outcome::Accepted);
        }
        check_events(&database).await;
    }
}

#[tokio::test]
async fn an_agent_with_another_token_sends_everything_once_more() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agent = Made::new(1);
        for _ in 0..3 {
            let (manifest, body) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
            ingest.report(SENDER, None, frames(&[(&manifest, None), (&body, None)])).await.unwrap();
        }
        // What says the same as the last one did is no short way around it.
        let (manifest, body) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
        let refused = ingest.report(OTHER, None, frames(&[(&manifest, None)])).await.unwrap_err();
        assert_eq!(refused.kind, problem::MISSING_SCOPES);
        ingest.scopes(OTHER, frames(&[(&body, None)])).await.unwrap();
        ingest.report(OTHER, None, frames(&[(&manifest, None)])).await.unwrap();
        let (next, _) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
        ingest.report(OTHER, None, frames(&[(&next, Some(&manifest))])).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_without_what_is_in_it() {
    for database in databases().await {
        let ingest = Ingest::new(database.clone());
        let mut agent = Made::new(1);
        let (manifest, body) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
        for (wrong, expected) in [
            (&br#"{"pods":"secret"}"#[..], "JSON of another shape, at line 1 column "),
            (br#"{"pods":[{"uid":"secret""#, "JSON that is cut, at line 1 column "),
            (b"secret", "no JSON, at line 1 column "),
        ] {
            let report = frames(&[(&manifest, None), (&body, None), (wrong, Some(&body))]);
            for told in [
                ingest.scopes(SENDER, frames(&[(wrong, None)])).await.unwrap_err(),
                ingest.report(SENDER, None, report).await.unwrap_err(),
            ] {
                assert!(told.title.contains(expected) && !told.title.contains("secret"), "{}", told.title);
            }
        }
        let manifest = br#"{"schema":"v1","id":1,"secret":"secret"}"#;
        let whole = ingest.report(SENDER, None, frames(&[(manifest, None)])).await.unwrap_err();
        assert!(whole.title.contains("id: invalid type: integer `1`"), "{}", whole.title);
        ingest.scopes(SENDER, frames(&[(&body, None)])).await.unwrap();
        let made = ingest.report(SENDER, None, frames(&[(manifest, Some(&body))])).await.unwrap_err();
        assert!(made.title.contains("id: JSON of another shape, at line 1 column "), "{}", made.title);
    }
}

#[tokio::test]
async fn each_token_and_each_user_is_a_sender_of_its_own() {
    for served in Served::all().await {
        let account = served.account("shop").await;
        let mut agent = Made::new(1);
        let (manifest, body) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
        let ask = async |token: &str, frames: Bytes| {
            let answer = served.send("", "POST", "/v1/reports", token, MEDIA_TYPE, frames.to_vec()).await;
            (answer.status.as_u16(), answer.json()["type"].clone())
        };
        let (first, second) = (account.with("inventory-agent"), account.with("read-write"));
        let missing = (409, Value::from(problem::MISSING_SCOPES));
        assert_eq!(ask(first, frames(&[(&manifest, None), (&body, None)])).await.0, 200);
        let (next, _) = parts(&agent.report(&told("nginx:1"), Coverage::Complete));
        assert_eq!(ask(second, frames(&[(&next, None)])).await, missing);
        assert_eq!(ask(first, frames(&[(&next, None)])).await.0, 200);
    }
}
