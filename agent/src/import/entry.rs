//! What stands at one key of theirs.

use super::yaml::{Node, Value};

/// A key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Keys joined by dots, as they are written.
    pub(super) key: String,
    pub(super) line: usize,
    pub(super) value: Value,
}

/// What of a list stands where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) line: usize,
    pub(super) text: String,
}

/// What was expected of a value.
type Read<T> = Result<T, String>;

impl Entry {
    /// The entries of a document, each at the deepest key that is a key of theirs or leads to none.
    pub(super) fn all(document: Value, is_whole: impl Fn(&str) -> bool) -> Vec<Self> {
        let mut found = Vec::new();
        collect("", Node { line: 1, value: document }, &is_whole, &mut found);
        found
    }

    /// Their programs know keys in any case.
    pub(super) fn is(&self, key: &str) -> bool {
        self.key.eq_ignore_ascii_case(key)
    }

    /// What stands beneath it.
    pub(super) fn within(&self) -> Read<Vec<Self>> {
        let Value::Table(entries) = &self.value else { return Err(self.expected("a table")) };
        let entry = |(key, node): &(String, Node)| Self {
            key: format!("{}.{key}", self.key),
            line: node.line,
            value: node.value.clone(),
        };
        Ok(entries.iter().map(entry).collect())
    }

    /// The last of its keys.
    pub(super) fn name<'e>(&'e self, parent: &Self) -> &'e str {
        self.key.get(parent.key.len() + 1..).unwrap_or_default()
    }

    pub(super) fn text(&self) -> Read<String> {
        scalar(&self.value).ok_or_else(|| self.expected("a text"))
    }

    pub(super) fn truth(&self) -> Read<bool> {
        match scalar(&self.value).unwrap_or_default().to_ascii_lowercase().as_str() {
            "true" | "1" | "t" => Ok(true),
            "false" | "0" | "f" => Ok(false),
            _ => Err(self.expected("`true` or `false`")),
        }
    }

    pub(super) fn whole(&self) -> Read<u64> {
        let text = scalar(&self.value).unwrap_or_default();
        text.trim().parse().map_err(|_| self.expected("a whole number that is not negative"))
    }

    /// A list; a text is one as well, with commas.
    pub(super) fn list(&self) -> Read<Vec<Item>> {
        let wrong = || self.expected("a list of texts");
        match &self.value {
            Value::List(items) => items
                .iter()
                .map(|node| Some(Item { line: node.line, text: scalar(&node.value).filter(|text| !text.is_empty())? }))
                .collect::<Option<_>>()
                .ok_or_else(wrong),
            Value::Text(text) => {
                Ok(text.split(',').map(|text| Item { line: self.line, text: text.trim().to_owned() }).collect())
            }
            _ => Err(wrong()),
        }
    }

    /// The environment variable that stands for the text: `$NAME` or `${NAME}`.
    pub(super) fn variable(&self) -> Option<&str> {
        let Value::Text(text) = &self.value else { return None };
        let name = text.strip_prefix('$')?;
        let name = name.strip_prefix('{').map_or(Some(name), |name| name.strip_suffix('}'))?;
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = !name.is_empty() && name.bytes().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
        is_name.then_some(name)
    }

    fn expected(&self, what: &str) -> String {
        format!("it is {}, expected {what}", self.value.kind())
    }
}

fn collect(path: &str, node: Node, is_whole: &impl Fn(&str) -> bool, found: &mut Vec<Entry>) {
    match node.value {
        Value::Table(entries) if !entries.is_empty() && !is_whole(&path.to_ascii_lowercase()) => {
            for (key, node) in entries {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                collect(&path, node, is_whole, found);
            }
        }
        // An empty document.
        value if path.is_empty() && value.is_empty() => {}
        value => found.push(Entry { key: path.to_owned(), line: node.line, value }),
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Truth(truth) => Some(truth.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Text(text) => Some(text.clone()),
        Value::Nothing | Value::List(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: Value) -> Entry {
        Entry { key: "a.b".into(), line: 3, value }
    }

    #[test]
    fn a_variable_is_told_from_a_password() {
        let variable = |text: &str| entry(Value::Text(text.into())).variable().map(str::to_owned);
        assert_eq!(variable("$KAI_PASSWORD").as_deref(), Some("KAI_PASSWORD"));
        assert_eq!(variable("${_a1}").as_deref(), Some("_a1"));
        for text in ["", "$", "${}", "${A", "$A}", "a$B", "$1a", "$a-b", "$a b", "$$A"] {
            assert_eq!(variable(text), None, "{text}");
        }
    }

    #[test]
    fn values_are_read_as_their_programs_do() {
        let text = |text: &str| entry(Value::Text(text.into()));
        assert_eq!(text("60").whole(), Ok(60));
        assert_eq!(entry(Value::Number(60)).whole(), Ok(60));
        assert_eq!(
            entry(Value::Number(-1)).whole().unwrap_err(),
            "it is a number, expected a whole number that is not negative"
        );
        assert_eq!(text("true").truth(), Ok(true));
        assert_eq!(text("yes").truth().unwrap_err(), "it is a text, expected `true` or `false`");
        assert_eq!(entry(Value::Number(7)).text().as_deref(), Ok("7"));
        let list = text("a, b").list().unwrap();
        assert_eq!(list.iter().map(|item| item.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(entry(Value::List(vec![Node { line: 4, value: Value::Nothing }])).list().is_err());
    }
}
