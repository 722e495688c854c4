//! What several formats share: CBOR in a frame, lists that are written from where they lie, and the shapes of dots,
//! vectors and parents.

use std::convert::Infallible;

use minicbor::decode::{self, Decoder};
use minicbor::encode::{self, Encoder, Write};
use minicbor::{Decode, Encode};

use super::{FormatError, MAX_COUNTER, frame};
use crate::causality::{Dot, Incarnation, NodeId, Origin, VersionVector};

/// For how many items of a list there is room before they are read. Their number is only claimed: what is not there
/// must not take memory.
const MAX_ROOM_AHEAD: usize = 64;

/// A frame of `version` around `value` as CBOR.
pub(super) fn seal<T: Encode<()>>(version: u8, value: &T) -> Vec<u8> {
    frame::seal(version, |bytes| minicbor::encode(value, Appended(bytes)).expect("writing to memory can't fail"))
}

/// Bytes that are appended to. Most of CBOR comes byte by byte, for which a general copy is slow.
struct Appended<'a>(&'a mut Vec<u8>);

impl Write for Appended<'_> {
    type Error = Infallible;

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        match bytes {
            [byte] => self.0.push(*byte),
            more => self.0.extend_from_slice(more),
        }
        Ok(())
    }
}

/// What [`seal`] gave, and nothing behind it.
pub(super) fn open<'a, T: Decode<'a, ()>>(what: &'static str, known: u8, bytes: &'a [u8]) -> Result<T, FormatError> {
    read(what, frame::open(what, known, bytes)?)
}

/// The same without the frame.
pub(super) fn read<'a, T: Decode<'a, ()>>(what: &'static str, payload: &'a [u8]) -> Result<T, FormatError> {
    let mut decoder = Decoder::new(payload);
    let value = decoder.decode().map_err(|error| match error {
        unknown if unknown.is_unknown_variant() => {
            FormatError::malformed(what, format!("a newer version may know this kind of it: {unknown}"))
        }
        other => FormatError::malformed(what, other),
    })?;
    if decoder.position() == payload.len() {
        Ok(value)
    } else {
        Err(FormatError::malformed(what, "there is more behind its end"))
    }
}

/// Whether `value` is written as `payload`. CBOR that reads as the same may be written in many ways.
pub(super) fn is_written_as<T: Encode<()>>(value: &T, payload: &[u8]) -> bool {
    let mut rest = Expected(payload);
    minicbor::encode(value, &mut rest).is_ok() && rest.0.is_empty()
}

/// The bytes that are still to be written. Nothing else can be.
struct Expected<'a>(&'a [u8]);

impl Write for Expected<'_> {
    type Error = ();

    fn write_all(&mut self, bytes: &[u8]) -> Result<(), ()> {
        self.0 = self.0.strip_prefix(bytes).ok_or(())?;
        Ok(())
    }
}

/// An array: somebody else's when it is to be written, its own when it was read.
pub(super) enum List<'a, T> {
    Borrowed(&'a [T]),
    Owned(Vec<T>),
}

impl<T> List<'_, T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::Borrowed(items) => items,
            Self::Owned(items) => items,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

impl<T: Clone> List<'_, T> {
    pub(super) fn into_vec(self) -> Vec<T> {
        match self {
            Self::Borrowed(items) => items.to_vec(),
            Self::Owned(items) => items,
        }
    }
}

impl<T> Default for List<'_, T> {
    fn default() -> Self {
        Self::Borrowed(&[])
    }
}

impl<C, T: Encode<C>> Encode<C> for List<'_, T> {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Result<(), encode::Error<W::Error>> {
        let items = self.as_slice();
        to.array(items.len() as u64)?;
        items.iter().try_for_each(|item| item.encode(to, context))
    }
}

impl<'b, C, T: Decode<'b, C>> Decode<'b, C> for List<'_, T> {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        let read = from.array_iter_with(context)?;
        let mut items = Vec::with_capacity(read.size_hint().0.min(MAX_ROOM_AHEAD));
        for item in read {
            items.push(item?);
        }
        Ok(Self::Owned(items))
    }
}

#[derive(Encode, Decode)]
struct DotDto {
    #[n(0)]
    node: u32,
    #[n(1)]
    incarnation: u64,
    #[n(2)]
    counter: u64,
}

impl<C> Encode<C> for Dot {
    fn encode<W: Write>(&self, to: &mut Encoder<W>, context: &mut C) -> Result<(), encode::Error<W::Error>> {
        let Dot { origin: Origin { node, incarnation }, counter } = *self;
        DotDto { node: node.0, incarnation: incarnation.0, counter }.encode(to, context)
    }
}

/// Whatever its counter: see [`check_dot`].
impl<'b, C> Decode<'b, C> for Dot {
    fn decode(from: &mut Decoder<'b>, context: &mut C) -> Result<Self, decode::Error> {
        let DotDto { node, incarnation, counter } = from.decode_with(context)?;
        Ok(Origin::new(NodeId(node), Incarnation(incarnation)).dot(counter))
    }
}

pub(super) fn is_counter(counter: u64) -> bool {
    (1..=MAX_COUNTER).contains(&counter)
}

pub(super) fn check_dot(what: &'static str, dot: Dot) -> Result<Dot, FormatError> {
    if is_counter(dot.counter) {
        Ok(dot)
    } else {
        Err(FormatError::malformed(what, format!("{dot} has a counter that can't be")))
    }
}

pub(super) fn check_dots(what: &'static str, dots: Vec<Dot>) -> Result<Vec<Dot>, FormatError> {
    dots.into_iter().map(|dot| check_dot(what, dot)).collect()
}

/// In order of origin, and none twice.
pub(super) fn has_one_dot_an_origin(dots: &[Dot]) -> bool {
    dots.is_sorted_by(|left, right| left.origin < right.origin)
}

/// Whether two of these are the same.
pub(super) fn has_one_twice<T: Ord>(items: impl ExactSizeIterator<Item = T>) -> bool {
    // Most lists have one item, and need no list made of them.
    if items.len() < 2 {
        return false;
    }
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    !items.is_sorted_by(|left, right| left < right)
}

pub(super) fn write_vector(vector: &VersionVector) -> Vec<Dot> {
    vector.entries().collect()
}

pub(super) fn read_vector(what: &'static str, entries: Vec<Dot>) -> Result<VersionVector, FormatError> {
    let entries = check_dots(what, entries)?;
    if has_one_dot_an_origin(&entries) {
        Ok(entries.into_iter().collect())
    } else {
        Err(FormatError::malformed(what, "its version vector is not in order"))
    }
}
