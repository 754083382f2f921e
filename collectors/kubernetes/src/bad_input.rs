//! What the conversion makes of an API server's answers, whatever they are: for the tests below and for `fuzz/`.

use serde::Deserialize;
use serde_json::{Value, json};
use stocktake_core::model::{Scope, Text};

use crate::{
    convert::{convert_namespace, convert_node, convert_pod},
    owners::Owners,
    scope::PodScope,
    texts::Texts,
    wire,
};

/// A list that is read as a whole.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(crate) struct List<T> {
    pub(crate) items: Option<Vec<T>>,
}

/// The answers of one collection, in one document.
#[derive(Deserialize)]
struct Answers {
    pods: List<wire::Pod>,
    replicasets: List<wire::Owned>,
    jobs: List<wire::Owned>,
    nodes: List<wire::Node>,
    namespaces: List<wire::Namespace>,
}

/// The scope that is made of answers, if they can be decoded: that of all pods as if they were of one namespace, with the
/// cluster's own objects.
#[must_use]
pub fn scope(answers: &[u8]) -> Option<Scope> {
    let answers: Answers = serde_json::from_slice(answers).ok()?;
    let (mut owners, mut texts) = (Owners::default(), Texts::default());
    for (link, list) in [answers.replicasets, answers.jobs].into_iter().enumerate() {
        for owned in list.items.into_iter().flatten() {
            owners.add(link, &owned.metadata.unwrap_or_default(), &mut texts);
        }
    }
    let mut scope = PodScope::default();
    for pod in answers.pods.items.into_iter().flatten() {
        scope.add(convert_pod(pod, &Text::from("shop"), &mut texts), true);
    }
    Some(Scope {
        nodes: answers.nodes.items.into_iter().flatten().map(convert_node).collect(),
        namespaces: answers.namespaces.items.into_iter().flatten().map(convert_namespace).collect(),
        ..scope.into_body(&owners)
    })
}

/// Answers of a real API server (`testdata/`), a document that [`scope`] reads.
#[must_use]
pub fn recorded() -> Vec<Value> {
    let read = |text: &str| -> Value { serde_json::from_str(text).unwrap_or_default() };
    vec![json!({
        "pods": read(include_str!("../testdata/pods.json")),
        "replicasets": read(include_str!("../testdata/replicasets.json")),
        "jobs": read(include_str!("../testdata/jobs.json")),
        "nodes": read(include_str!("../testdata/nodes.json")),
        "namespaces": read(include_str!("../testdata/namespaces.json")),
    })]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stocktake_bad_input::{converter, normalised};

    use super::*;

    fn of(answers: &[u8]) -> Option<Scope> {
        Some(normalised(scope(answers)?, answers.len()))
    }

    /// Answers with these pods and nothing else.
    fn of_pods(pods: &[Value]) -> Scope {
        let none = || json!({"items": null});
        let pods = json!({"items": pods});
        let all = json!({"pods": pods, "replicasets": none(), "jobs": none(), "nodes": none(), "namespaces": none()});
        of(all.to_string().as_bytes()).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn spoiled_answers_do_no_harm(choices in prop::collection::vec(any::<u8>(), 1..48)) {
            converter(&choices, &recorded(), scope);
        }
    }

    #[test]
    fn objects_without_any_of_what_tells_them_apart_do_not_all_become_one() {
        let owned = |uid: Value, name: &str| {
            json!({"metadata": {"name": name, "uid": uid, "ownerReferences":
                [{"kind": "Thing", "apiVersion": "v1", "name": name, "uid": "", "controller": true}]}})
        };
        let scope = of_pods(&[owned(json!(null), "a"), owned(json!(null), "b"), owned(json!("u"), "c")]);
        assert_eq!((scope.pods.len(), scope.workloads.len()), (3, 3));
    }

    #[test]
    fn owners_that_own_each_other_and_counts_beyond_measure_are_taken_as_they_are() {
        let mut all = recorded().remove(0);
        let owner = |kind: &str, uid: &str| json!([{"kind": kind, "apiVersion": "apps/v1", "name": uid, "uid": uid, "controller": true}]);
        let replica_set =
            |uid: &str, above: &str| json!({"metadata": {"uid": uid, "ownerReferences": owner("ReplicaSet", above)}});
        all["replicasets"]["items"] = json!([replica_set("a", "b"), replica_set("b", "a"), replica_set("c", "c")]);
        let pod = |uid: &str| {
            json!({"metadata": {"name": uid, "uid": uid, "ownerReferences": owner("ReplicaSet", uid)},
                "status": {"containerStatuses": [{"name": "x", "restartCount": i64::MAX}, {"name": "x", "restartCount": -1}]}})
        };
        all["pods"]["items"] = json!([pod("a"), pod("b"), pod("c"), pod("c")]);
        let scope = of(all.to_string().as_bytes()).unwrap();
        assert_eq!((scope.pods.len(), scope.workloads.len()), (3, 3));
        assert!(scope.containers.iter().all(|container| container.restart_count.is_none()));
    }

    #[test]
    fn a_pod_of_thousands_of_containers_loses_none() {
        let names: Vec<Value> =
            (0..5000).map(|number| json!({"name": number.to_string(), "image": format!("i:{number}")})).collect();
        let statuses: Vec<Value> = (0..5000)
            .rev()
            .map(|number| json!({"name": number.to_string(), "imageID": "one", "state": {"running": {}}}))
            .collect();
        let scope = of_pods(&[json!({"metadata": {"name": "p"}, "spec": {"containers": names},
            "status": {"containerStatuses": statuses}})]);
        assert_eq!((scope.containers.len(), scope.images.len()), (5000, 1));
        assert_eq!(scope.images[0].names.len(), 5000);
    }
}
