//! Objects in Kubernetes' protobuf, as far as these tests need: metadata, an image, and an error's code.

use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value;

/// A list.
pub(crate) fn list(version: &str, items: &[&Value]) -> Vec<u8> {
    let items = items.iter().map(|item| field(2, &object(item)));
    envelope(
        "PodList",
        &std::iter::once(field(1, &field(2, version.as_bytes()))).chain(items).collect::<Vec<_>>().concat(),
    )
}

/// An event of a watch.
pub(crate) fn event(kind: &str, of: &Value) -> Vec<u8> {
    let object = if kind == "ERROR" { status(of) } else { envelope("Pod", &object(of)) };
    frame(&[field(1, kind.as_bytes()), field(2, &field(1, &object))].concat())
}

/// An error.
pub(crate) fn status(of: &Value) -> Vec<u8> {
    let mut bytes = text(3, &of["message"]);
    encode_key(6, WireType::Varint, &mut bytes);
    encode_varint(of["code"].as_u64().unwrap(), &mut bytes);
    envelope("Status", &bytes)
}

/// Bytes with their length before them.
pub(crate) fn frame(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

fn object(of: &Value) -> Vec<u8> {
    let of_list = |value: &Value, write: fn(&Value) -> Vec<u8>| -> Vec<u8> {
        value.as_array().into_iter().flatten().flat_map(write).collect()
    };
    let spec = [of_list(&of["spec"]["containers"], container), text(10, &of["spec"]["nodeName"])].concat();
    [field(1, &metadata(&of["metadata"])), field(2, &spec)].concat()
}

fn container(of: &Value) -> Vec<u8> {
    field(2, &[text(1, &of["name"]), text(2, &of["image"])].concat())
}

fn metadata(of: &Value) -> Vec<u8> {
    let entry = |(key, value): (&String, &Value)| field(12, &[field(1, key.as_bytes()), text(2, value)].concat());
    let mut bytes =
        [text(1, &of["name"]), text(3, &of["namespace"]), text(5, &of["uid"]), text(6, &of["resourceVersion"])]
            .concat();
    bytes.extend(of["annotations"].as_object().into_iter().flatten().flat_map(entry));
    for owner in of["ownerReferences"].as_array().into_iter().flatten() {
        let mut reference =
            [text(1, &owner["kind"]), text(3, &owner["name"]), text(4, &owner["uid"]), text(5, &owner["apiVersion"])]
                .concat();
        encode_key(6, WireType::Varint, &mut reference);
        encode_varint(u64::from(owner["controller"] == true), &mut reference);
        bytes.extend(field(13, &reference));
    }
    bytes
}

fn text(number: u32, value: &Value) -> Vec<u8> {
    value.as_str().map(|text| field(number, text.as_bytes())).unwrap_or_default()
}

/// A length-delimited field.
fn field(number: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(body.len() as u64, &mut bytes);
    bytes.extend_from_slice(body);
    bytes
}

fn envelope(kind: &str, raw: &[u8]) -> Vec<u8> {
    let type_meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &type_meta), field(2, raw)].concat()
}
