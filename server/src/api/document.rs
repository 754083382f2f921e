//! The description of the interface, with what every operation has in common.

use serde_json::{Map, Value, json};
use utoipa::openapi::OpenApi;

/// What any request may be answered: status, and why.
const ALWAYS: [(&str, &str); 5] = [
    ("400", "The request cannot be understood."),
    ("401", "Nobody is known by the credentials."),
    ("403", "It is not allowed."),
    ("429", "Too much is asked; `Retry-After` says when to try again."),
    ("503", "It cannot be answered at the moment; `Retry-After` says when to try again."),
];

/// What one with a body may be answered besides.
const WITH_BODY: [(&str, &str); 2] = [("413", "The body is too long."), ("415", "The body is of another type.")];

/// The document as it is served.
pub(super) fn complete(document: &OpenApi) -> Value {
    let mut document = serde_json::to_value(document).unwrap_or_default();
    document["security"] = json!([{ "user": [] }, { "token": [] }]);
    document["components"]["securitySchemes"] = json!({
        "user": { "type": "http", "scheme": "basic" },
        "token": { "type": "http", "scheme": "bearer" },
    });
    document["components"]["schemas"]["Problem"] = problem();
    let paths = document.get_mut("paths").and_then(Value::as_object_mut);
    for path in paths.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
        for operation in path.values_mut().filter(|operation| operation["responses"].is_object()) {
            complete_operation(operation);
        }
    }
    document
}

fn complete_operation(operation: &mut Value) {
    let parameters = operation["parameters"].as_array();
    let is_list = parameters.is_some_and(|all| all.iter().any(|parameter| parameter["name"] == "format"));
    let mut errors = ALWAYS.to_vec();
    if operation["requestBody"].is_object() {
        errors.extend(WITH_BODY);
    }
    let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) else { return };
    for (status, description) in errors {
        responses.entry(status).or_insert_with(|| json!({ "description": description }));
    }
    for (_, response) in responses.iter_mut().filter(|(status, _)| status.starts_with(['4', '5'])) {
        response["content"] = json!({
            "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } },
        });
    }
    if is_list {
        for kind in ["application/x-ndjson", "text/csv"] {
            responses["200"]["content"][kind] = json!({ "schema": { "type": "string" } });
        }
    }
}

/// As `stocktake_core::wire::Problem`.
fn problem() -> Value {
    json!({
        "type": "object",
        "description": "Problem details (RFC 9457).",
        "required": ["type", "title"],
        "properties": {
            "type": { "type": "string", "description": "Which problem, if it is one that programs solve." },
            "title": { "type": "string", "description": "What happened, to which thing, and what to do." },
            "detail": { "type": "string" },
            "digests": { "type": "array", "items": { "type": "string" }, "description": "The digests that it is about." },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_says_how_it_fails() {
        let (_, document) = super::super::routes().split_for_parts();
        let document = complete(&document);
        assert_eq!(document["openapi"].as_str().map(|version| &version[..3]), Some("3.1"));
        let list = &document["paths"]["/v1/containers"]["get"]["responses"];
        let problem = "#/components/schemas/Problem";
        assert_eq!(list["401"]["content"]["application/problem+json"]["schema"]["$ref"], problem);
        assert!(list["200"]["content"]["text/csv"].is_object());
        assert!(document["paths"]["/v1/sources/{id}"]["patch"]["responses"]["413"].is_object());
        assert_eq!(list.get("413"), None);
    }
}
