//! What an event is known by to whoever follows: its number, and a digest of what it is. Numbers are given again when a database is restored
//! that lacks the latest of them, and what is known by another digest then is another event.

use sqlx::{AnyConnection, any::AnyRow};
use stocktake_core::Digest;

use super::statement::{Statement, integer};

/// How many hexadecimal digits the digest has. Of two events of one number, one in four thousand million has that of the other.
const DIGITS: usize = 8;

/// Columns that [`of`] reads of an event `ev`.
pub(super) const COLUMNS: &str = "ev.account_id AS account_id, ev.id AS id, ev.at AS at, ev.kind AS kind, ev.entity AS entity, \
    ev.entity_id AS entity_id, ev.scope_id AS scope_id";

/// The one of a row.
pub(super) fn of(row: &AnyRow) -> Result<String, sqlx::Error> {
    let mut text = String::new();
    for column in ["account_id", "id", "at", "kind", "entity", "entity_id", "scope_id"] {
        text.push_str(&integer(row, column)?.to_string());
        text.push('/');
    }
    let digest = Digest::sha256(text.as_bytes()).to_string();
    let hex = digest.rsplit(':').next().unwrap_or_default();
    Ok(format!("{}-{}", integer(row, "id")?, hex.get(..DIGITS).unwrap_or(hex)))
}

/// What an event is known by that was removed with age, so that its digest is not known any more: it is that of no event.
pub(super) fn of_removed(number: i64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number}-{:0DIGITS$}", 0) }
}

/// That of the account's event of a number; none if there is none, or none any more.
pub(super) async fn of_number(
    connection: &mut AnyConnection,
    account_id: i64,
    number: i64,
) -> Result<Option<String>, sqlx::Error> {
    let mut statement = Statement::of_account(account_id);
    let number = statement.bind(number);
    statement.text = format!("SELECT {COLUMNS} FROM event AS ev WHERE ev.account_id = $1 AND ev.id = {number}");
    statement.fetch(connection).await?.first().map(of).transpose()
}

/// The number in what a client says, and whether a digest goes with it; none if it is not of that form.
pub(super) fn read(text: &str) -> Option<(i64, bool)> {
    let (number, digest) = match text.split_once('-') {
        Some((number, digest)) => (number, Some(digest)),
        None => (text, None),
    };
    let is_digest =
        |digest: &str| digest.len() == DIGITS && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    // As it is written: ids are compared as texts.
    let number = number.parse().ok().filter(|parsed: &i64| *parsed >= 0 && parsed.to_string() == number)?;
    digest.is_none_or(is_digest).then_some((number, digest.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_may_have_its_digest_with_it() {
        for (text, expected) in [
            ("0", Some((0, false))),
            ("4711", Some((4711, false))),
            ("4711-0123abcd", Some((4711, true))),
            ("4711-0123ABCD", None),
            ("04711-0123abcd", None),
            ("+4711", None),
            ("4711-0123abc", None),
            ("4711-0123abcg", None),
            ("4711-", None),
            ("-4711", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
    }
}
