//! Kubernetes' protobuf: `k8s\0` and an envelope (`runtime.Unknown`) around the object, as
//! `k8s.io/apimachinery/pkg/runtime/serializer/protobuf` writes it; of a watch, frames with their length before them.

use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message;

use super::{Broken, Event, MAX_OBJECT, event};
use crate::wire::{ListMeta, Status};

/// What an object in protobuf begins with.
const MAGIC: &[u8] = b"k8s\0";

/// `runtime.Unknown`.
#[derive(Clone, PartialEq, Message)]
struct Envelope {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
    #[prost(string, tag = "3")]
    content_encoding: String,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct TypeMeta {
    #[prost(string, tag = "2")]
    kind: String,
}

/// `metav1.WatchEvent`, whose object is a `runtime.RawExtension`.
#[derive(Clone, PartialEq, Eq, Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(message, optional, tag = "2")]
    object: Option<RawExtension>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

/// A list that is being received. Every `…List` has its metadata in field 1 and its items in field 2.
#[derive(Debug, Default)]
pub(crate) struct List {
    buffer: BytesMut,
    at: At,
    meta: Option<ListMeta>,
    has_begun: bool,
}

/// Where in the answer the buffer begins.
#[derive(Debug, Default, PartialEq, Eq)]
enum At {
    #[default]
    Start,
    /// Between two fields of the envelope.
    Envelope,
    /// Between two fields of the list, which has so many bytes left.
    List { left: u64 },
}

impl List {
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn next<T: Message + Default>(&mut self) -> Result<Option<T>, Broken> {
        loop {
            match self.at {
                At::Start => {
                    let enough = self.buffer.len().min(MAGIC.len());
                    if self.buffer[..enough] != MAGIC[..enough] {
                        return Err(Broken::Foreign("it does not begin as Kubernetes' protobuf does".into()));
                    }
                    if enough < MAGIC.len() {
                        return Ok(None);
                    }
                    self.buffer.advance(MAGIC.len());
                    self.at = At::Envelope;
                }
                At::Envelope => {
                    let Some(field) = Field::read(&self.buffer)? else { return Ok(None) };
                    if field.number == 2 && field.is_bytes && !self.has_begun {
                        self.buffer.advance(field.head);
                        self.has_begun = true;
                        self.at = At::List { left: field.length };
                        continue;
                    }
                    let Some(body) = field.take(&mut self.buffer)? else { return Ok(None) };
                    match field.number {
                        1 if field.is_bytes => is_list(&TypeMeta::decode(body).map_err(|error| foreign(&error))?.kind)?,
                        3 if !body.is_empty() => return Err(encoded()),
                        _ => {}
                    }
                }
                At::List { left: 0 } => self.at = At::Envelope,
                At::List { left } => {
                    let Some(field) = Field::read(&self.buffer)? else { return Ok(None) };
                    let size = field.size();
                    let Some(left) = left.checked_sub(size) else {
                        return Err(Broken::Foreign("an item is longer than the list".into()));
                    };
                    let Some(body) = field.take(&mut self.buffer)? else { return Ok(None) };
                    self.at = At::List { left };
                    match field.number {
                        1 if field.is_bytes => {
                            self.meta = Some(ListMeta::decode(body).map_err(|error| foreign(&error))?);
                        }
                        2 if field.is_bytes => return T::decode(body).map(Some).map_err(|error| foreign(&error)),
                        _ => {}
                    }
                }
            }
        }
    }

    pub(super) fn finish(mut self) -> Result<ListMeta, Broken> {
        // Whatever follows the last item.
        if self.next::<()>()?.is_some() || self.at != At::Envelope || !self.buffer.is_empty() || !self.has_begun {
            return Err(Broken::Short);
        }
        self.meta.ok_or_else(|| Broken::Foreign("it is no list".into()))
    }
}

/// An answer of something else, such as a `Status`, has a field 2 as well.
fn is_list(kind: &str) -> Result<(), Broken> {
    if kind.ends_with("List") { Ok(()) } else { Err(Broken::Foreign("it is no list".into())) }
}

/// The beginning of a field.
#[derive(Debug, Clone, Copy)]
struct Field {
    number: u64,
    /// Whether its length is told, as that of texts, bytes and messages is.
    is_bytes: bool,
    /// Bytes of its key and of the length that is told.
    head: usize,
    /// Bytes of what follows.
    length: u64,
}

impl Field {
    /// Reads the beginning, if all of it is there.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        let Some((key, head)) = varint(bytes)? else { return Ok(None) };
        let number = key >> 3;
        let rest = bytes.get(head..).unwrap_or_default();
        let (is_bytes, head, length) = match key & 7 {
            0 => match varint(rest)? {
                Some((_, length)) => (false, head, length as u64),
                None => return Ok(None),
            },
            1 => (false, head, 8),
            2 => match varint(rest)? {
                Some((length, more)) => (true, head + more, length),
                None => return Ok(None),
            },
            5 => (false, head, 4),
            kind => return Err(Broken::Foreign(format!("a field is of the unknown wire type {kind}"))),
        };
        Ok(Some(Self { number, is_bytes, head, length }))
    }

    fn size(&self) -> u64 {
        self.length.saturating_add(self.head as u64)
    }

    /// Takes the field out of the buffer, if all of it is there.
    fn take(&self, buffer: &mut BytesMut) -> Result<Option<Bytes>, Broken> {
        let length = usize::try_from(self.length).ok().filter(|length| *length <= MAX_OBJECT).ok_or(Broken::Large)?;
        if buffer.len() < self.head + length {
            return Ok(None);
        }
        buffer.advance(self.head);
        Ok(Some(buffer.split_to(length).freeze()))
    }
}

/// A number and the count of its bytes, if all of them are there.
fn varint(bytes: &[u8]) -> Result<Option<(u64, usize)>, Broken> {
    let mut number = 0_u64;
    for (position, byte) in bytes.iter().take(10).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Ok(Some((number, position + 1)));
        }
    }
    if bytes.len() < 10 { Ok(None) } else { Err(Broken::Foreign("a number has no end".into())) }
}

fn foreign(error: &prost::DecodeError) -> Broken {
    Broken::Foreign(error.to_string())
}

fn encoded() -> Broken {
    Broken::Foreign("its content is encoded once more".into())
}

/// An object in its envelope.
pub(super) fn unwrap<T: Message + Default>(object: &Bytes) -> Result<T, Broken> {
    let envelope = object
        .strip_prefix(MAGIC)
        .ok_or_else(|| Broken::Foreign("an object does not begin as Kubernetes' protobuf does".into()))?;
    let envelope = Envelope::decode(object.slice_ref(envelope)).map_err(|error| foreign(&error))?;
    if !envelope.content_encoding.is_empty() {
        return Err(encoded());
    }
    T::decode(envelope.raw).map_err(|error| foreign(&error))
}

/// A watch that is being received.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    buffer: BytesMut,
}

impl Watch {
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.buffer.extend_from_slice(bytes);
    }

    pub(super) fn next<T: Message + Default>(&mut self) -> Result<Option<Event<T>>, Broken> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_OBJECT {
            return Err(Broken::Large);
        }
        if self.buffer.len() < 4 + length {
            return Ok(None);
        }
        self.buffer.advance(4);
        let frame = WatchEvent::decode(self.buffer.split_to(length).freeze()).map_err(|error| foreign(&error))?;
        let object = frame.object.unwrap_or_default().raw;
        event(&frame.kind, || unwrap(&object), || unwrap::<Status>(&object)).map(Some)
    }

    pub(super) fn is_short(&self) -> bool {
        !self.buffer.is_empty()
    }
}
