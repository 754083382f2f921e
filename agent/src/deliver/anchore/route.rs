//! Which account a namespace goes to: exactly one.

use std::{collections::BTreeMap, sync::Arc};

use stocktake_core::{labels::Labels, select::NameSelector};

/// Where a namespace goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Account(Arc<str>),
    /// It has no label that names one, and such are not sent.
    Nowhere,
    /// A label decides, and its labels are not known.
    Unknown,
}

/// A namespace's label that names its account.
pub(super) struct LabelRule {
    pub(super) key: String,
    pub(super) default: Arc<str>,
    pub(super) ignore_missing: bool,
}

/// Decides by patterns first, in the order of the accounts' names, then by the label, then there is the target's own account.
pub(super) struct Router {
    pub(super) patterns: BTreeMap<Arc<str>, NameSelector>,
    pub(super) label: Option<LabelRule>,
    pub(super) account: Arc<str>,
}

impl Router {
    /// The place of a namespace. `labels` are those of its object, if that may be read; a host's namespaces have none, which
    /// nobody can change.
    pub(super) fn place(&self, namespace: &str, labels: Option<&Labels>, is_host: bool) -> Place {
        if let Some((account, _)) = self.patterns.iter().find(|(_, pattern)| pattern.matches(namespace)) {
            return Place::Account(Arc::clone(account));
        }
        let Some(rule) = &self.label else { return Place::Account(Arc::clone(&self.account)) };
        if is_host {
            return Place::Account(Arc::clone(&rule.default));
        }
        let Some(labels) = labels else { return Place::Unknown };
        match labels.get(&rule.key).map(AsRef::as_ref).filter(|account: &&str| !account.is_empty()) {
            Some(account) => Place::Account(Arc::from(account)),
            None if rule.ignore_missing => Place::Nowhere,
            None => Place::Account(Arc::clone(&rule.default)),
        }
    }
}
