use proptest::prelude::*;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::json;

use super::*;
use crate::{bad_input::List, wire::Pod};

/// A length-delimited field.
fn field(number: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

/// An object as the API server writes it.
fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &type_meta), field(2, raw), field(3, b""), field(4, b"")].concat()
}

fn protobuf_list(pods: &[Pod], next: &str) -> Vec<u8> {
    let meta = ListMeta { resource_version: "7".into(), next: next.into() };
    let items = pods.iter().map(|pod| field(2, &pod.encode_to_vec()));
    envelope("PodList", &std::iter::once(field(1, &meta.encode_to_vec())).chain(items).collect::<Vec<_>>().concat())
}

/// Recorded on the test bed.
const RECORDED: &str = include_str!("../../testdata/pods.json");

fn recorded() -> Vec<Pod> {
    serde_json::from_str::<List<Pod>>(RECORDED).unwrap().items.unwrap()
}

fn frame(kind: &str, object: &[u8]) -> Vec<u8> {
    let event = [field(1, kind.as_bytes()), field(2, &field(1, object))].concat();
    [&u32::try_from(event.len()).unwrap().to_be_bytes()[..], &event].concat()
}

/// All items, with the answer in pieces of these sizes, which are used in turns.
fn read(encoding: Encoding, answer: &[u8], sizes: &[usize]) -> Result<(Vec<Pod>, ListMeta), Broken> {
    let mut decoder = ListDecoder::new(encoding);
    let mut items = Vec::new();
    let mut rest = answer;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        rest = after;
        decoder.push(&Bytes::copy_from_slice(piece));
        while let Some(item) = decoder.next()? {
            items.push(item);
        }
    }
    decoder.finish().map(|meta| (items, meta))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn pieces_of_any_size_make_the_same_list(sizes in prop::collection::vec(1..5000_usize, 1..20)) {
        let pods = recorded();
        let meta = ListMeta { resource_version: "7".into(), next: "more".into() };
        prop_assert_eq!(read(Encoding::Protobuf, &protobuf_list(&pods, "more"), &sizes).unwrap(), (pods.clone(), meta));
        prop_assert_eq!(read(Encoding::Json, RECORDED.as_bytes(), &sizes).unwrap().0, pods);
    }

    #[test]
    fn a_list_that_is_cut_anywhere_is_no_list(at in 0.0..1.0_f64, sizes in prop::collection::vec(1..5000_usize, 1..20)) {
        let json = RECORDED.trim_end();
        for (encoding, whole) in [(Encoding::Protobuf, &protobuf_list(&recorded(), "")[..]), (Encoding::Json, json.as_bytes())] {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "any place will do")]
            let at = (whole.len() as f64 * at) as usize;
            // After the list protobuf has two empty fields, without which it is as whole as with them.
            if encoding == Encoding::Json || at < whole.len() - 4 {
                prop_assert!(read(encoding, &whole[..at], &sizes).is_err());
            }
        }
    }

    #[test]
    fn garbage_is_refused_and_does_no_harm(
        garbage in prop::collection::vec(any::<u8>(), 0..300), at in any::<prop::sample::Index>(), sizes in prop::collection::vec(1..50_usize, 1..5)
    ) {
        let pods = &recorded()[..2];
        let mut list = protobuf_list(pods, "");
        let at = at.index(list.len());
        let end = (at + garbage.len()).min(list.len());
        list.splice(at..end, garbage.clone());
        // What becomes of it is anybody's guess; that it ends, and does not panic, is not.
        drop(read(Encoding::Protobuf, &list, &sizes));
        let mut watch = WatchDecoder::new(Encoding::Protobuf);
        watch.push(&Bytes::from(garbage));
        while let Ok(Some(_)) = watch.next::<Pod>() {}
    }

    #[test]
    fn a_json_list_is_one_for_serde_if_and_only_if_it_is_one_here(
        text in r#"( |\{|\}|\[|\]|:|,|"items"|"metadata"|"a"|"\\"|"\}"|null|1|-2\.5e3|true){1,14}"#
    ) {
        let text = format!("{{\"items\":[]{text}");
        let theirs = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&text);
        let ours = read(Encoding::Json, text.as_bytes(), &[3]);
        if theirs.is_err() {
            prop_assert!(ours.is_err(), "{}", text);
        }
    }
}

