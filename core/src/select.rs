//! Settings that choose by name or by state, read alike by every collector.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::model::{ContainerState, Shown};

/// A pattern for names: exact (`shop`), a glob (`team-*`, `shop-[0-9]`) or a regular expression between slashes
/// (`/^kube-(system|public)$/`), which has to match the whole name.
#[derive(Clone, Debug)]
pub struct NamePattern {
    text: String,
    matcher: Matcher,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// `*`, which every selector has unless somebody writes another: it needs no automaton.
    Everything,
    Exact,
    Glob(globset::GlobMatcher),
    Regex(regex::Regex),
}

/// Why a string is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{pattern}` is not a valid pattern: {reason}")]
pub struct InvalidPattern {
    pattern: String,
    reason: String,
}

impl NamePattern {
    /// Whether the pattern covers `name`.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        match &self.matcher {
            Matcher::Everything => true,
            Matcher::Exact => self.text == name,
            Matcher::Glob(glob) => glob.is_match(name),
            Matcher::Regex(regex) => regex.is_match(name),
        }
    }

    /// The name, if the pattern can match only one.
    #[must_use]
    pub fn exact(&self) -> Option<&str> {
        matches!(self.matcher, Matcher::Exact).then_some(self.text.as_str())
    }
}

impl FromStr for NamePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = |reason: String| InvalidPattern { pattern: text.to_owned(), reason };
        let matcher = if text.is_empty() {
            return Err(invalid("it is empty; write `*` for all".into()));
        } else if text == "*" {
            Matcher::Everything
        } else if let Some(expression) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) {
            let whole = format!("^(?:{expression})$");
            Matcher::Regex(regex::Regex::new(&whole).map_err(|error| invalid(last_line(&error.to_string())))?)
        } else if text.contains(['*', '?', '[', '{']) {
            Matcher::Glob(
                globset::Glob::new(text).map_err(|error| invalid(error.kind().to_string()))?.compile_matcher(),
            )
        } else {
            Matcher::Exact
        };
        Ok(Self { text: text.to_owned(), matcher })
    }
}

/// The regex crate draws the place of an error over several lines; the last one says what it is.
fn last_line(message: &str) -> String {
    message.lines().last().unwrap_or(message).trim_start_matches("error: ").to_owned()
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for NamePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for NamePattern {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NamePattern".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "description": "An exact name, a glob (`team-*`) or a regular expression between slashes (`/team-\\d+/`).",
        })
    }
}

/// A choice of names: those that some `include` pattern covers and no `exclude` pattern does.
///
/// Written as a list of patterns to include, or as `{ include = […], exclude = […] }`; `include` defaults to all.
#[derive(Clone, Debug)]
pub struct NameSelector {
    include: Vec<NamePattern>,
    exclude: Vec<NamePattern>,
}

/// What a [`NameSelector`] says of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'n> {
    /// It is chosen.
    Chosen,
    /// No `include` pattern covers it.
    NotIncluded,
    /// An `exclude` pattern covers it: the first that does, and the name that it covers.
    Excluded {
        /// Position of the pattern.
        position: usize,
        /// The name.
        name: &'n str,
    },
}

impl Default for NameSelector {
    fn default() -> Self {
        Self { include: vec![everything()], exclude: Vec::new() }
    }
}

fn everything() -> NamePattern {
    NamePattern { text: "*".into(), matcher: Matcher::Everything }
}

