//! Lines of the server's answers, read where they are shown: a field that a server leaves out or adds breaks nothing.

use serde_json::Value;

/// The text at a JSON pointer; empty if there is none. Lists are joined with commas.
pub(crate) fn text(line: &Value, pointer: &str) -> String {
    match line.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(is)) => if *is { "yes" } else { "no" }.to_owned(),
        Some(Value::Array(items)) => items.iter().map(|item| text(item, "")).collect::<Vec<_>>().join(", "),
        Some(value) => value.to_string(),
    }
}

/// The first text that is there.
pub(crate) fn first(line: &Value, pointers: &[&str]) -> String {
    pointers.iter().map(|pointer| text(line, pointer)).find(|text| !text.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_not_there_is_empty() {
        let line = json!({"a": {"b": 1, "n": null, "t": true}, "l": ["x", "y"]});
        assert_eq!(["/a/b", "/a/n", "/a/t", "/a/c", "/l"].map(|at| text(&line, at)), ["1", "", "yes", "", "x, y"]);
        assert_eq!(first(&line, &["/a/n", "/c", "/a/b"]), "1");
    }
}