#[test]
fn what_is_no_list_is_not_an_empty_one() {
    let foreign = |encoding, answer: &[u8]| matches!(read(encoding, answer, &[7]), Err(Broken::Foreign(_)));
    for answer in [
        "{}",
        r#"{"kind": "Status", "metadata": {}}"#,
        "<html>welcome to the proxy</html>",
        r#"{"items": {}}"#,
        r#"{"items": [1]}"#,
        r#"{"items": [{}{}]}"#,
        r#"{"items": [{},]}"#,
        r#"{"items": []} {}"#,
        "[]",
    ] {
        assert!(
            foreign(Encoding::Json, answer.as_bytes()),
            "{answer}: {:?}",
            read(Encoding::Json, answer.as_bytes(), &[7])
        );
    }
    for empty in
        [r#"{"items": null}"#, r#"{"items": [], "metadata": null}"#, r#" {"metadata":{"a":["]"]},"items":[ ]} "#]
    {
        assert_eq!(read(Encoding::Json, empty.as_bytes(), &[1]).unwrap(), (vec![], ListMeta::default()));
    }
    let status = field(3, b"no");
    for answer in [&b"{}"[..], b"k8s", &envelope("Status", &status), &envelope("PodList", b""), b"k8s\0\x0b"] {
        assert!(read(Encoding::Protobuf, answer, &[3]).is_err(), "{answer:?}");
    }
    assert!(foreign(Encoding::Protobuf, &envelope("Status", &status)));
    assert_eq!(read(Encoding::Protobuf, &protobuf_list(&[], ""), &[1]).unwrap().0, []);
    assert_eq!(read(Encoding::Protobuf, b"k8s\0", &[4]), Err(Broken::Short));
}

#[test]
fn an_object_is_not_waited_for_beyond_its_bound() {
    let long = format!(r#"{{"items":[{{"a":"{}"#, "x".repeat(MAX_OBJECT + 1));
    assert_eq!(read(Encoding::Json, long.as_bytes(), &[1 << 20]), Err(Broken::Large));
    let mut list = field(2, &[]);
    encode_varint(u64::MAX, &mut list);
    let length = [&b"k8s\0\x12\xff\xff\xff\xff\x7f"[..], b"\x12\xff\xff\xff\x7f"].concat();
    assert_eq!(read(Encoding::Protobuf, &length, &[4]), Err(Broken::Large));
    let mut watch = WatchDecoder::new(Encoding::Protobuf);
    watch.push(&Bytes::from_static(b"\xff\xff\xff\xff"));
    assert_eq!(watch.next::<Pod>(), Err(Broken::Large));
    let endless = format!("{{\"items\":[]}}{}", " ".repeat(MAX_OBJECT + 1));
    assert!(matches!(read(Encoding::Json, endless.as_bytes(), &[1 << 20]), Err(Broken::Foreign(_))));
}

#[test]
fn objects_are_the_same_in_either_encoding() {
    let ephemeral: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p", "creationTimestamp": "2026-11-23T20:00:00Z", "labels": {"a": "b"}},
        "spec": {"ephemeralContainers": [{"name": "debugger", "image": "d", "targetContainerName": "main"}]},
    }))
    .unwrap();
    let [container] = &ephemeral.spec.as_ref().unwrap().ephemeral_containers[..] else { panic!("{ephemeral:?}") };
    assert_eq!(container.common.as_ref().unwrap().name, "debugger");
    let (items, _) = read(Encoding::Protobuf, &protobuf_list(std::slice::from_ref(&ephemeral), ""), &[11]).unwrap();
    assert_eq!(items, [ephemeral]);
}