impl NameSelector {
    /// Whether `name` is chosen.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.include.iter().any(|pattern| pattern.matches(name))
            && !self.exclude.iter().any(|pattern| pattern.matches(name))
    }

    /// Whether a thing that goes by several names is chosen: some `include` pattern covers one of them, and no `exclude`
    /// pattern any. What has no name goes by the empty one, which `*` covers.
    pub fn verdict<'n>(&self, names: impl IntoIterator<Item = &'n str, IntoIter: Clone>) -> Verdict<'n> {
        let names = names.into_iter();
        for (position, pattern) in self.exclude.iter().enumerate() {
            if let Some(name) = names.clone().find(|name| pattern.matches(name)) {
                return Verdict::Excluded { position, name };
            }
        }
        let mut any = names.clone().peekable();
        let is_unnamed = any.peek().is_none();
        let covers = |name: &str| self.include.iter().any(|pattern| pattern.matches(name));
        if any.any(covers) || (is_unnamed && covers("")) { Verdict::Chosen } else { Verdict::NotIncluded }
    }

    /// Whether every name is chosen because nothing else is written.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.includes_everything() && self.exclude.is_empty()
    }

    /// Whether `include` is left out, or has a pattern that covers every name by its text.
    #[must_use]
    pub fn includes_everything(&self) -> bool {
        self.include.iter().any(|pattern| pattern.text == "*")
    }

    /// The patterns of `exclude`, in their order.
    #[must_use]
    pub fn excluded(&self) -> &[NamePattern] {
        &self.exclude
    }

    /// The names that are written out in `include` and not excluded: those that can be asked for without a list.
    pub fn exact_names(&self) -> impl Iterator<Item = &str> {
        self.include.iter().filter_map(NamePattern::exact).filter(|name| self.matches(name))
    }

    /// Whether only written-out names are included, so that no list of names is needed to know what is chosen.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.include.iter().all(|pattern| pattern.exact().is_some())
    }
}

impl<'de> Deserialize<'de> for NameSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            #[serde(default)]
            include: Option<Vec<NamePattern>>,
            #[serde(default)]
            exclude: Vec<NamePattern>,
        }

        /// Not an untagged enum: its complaint would be that nothing matched, not what is wrong where.
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = NameSelector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of name patterns, or a table with `include` and `exclude`")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, seq: A) -> Result<NameSelector, A::Error> {
                let include = Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                selector(Some(include), Vec::new())
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<NameSelector, A::Error> {
                let table = Table::deserialize(de::value::MapAccessDeserializer::new(map))?;
                selector(table.include, table.exclude)
            }
        }

        fn selector<E: de::Error>(
            include: Option<Vec<NamePattern>>,
            exclude: Vec<NamePattern>,
        ) -> Result<NameSelector, E> {
            match include {
                Some(include) if include.is_empty() => {
                    Err(E::custom("the list is empty, so nothing would be chosen; write `[\"*\"]` for all"))
                }
                include => Ok(NameSelector { include: include.unwrap_or_else(|| vec![everything()]), exclude }),
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for NameSelector {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "NameSelector".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let pattern = generator.subschema_for::<NamePattern>();
        json_schema!({
            "oneOf": [
                { "type": "array", "items": pattern, "minItems": 1 },
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "include": {
                            "description": "Names to choose; all by default.",
                            "type": "array",
                            "items": pattern,
                            "minItems": 1,
                        },
                        "exclude": {
                            "description": "Names to leave out of those; none by default.",
                            "type": "array",
                            "items": pattern,
                        },
                    },
                },
            ],
        })
    }
}

/// A choice of container states, written as a list of states or `["all"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateSelector(Option<Vec<ContainerState>>);

/// States that can be asked for; `waiting` is not one, because no runtime has such a container yet.
const SELECTABLE: [ContainerState; 8] = [
    ContainerState::Created,
    ContainerState::Running,
    ContainerState::Paused,
    ContainerState::Restarting,
    ContainerState::Exited,
    ContainerState::Stopped,
    ContainerState::Removing,
    ContainerState::Dead,
];

impl StateSelector {
    /// Every state.
    pub const ALL: Self = Self(None);

    /// What `docker ps` shows: containers that have a process.
    #[must_use]
    pub fn running() -> Self {
        Self(Some(vec![ContainerState::Running, ContainerState::Paused, ContainerState::Restarting]))
    }

    /// How much of what there is is chosen.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let all_of = |states: &[ContainerState]| states.iter().all(|state| self.matches(*state));
        match Self::running().0 {
            _ if all_of(&SELECTABLE) => Shown::All,
            Some(running) if all_of(&running) => Shown::Running,
            _ => Shown::Part,
        }
    }

    /// Whether containers in `state` are chosen. A state that the runtime does not know is always shown.
    #[must_use]
    pub fn matches(&self, state: ContainerState) -> bool {
        matches!(state, ContainerState::Unknown | ContainerState::Other)
            || self.0.as_ref().is_none_or(|states| states.contains(&state))
    }
}

impl Default for StateSelector {
    fn default() -> Self {
        Self::running()
    }
}

