//! JSON lists and watches, cut into their objects while they arrive. What an object is, serde reads.

use bytes::{Buf as _, Bytes, BytesMut};
use serde::{
    Deserialize,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::value::RawValue;

use super::{Broken, Event, MAX_OBJECT, event};
use crate::wire::ListMeta;

/// A list that is being received: an object one of whose members is `items`.
#[derive(Debug, Default)]
pub(crate) struct List {
    buffer: BytesMut,
    at: At,
    extent: Extent,
    meta: ListMeta,
    has_items: bool,
    /// Bytes of white space after the end.
    trailing: usize,
}

/// What comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The list's `{`.
    #[default]
    Start,
    /// A member's name; the list's `}` as well, if it is the first.
    Name {
        first: bool,
    },
    Colon(Member),
    Value(Member),
    /// A comma or the list's `}`.
    Comma,
    /// An item; the `]` as well, if it is the first.
    Item {
        first: bool,
    },
    /// A comma or the `]`.
    ItemComma,
    /// Nothing but white space.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Member {
    Items,
    Metadata,
    Other,
}

impl List {
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Broken> {
        loop {
            if self.extent == Extent::default() {
                let blank = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
                self.buffer.advance(blank);
                if self.at == At::End {
                    self.trailing += blank;
                }
                if self.trailing > MAX_OBJECT {
                    return Err(Broken::Foreign("it goes on after its end".into()));
                }
            }
            let Some(first) = self.buffer.first().copied() else { return Ok(None) };
            match (self.at, first) {
                (At::Start, b'{') => self.step(At::Name { first: true }),
                (At::Name { first: true } | At::Comma, b'}') => self.step(At::End),
                (At::Name { .. }, b'"') => {
                    let Some(name) = self.value()? else { return Ok(None) };
                    self.at = At::Colon(
                        match serde_json::from_slice::<String>(&name).map_err(|error| foreign(&error))?.as_str() {
                            "items" => Member::Items,
                            "metadata" => Member::Metadata,
                            _ => Member::Other,
                        },
                    );
                }
                (At::Colon(member), b':') => self.step(At::Value(member)),
                (At::Value(Member::Items), b'[') => {
                    self.has_items = true;
                    self.step(At::Item { first: true });
                }
                (At::Value(member), _) => {
                    let Some(value) = self.value()? else { return Ok(None) };
                    match member {
                        // Go writes a list without items so.
                        Member::Items if value == "null" => self.has_items = true,
                        Member::Items => return Err(Broken::Foreign("its `items` are no list".into())),
                        Member::Metadata => {
                            self.meta = serde_json::from_slice::<Option<ListMeta>>(&value)
                                .map_err(|error| foreign(&error))?
                                .unwrap_or_default();
                        }
                        Member::Other => {
                            let _: IgnoredAny = serde_json::from_slice(&value).map_err(|error| foreign(&error))?;
                        }
                    }
                    self.at = At::Comma;
                }
                (At::Comma, b',') => self.step(At::Name { first: false }),
                (At::Item { first: true } | At::ItemComma, b']') => self.step(At::Comma),
                (At::ItemComma, b',') => self.step(At::Item { first: false }),
                (At::Item { .. }, _) => {
                    let Some(item) = self.value()? else { return Ok(None) };
                    self.at = At::ItemComma;
                    return serde_json::from_slice(&item).map(Some).map_err(|error| foreign(&error));
                }
                _ => return Err(Broken::Foreign("it is no JSON list".into())),
            }
        }
    }

    /// Passes over one byte.
    fn step(&mut self, to: At) {
        self.buffer.advance(1);
        self.at = to;
    }

    /// Takes out the value that the buffer begins with, if all of it is there.
    fn value(&mut self) -> Result<Option<Bytes>, Broken> {
        let end = self.extent.find(&self.buffer);
        if end.unwrap_or(self.buffer.len()) > MAX_OBJECT {
            return Err(Broken::Large);
        }
        Ok(end.map(|end| {
            self.extent = Extent::default();
            self.buffer.split_to(end).freeze()
        }))
    }

    pub(super) fn finish(mut self) -> Result<ListMeta, Broken> {
        if self.next::<IgnoredAny>()?.is_some() || self.at != At::End {
            return Err(Broken::Short);
        }
        // A proxy's `{}`, or a `Status` sent with 200, would be an empty list otherwise.
        if self.has_items { Ok(self.meta) } else { Err(Broken::Foreign("it is no list".into())) }
    }
}

/// The way through a value, so that what was looked at need not be looked at again when more arrives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Extent {
    passed: usize,
    depth: usize,
    in_string: bool,
    is_escaped: bool,
}

impl Extent {
    /// Where the value ends that `bytes` begin with.
    fn find(&mut self, bytes: &[u8]) -> Option<usize> {
        for (position, byte) in bytes.iter().enumerate().skip(self.passed) {
            if self.in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => {
                        self.in_string = false;
                        if self.depth == 0 {
                            return Some(position + 1);
                        }
                    }
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                // A number or word ends where its surroundings go on.
                b'}' | b']' | b',' if self.depth == 0 => return Some(position),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(position + 1);
                    }
                }
                byte if self.depth == 0 && byte.is_ascii_whitespace() => return Some(position),
                _ => {}
            }
        }
        self.passed = bytes.len();
        None
    }
}

fn foreign(error: &serde_json::Error) -> Broken {
    Broken::Foreign(error.to_string())
}

/// A watch that is being received: an event a line.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    buffer: BytesMut,
    passed: usize,
}

#[derive(Deserialize)]
struct WatchEvent<'a> {
    #[serde(rename = "type")]
    kind: String,
    #[serde(borrow)]
    object: &'a RawValue,
}

impl Watch {
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<Event<T>>, Broken> {
        loop {
            let rest = self.buffer.get(self.passed..).unwrap_or_default();
            let end = rest.iter().position(|byte| *byte == b'\n').map(|end| self.passed + end);
            if end.unwrap_or(self.buffer.len()) > MAX_OBJECT {
                return Err(Broken::Large);
            }
            let Some(end) = end else {
                self.passed = self.buffer.len();
                return Ok(None);
            };
            self.passed = 0;
            let line = self.buffer.split_to(end + 1);
            if line.trim_ascii().is_empty() {
                continue;
            }
            let frame: WatchEvent<'_> = serde_json::from_slice(&line).map_err(|error| foreign(&error))?;
            return event(&frame.kind, || read(frame.object), || read(frame.object)).map(Some);
        }
    }

    pub(super) fn is_short(&self) -> bool {
        !self.buffer.trim_ascii().is_empty()
    }
}

fn read<T: DeserializeOwned>(object: &RawValue) -> Result<T, Broken> {
    serde_json::from_str(object.get()).map_err(|error| foreign(&error))
}