#[test]
fn odd_objects_do_not_cost_the_list() {
    let list = r#"{"items": [
        {},
        {"metadata": null, "status": {"containerStatuses": [{"name": null, "state": null}]}},
        {"metadata": {"name": "a", "labels": null, "ownerReferences": null, "creationTimestamp": "yesterday"},
         "spec": null, "status": {"startTime": null, "containerStatuses": null}},
        {"metadata": {"name": "b", "unheard": {"of": [1, 2]}, "creationTimestamp": "2026-11-23T20:00:00Z"}}
    ]}"#;
    let (items, _) = read(Encoding::Json, list.as_bytes(), &[16]).unwrap();
    let created =
        |item: &Pod| item.metadata.as_ref().unwrap().creation_timestamp.and_then(crate::wire::Time::timestamp);
    assert_eq!(items.len(), 4);
    assert_eq!(created(&items[2]), None);
    assert!(created(&items[3]).is_some());
}

#[test]
fn a_watch_is_read_event_by_event() {
    let pod = recorded().remove(0);
    let status = Status { message: Some("too old".into()), code: Some(410) };
    let object = envelope("Pod", &pod.encode_to_vec());
    let mut protobuf = [frame("ADDED", &object), frame("DELETED", &object), frame("BOOKMARK", &object)].concat();
    protobuf.extend(frame("ERROR", &envelope("Status", &status.encode_to_vec())));
    protobuf.extend(frame("SURPRISE", b""));
    let json_pod = &serde_json::from_str::<serde_json::Value>(RECORDED).unwrap()["items"][0];
    let line = |kind: &str, object: &serde_json::Value| format!("{}\n", json!({"type": kind, "object": object}));
    let json = [
        line("MODIFIED", json_pod),
        line("DELETED", json_pod),
        "\n".to_owned(),
        line("BOOKMARK", json_pod),
        line("ERROR", &json!({"kind": "Status", "message": "too old", "code": 410})),
        line("SURPRISE", &json!(1)),
    ]
    .concat();
    for (encoding, bytes) in [(Encoding::Protobuf, protobuf), (Encoding::Json, json.into_bytes())] {
        let mut decoder = WatchDecoder::new(encoding);
        let mut events = Vec::new();
        for piece in bytes.chunks(13) {
            decoder.push(&Bytes::copy_from_slice(piece));
            while let Some(event) = decoder.next::<Pod>().unwrap() {
                events.push(event);
            }
        }
        let expected = [
            Event::Present(pod.clone()),
            Event::Deleted(pod.clone()),
            Event::Bookmark(pod.clone()),
            Event::Error(status.clone()),
            Event::Unknown,
        ];
        assert_eq!(events, expected, "{encoding:?}");
        assert!(!decoder.is_short());
        decoder.push(&Bytes::copy_from_slice(&bytes[..5]));
        assert_eq!(decoder.next::<Pod>(), Ok(None));
        assert!(decoder.is_short());
    }
}

/// The API server checks neither annotations nor images nor the kinds of owners for it, in protobuf.
#[test]
fn a_text_that_is_not_utf_8_does_not_cost_the_list() {
    let mut pod = recorded().remove(0);
    let metadata = pod.metadata.get_or_insert_default();
    metadata.annotations.insert("note".into(), b"caf\xe9".to_vec());
    metadata.owner_references.push(crate::wire::OwnerReference { kind: b"\xff".to_vec(), ..Default::default() });
    pod.spec.get_or_insert_default().containers[0].image = Some(b"i:\xfe".to_vec());
    let (items, _) = read(Encoding::Protobuf, &protobuf_list(std::slice::from_ref(&pod), ""), &[50]).unwrap();
    assert_eq!(items, [pod]);
    let converted = crate::convert::convert_pod(items[0].clone(), &"shop".into(), &mut crate::texts::Texts::default());
    assert_eq!(converted.pod.annotations.get("note").unwrap(), "caf\u{fffd}");
    assert_eq!(
        converted.containers.iter().find(|container| container.image.as_deref() == Some("i:\u{fffd}")).iter().len(),
        1
    );
}

#[test]
fn a_refusal_is_read_in_protobuf() {
    let refused = Status { message: Some("pods is forbidden".into()), code: Some(403) };
    let body = Bytes::from(envelope("Status", &refused.encode_to_vec()));
    assert_eq!(status(&body, Encoding::Protobuf), Some(refused));
    assert_eq!(status(&Bytes::from_static(b"<html>"), Encoding::Protobuf), None);
}
