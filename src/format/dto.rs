//! What several formats share: CBOR in a frame, and the shapes of dots, vectors and parents.

use minicbor::{Decode, Encode};

use super::{FormatError, MAX_COUNTER, frame};
use crate::causality::{Dot, Incarnation, NodeId, Origin, VersionVector};

/// A frame of `version` around `value` as CBOR.
pub(super) fn seal<T: Encode<()>>(version: u8, value: &T) -> Vec<u8> {
    frame::seal(version, |bytes| minicbor::encode(value, bytes).expect("writing to memory can't fail"))
}

/// What [`seal`] gave, and nothing behind it.
pub(super) fn open<'a, T: Decode<'a, ()>>(what: &'static str, known: u8, bytes: &'a [u8]) -> Result<T, FormatError> {
    let payload = frame::open(what, known, bytes)?;
    let mut decoder = minicbor::Decoder::new(payload);
    let value = decoder.decode().map_err(|error| FormatError::malformed(what, error))?;
    if decoder.position() == payload.len() {
        Ok(value)
    } else {
        Err(FormatError::malformed(what, "there is more behind its end"))
    }
}

#[derive(Clone, Copy, Encode, Decode)]
pub(super) struct DotDto {
    #[n(0)]
    node: u32,
    #[n(1)]
    incarnation: u64,
    #[n(2)]
    counter: u64,
}

impl From<Dot> for DotDto {
    fn from(dot: Dot) -> Self {
        Self { node: dot.origin.node.0, incarnation: dot.origin.incarnation.0, counter: dot.counter }
    }
}

impl DotDto {
    /// The dot, whatever its counter.
    pub(super) fn unchecked(self) -> Dot {
        Origin::new(NodeId(self.node), Incarnation(self.incarnation)).dot(self.counter)
    }

    pub(super) fn read(self, what: &'static str) -> Result<Dot, FormatError> {
        let dot = self.unchecked();
        if is_counter(dot.counter) {
            Ok(dot)
        } else {
            Err(FormatError::malformed(what, format!("{dot} has a counter that can't be")))
        }
    }
}

pub(super) fn is_counter(counter: u64) -> bool {
    (1..=MAX_COUNTER).contains(&counter)
}

/// In order of origin, and none twice.
pub(super) fn has_one_dot_an_origin(dots: &[Dot]) -> bool {
    dots.is_sorted_by(|left, right| left.origin < right.origin)
}

pub(super) fn write_dots(dots: impl IntoIterator<Item = Dot>) -> Vec<DotDto> {
    dots.into_iter().map(DotDto::from).collect()
}

pub(super) fn read_dots(what: &'static str, dots: Vec<DotDto>) -> Result<Vec<Dot>, FormatError> {
    dots.into_iter().map(|dot| dot.read(what)).collect()
}

pub(super) fn write_vector(vector: &VersionVector) -> Vec<DotDto> {
    write_dots(vector.entries())
}

pub(super) fn read_vector(what: &'static str, entries: Vec<DotDto>) -> Result<VersionVector, FormatError> {
    let entries = read_dots(what, entries)?;
    if has_one_dot_an_origin(&entries) {
        Ok(entries.into_iter().collect())
    } else {
        Err(FormatError::malformed(what, "its version vector is not in order"))
    }
}