impl<'de> Deserialize<'de> for StateSelector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word(Option<ContainerState>);
        impl<'de> Deserialize<'de> for Word {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = Cow::<str>::deserialize(deserializer)?;
                if word == "all" {
                    return Ok(Self(None));
                }
                let known = || SELECTABLE.iter().map(|state| state.as_str()).chain(["all"]);
                SELECTABLE.into_iter().find(|state| state.as_str() == word).map(|state| Self(Some(state))).ok_or_else(
                    || {
                        let words = known().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
                        de::Error::custom(format!("unknown state `{word}`, expected one of {words}"))
                    },
                )
            }
        }
        let words = Vec::<Word>::deserialize(deserializer)?;
        if words.is_empty() {
            return Err(de::Error::custom("the list is empty, so nothing would be chosen; write `[\"all\"]` for all"));
        }
        Ok(Self(words.into_iter().map(|word| word.0).collect()))
    }
}

impl JsonSchema for StateSelector {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "StateSelector".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let words: Vec<&str> = SELECTABLE.iter().map(|state| state.as_str()).chain(["all"]).collect();
        json_schema!({
            "type": "array",
            "minItems": 1,
            "items": { "type": "string", "enum": words },
            "default": ["running", "paused", "restarting"],
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ConfigError;

    fn selector(value: serde_json::Value) -> Result<NameSelector, ConfigError> {
        ConfigError::deserialize(value)
    }

    #[test]
    fn exact_names_globs_and_regular_expressions() {
        let chosen = selector(json!(["shop", "team-*", "/db-\\d+/"])).unwrap();
        for name in ["shop", "team-a", "team-", "db-12"] {
            assert!(chosen.matches(name), "{name}");
        }
        for name in ["shop2", "my-team-a", "db-x", "xdb-1", "db-1x", ""] {
            assert!(!chosen.matches(name), "{name}");
        }
        assert_eq!(chosen.exact_names().collect::<Vec<_>>(), ["shop"]);
        assert!(!chosen.is_exact());
    }

    #[test]
    fn exclusion_wins_and_inclusion_defaults_to_all() {
        let chosen = selector(json!({"exclude": ["kube-*"]})).unwrap();
        assert!(chosen.matches("shop") && !chosen.matches("kube-system"));
        let none = selector(json!({"include": ["a"], "exclude": ["a"]})).unwrap();
        assert_eq!(none.exact_names().count(), 0);
        assert!(NameSelector::default().matches("anything"));
    }

    #[test]
    fn a_thing_of_several_names_is_excluded_by_any_and_included_by_one() {
        let chosen = selector(json!({"include": ["team/*", "web"], "exclude": ["secret", "team/x-*"]})).unwrap();
        assert_eq!(chosen.verdict(["other", "web"]), Verdict::Chosen);
        assert_eq!(chosen.verdict(["web", "team/x-1"]), Verdict::Excluded { position: 1, name: "team/x-1" });
        assert_eq!(chosen.verdict(["other"]), Verdict::NotIncluded);
        assert_eq!(chosen.verdict([]), Verdict::NotIncluded);
        assert_eq!(selector(json!({"exclude": ["a"]})).unwrap().verdict([]), Verdict::Chosen);
    }

    #[test]
    fn complaints_name_the_place() {
        let complaint = |value| selector(value).unwrap_err().to_string();
        assert!(complaint(json!(["a", "/(/"])).starts_with("[1]: `/(/` is not a valid pattern: unclosed group"));
        assert!(complaint(json!({"includes": ["a"]})).ends_with("did you mean `include`?"));
        assert!(complaint(json!([])).contains("nothing would be chosen"));
        assert!(complaint(json!("x")).contains("expected a list of name patterns, or a table"));
    }

    #[test]
    fn states() {
        let states: StateSelector = ConfigError::deserialize(json!(["exited"])).unwrap();
        assert!(states.matches(ContainerState::Exited) && !states.matches(ContainerState::Running));
        assert!(states.matches(ContainerState::Unknown), "what the runtime does not know is not hidden");
        let all: StateSelector = ConfigError::deserialize(json!(["running", "all"])).unwrap();
        assert_eq!(all, StateSelector::ALL);
        assert_eq!(
            [all.shown(), StateSelector::default().shown(), states.shown()],
            [Shown::All, Shown::Running, Shown::Part]
        );
        let error = ConfigError::deserialize::<StateSelector, _>(json!(["runing"])).unwrap_err();
        assert_eq!(error.path, "[0]");
        assert_eq!(error.hint.as_deref(), Some("did you mean `running`?"));
    }
}
