//! What becomes of a report by what a server answers.

use serde_json::json;

use super::*;
use crate::{
    bundle,
    deliver::http::testing::{Server, answer},
    render::sample,
};

#[tokio::test]
async fn a_report_under_anothers_identity_is_kept_and_a_person_is_told_what_to_do() {
    for (status, kind, expected) in [
        (403, problem::IDENTITY_HELD, "remove the former one on the server"),
        (409, problem::IDENTITY_CLAIMED, "remove `agent.json` from its spool"),
    ] {
        let body = json!({"type": kind, "title": "the identity of the agent on h"}).to_string();
        let headers = [("content-type", "application/problem+json")];
        let server = Server::http(move |_| answer(status, &headers, body.clone())).await;
        let settings = json!({"url": format!("http://127.0.0.1:{}", server.port)});
        let mut target = build(settings, &TargetContext::default()).unwrap();
        let inventory = sample::inventory(vec![sample::docker(vec![sample::container("1", "app:1")], Vec::new())]);
        let parcel = bundle::write(&inventory.report, &inventory.scopes, None).unwrap();
        let parcel = Arc::new(bundle::read(&parcel, None).unwrap());
        let Err(Failure::Later { status, message, .. }) = target.deliver(&parcel).await else {
            panic!("it is tried again later")
        };
        assert_eq!(status, "identity");
        assert!(message.contains(expected) && message.contains("the identity of the agent on h"), "{message}");
    }
}
