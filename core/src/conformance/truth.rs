//! What is in a runtime, and what tells two views of it apart.

use std::collections::BTreeMap;

use serde_json::Value;

use super::look::{End, Look};
use crate::{
    model::{Scope, ScopeId},
    normalise, scope_digest,
};

/// The scopes of a complete collection, normalised.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Truth(pub(super) BTreeMap<ScopeId, Scope>);

impl Truth {
    /// What a look saw, or why that is not everything.
    pub(super) fn of(look: &Look) -> Result<Self, String> {
        match &look.end {
            End::Answered(coverage) if coverage.is_complete() => {}
            End::Answered(coverage) => {
                return Err(format!("the list of scopes is {}: {}", coverage.status(), reason(coverage.reason())));
            }
            end => return Err(end.to_string()),
        }
        let incomplete = look.scopes.iter().find(|scope| !scope.coverage.is_complete());
        if let Some(scope) = incomplete {
            let coverage = &scope.coverage;
            return Err(format!("{} is {}: {}", scope.id, coverage.status(), reason(coverage.reason())));
        }
        Ok(Self(look.scopes.iter().map(|scope| (scope.id.clone(), normalised(&scope.body))).collect()))
    }

    /// The first difference between this and a look that has to be whole.
    pub(super) fn difference(&self, look: &Look) -> Option<String> {
        match Self::of(look) {
            Err(incomplete) => Some(incomplete),
            Ok(seen) => self.difference_from(&seen),
        }
    }

    pub(super) fn difference_from(&self, seen: &Self) -> Option<String> {
        if let Some(id) = self.0.keys().find(|id| !seen.0.contains_key(id)) {
            return Some(format!("{id} is missing"));
        }
        if let Some(id) = seen.0.keys().find(|id| !self.0.contains_key(id)) {
            return Some(format!("{id} is there, and was not before"));
        }
        self.0.iter().find_map(|(id, body)| scope_difference(id, body, seen.0.get(id)?))
    }

    /// What a look that may be incomplete says too much of: something called complete that is not.
    pub(super) fn overclaim(&self, look: &Look) -> Option<String> {
        for scope in look.scopes.iter().filter(|scope| scope.coverage.is_complete()) {
            let Some(body) = self.0.get(&scope.id) else {
                return Some(format!("{} is called complete and does not exist", scope.id));
            };
            if let Some(difference) = scope_difference(&scope.id, body, &normalised(&scope.body)) {
                return Some(format!("called complete: {difference}"));
            }
        }
        if !matches!(&look.end, End::Answered(coverage) if coverage.is_complete()) {
            return None;
        }
        let lacks = self.0.keys().find(|id| !look.scopes.iter().any(|scope| scope.id == **id));
        lacks.map(|id| format!("the list of scopes is called complete and lacks {id}"))
    }
}

pub(super) fn normalised(body: &Scope) -> Scope {
    let mut body = body.clone();
    let _ = normalise(&mut body);
    body
}

fn reason(reason: Option<&str>) -> &str {
    reason.unwrap_or("no reason given")
}

fn scope_difference(id: &ScopeId, before: &Scope, after: &Scope) -> Option<String> {
    if scope_digest(before) == scope_digest(after) {
        return None;
    }
    let json = |scope| serde_json::to_value(scope).unwrap_or_default();
    Some(format!("{id} differs in {}", first_difference("", &json(before), &json(after))))
}

/// Where two documents begin to differ, as a JSON pointer with both values.
fn first_difference(pointer: &str, before: &Value, after: &Value) -> String {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            let mut keys = a.keys().chain(b.keys());
            if let Some(key) = keys.find(|key| a.get(*key) != b.get(*key)) {
                let missing = &Value::Null;
                let pointer = format!("{pointer}/{key}");
                return first_difference(&pointer, a.get(key).unwrap_or(missing), b.get(key).unwrap_or(missing));
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() != b.len() => {
            return format!("`{pointer}`: {} entries, then {}", a.len(), b.len());
        }
        (Value::Array(a), Value::Array(b)) => {
            if let Some(index) = (0..a.len()).find(|index| a[*index] != b[*index]) {
                return first_difference(&format!("{pointer}/{index}"), &a[index], &b[index]);
            }
        }
        _ => {}
    }
    let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
    format!("`{pointer}`: {}, then {}", short(before), short(after))
}
