//! The rules by number, as `docs/collector-spec.md` has them with their reasons.

/// A rule of the collector specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// `C-01`. A number is never given to another rule.
    pub number: &'static str,
    /// What is asked of a collector, in the words of RFC 2119.
    pub sentence: &'static str,
}

const fn rule(number: &'static str, sentence: &'static str) -> Rule {
    Rule { number, sentence }
}

pub(super) const KIND: Rule =
    rule("C-01", "The kind MUST be lower-case letters, digits and dashes, and MUST begin with a letter.");
pub(super) const SUMMARY: Rule =
    rule("C-02", "The summary MUST be one line of at most 100 characters, without a full stop.");
pub(super) const DESCRIPTIONS: Rule = rule("C-03", "Every setting MUST have a description in the schema.");
pub(super) const UNKNOWN_KEYS: Rule = rule("C-04", "Settings MUST refuse a key that they do not have, and name it.");
pub(super) const WRONG_TYPES: Rule = rule("C-05", "Settings MUST refuse a value of a wrong type, and name its key.");
pub(super) const CONSTRUCTION: Rule =
    rule("C-06", "Building a collector MUST NOT ask the runtime: it succeeds, at once, while that is down or hangs.");
pub(super) const IDENTITY: Rule =
    rule("C-07", "A probe MUST tell the runtime's name and version, and the machine or cluster that it runs on.");
pub(super) const STABLE_IDENTITY: Rule = rule("C-08", "Probes of an unchanged runtime MUST agree.");
pub(super) const COMPLETE: Rule = rule("C-09", "A collection from a runtime that answers MUST be complete.");
pub(super) const SCOPES: Rule = rule(
    "C-10",
    "A scope MUST be handed over once a collection, and MUST have a name unless it is a host or a cluster.",
);
pub(super) const UNIQUE_IDS: Rule = rule("C-11", "Identifiers MUST be unique within a scope.");
pub(super) const REFERENCES: Rule = rule("C-12", "References MUST lead to something in the same scope.");
pub(super) const IMAGE_OR_REASON: Rule =
    rule("C-13", "A container MUST have either an image or the reason why it has none.");
pub(super) const DIGEST_ROLES: Rule =
    rule("C-14", "Digests of an index, a manifest and a configuration MUST NOT be taken for one another.");
pub(super) const IMAGES_IN_USE: Rule =
    rule("C-15", "An image MUST NOT be reported unless a container of the scope refers to it.");
pub(super) const PROVIDES: Rule = rule("C-16", "What is not in `PROVIDES` MUST NOT be reported.");
pub(super) const VOCABULARY: Rule =
    rule("C-17", "The word `other`, which stands for words of newer versions, MUST NOT be reported.");
pub(super) const SECRETS: Rule =
    rule("C-18", "Environment variables and command lines of containers MUST NOT be reported.");
pub(super) const DETERMINISM: Rule =
    rule("C-19", "Collections from an unchanged runtime MUST be equal, whichever collector object makes them.");
pub(super) const SELECTION: Rule =
    rule("C-20", "A selection MUST bring the selected scopes and no other, and each as a whole collection brings it.");
pub(super) const ABSENT_SCOPE: Rule =
    rule("C-21", "A selected scope that does not exist MUST be handed over empty and complete.");
pub(super) const CONCURRENCY: Rule = rule("C-22", "Collections at the same time MUST bring what one alone brings.");
pub(super) const CANCELLATION: Rule =
    rule("C-23", "A collection that is dropped at any await MUST NOT change what the next one brings.");
pub(super) const LEFTOVERS: Rule =
    rule("C-24", "A collection MUST NOT leave files, threads, tasks or processes behind, be it dropped or at its end.");
pub(super) const LETTING_GO: Rule =
    rule("C-25", "A collection that waits MUST let go of its thread, so that it can be dropped.");
pub(super) const DOWN_PROBE: Rule =
    rule("C-26", "A probe of a runtime that is down MUST fail as `Unavailable` within the deadline.");
pub(super) const DOWN: Rule = rule(
    "C-27",
    "A collection from a runtime that is down MUST fail as `Unavailable`, or bring nothing but failed scopes, in time.",
);
pub(super) const HUNG: Rule = rule("C-28", "A collection from a runtime that hangs MUST NOT call anything complete.");
pub(super) const KILLED: Rule = rule(
    "C-29",
    "When the runtime dies during a collection, that MUST end in time, and what it calls complete MUST be so.",
);
pub(super) const COMES_BACK: Rule =
    rule("C-30", "When the runtime answers again, the same collector MUST bring all of it.");
pub(super) const STREAM_DROPPED: Rule = rule(
    "C-31",
    "A stream of changes MUST do nothing before it is polled, and MUST leave nothing behind when it is dropped.",
);
pub(super) const STREAM_STANDS: Rule =
    rule("C-32", "A stream of changes MUST begin with `All` within the deadline, or end without an item.");
pub(super) const STREAM_ENDS: Rule = rule(
    "C-33",
    "When the runtime dies, a stream of changes MUST end with an error in time; when it is back, another one MUST stand.",
);

/// All rules, by number.
pub const RULES: &[Rule] = &[
    KIND,
    SUMMARY,
    DESCRIPTIONS,
    UNKNOWN_KEYS,
    WRONG_TYPES,
    CONSTRUCTION,
    IDENTITY,
    STABLE_IDENTITY,
    COMPLETE,
    SCOPES,
    UNIQUE_IDS,
    REFERENCES,
    IMAGE_OR_REASON,
    DIGEST_ROLES,
    IMAGES_IN_USE,
    PROVIDES,
    VOCABULARY,
    SECRETS,
    DETERMINISM,
    SELECTION,
    ABSENT_SCOPE,
    CONCURRENCY,
    CANCELLATION,
    LEFTOVERS,
    LETTING_GO,
    DOWN_PROBE,
    DOWN,
    HUNG,
    KILLED,
    COMES_BACK,
    STREAM_DROPPED,
    STREAM_STANDS,
    STREAM_ENDS,
];
