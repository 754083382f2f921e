//! Words that stand in the database as small numbers, and texts that stand there as bytes.

use std::borrow::Cow;

use sha2::{Digest as _, Sha256};
use stocktake_core::{
    Digest,
    model::{ContainerKind, ContainerState},
};
use uuid::Uuid;

/// By position. A word is never moved or taken out.
const KINDS: [ContainerKind; 6] = [
    ContainerKind::Regular,
    ContainerKind::Init,
    ContainerKind::Sidecar,
    ContainerKind::Ephemeral,
    ContainerKind::Sandbox,
    ContainerKind::Other,
];

/// By position. A word is never moved or taken out.
const STATES: [ContainerState; 11] = [
    ContainerState::Waiting,
    ContainerState::Created,
    ContainerState::Running,
    ContainerState::Paused,
    ContainerState::Restarting,
    ContainerState::Exited,
    ContainerState::Stopped,
    ContainerState::Removing,
    ContainerState::Dead,
    ContainerState::Unknown,
    ContainerState::Other,
];

pub(crate) fn kind_number(kind: ContainerKind) -> i64 {
    number(&KINDS, kind)
}

pub(crate) fn kind(number: i64) -> ContainerKind {
    word(&KINDS, number).unwrap_or(ContainerKind::Other)
}

pub(crate) fn state_number(state: ContainerState) -> i64 {
    number(&STATES, state)
}

pub(crate) fn state(number: i64) -> ContainerState {
    word(&STATES, number).unwrap_or(ContainerState::Other)
}

fn number<T: Copy + PartialEq>(words: &[T], wanted: T) -> i64 {
    words.iter().position(|word| *word == wanted).and_then(|position| i64::try_from(position).ok()).unwrap_or_default()
}

fn word<T: Copy>(words: &[T], number: i64) -> Option<T> {
    usize::try_from(number).ok().and_then(|position| words.get(position)).copied()
}

/// What stands before an identifier that a runtime has drawn at random: 64 hexadecimal digits, as `core::unify` has it. Two that are
/// equal are of one container, wherever they were seen. Any other may have been chosen by a person twice.
pub(crate) const RANDOM: u8 = 3;

/// The bytes of a hexadecimal identifier behind a 1 (or [`RANDOM`]), those of a UUID behind a 2, or those of any other text behind a 0.
pub(crate) fn pack(text: &str) -> Vec<u8> {
    if let Some(uuid) = Uuid::try_parse(text).ok().filter(|uuid| uuid.hyphenated().to_string() == text) {
        return [&[2], uuid.as_bytes().as_slice()].concat();
    }
    let digits = text.as_bytes();
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let bytes: Option<Vec<u8>> = (!digits.is_empty() && digits.len().is_multiple_of(2))
        .then(|| digits.chunks_exact(2).map(|pair| Some(nibble(pair[0])? << 4 | nibble(pair[1])?)).collect())
        .flatten();
    match bytes {
        Some(bytes) => [&[if bytes.len() == 32 { RANDOM } else { 1 }], bytes.as_slice()].concat(),
        None => [&[0], digits].concat(),
    }
}

/// The text that [`pack`] made bytes of.
pub(crate) fn unpack(bytes: &[u8]) -> String {
    match bytes.split_first() {
        Some((1 | &RANDOM, bytes)) => hex(bytes),
        Some((2, bytes)) => Uuid::from_slice(bytes).map(|uuid| uuid.hyphenated().to_string()).unwrap_or_default(),
        Some((_, text)) => String::from_utf8_lossy(text).into_owned(),
        None => String::new(),
    }
}

/// Bytes of a name, or of one part of a key, that is looked up: PostgreSQL's indexes take no more than 2700 a row.
const INDEXED: usize = 1000;

/// A name as it stands in a row where it is looked up. One that is longer than any that is met is told from others by a hash at its
/// end; all of it is in the scope's body.
pub(crate) fn indexed(name: &str) -> Cow<'_, str> {
    if name.len() <= INDEXED {
        return Cow::Borrowed(name);
    }
    let hash = hex(&Sha256::digest(name)[..16]);
    let end = name.floor_char_boundary(INDEXED - hash.len() - 3);
    Cow::Owned(format!("{}…{hash}", &name[..end]))
}

/// The bytes of a digest.
pub(crate) fn pack_digest(digest: &Digest) -> Vec<u8> {
    pack(digest.encoded()).split_off(1)
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing into a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// As much of a text as is looked up: PostgreSQL's indexes take no more than 2700 bytes a row. All of it stands in `label_set`.
pub(crate) fn start(text: &str) -> &str {
    let mut end = text.len().min(1024);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked() {
        for text in [
            "",
            "a",
            "ab",
            "0001ff",
            "AB",
            "web-1",
            "5f9c2b",
            "ab\u{e9}",
            "0190f0c4-7b1e-7cc2-8f1e-0123456789ab",
            "0190F0C4-7b1e-7cc2-8f1e-0123456789ab",
        ] {
            assert_eq!(unpack(&pack(text)), text);
        }
        assert_eq!(pack("00ff"), [1, 0, 255]);
        let id = "5f9c2b00".repeat(8);
        assert_eq!((pack(&id)[0], unpack(&pack(&id))), (RANDOM, id));
    }

    #[test]
    fn long_names_are_cut_and_told_apart() {
        let name = "\u{e9}".repeat(INDEXED / 2);
        assert_eq!(indexed(&name), name);
        let (one, other) = (indexed(&format!("{name}1")).into_owned(), indexed(&format!("{name}2")).into_owned());
        assert!(one != other && one.len() <= INDEXED && one.starts_with(&name[..900]), "{one}");
        assert_eq!(indexed(&one), one);
    }

    #[test]
    fn words_keep_their_numbers() {
        assert_eq!(kind_number(ContainerKind::Sandbox), 4);
        assert_eq!(state_number(ContainerState::Dead), 8);
        assert!(STATES.iter().all(|word| state(state_number(*word)) == *word));
        assert!(KINDS.iter().all(|word| kind(kind_number(*word)) == *word));
        assert_eq!(state(99), ContainerState::Other);
    }
}
