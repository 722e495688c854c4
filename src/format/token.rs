//! Tokens: a [`CausalContext`] as clients carry it. Opaque to them, safe in headers and URLs (base64url
//! without padding), and short: a read's is 16 to 20 bytes an origin.
//!
//! Inside the [`frame`]: a shape byte; the *wait* vector; and unless what was seen is just that (a read's
//! token), the *seen* vector and its dots. A vector and the dots are a count and that many dots; a dot is the
//! node (varint), the incarnation (8 bytes, big endian) and the counter (varint, LEB128). A context has
//! exactly one token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{FormatError, dto, frame};
use crate::causality::{CausalContext, Dot, Incarnation, MAX_SEEN_DOTS, NodeId, Origin, Seen, VersionVector};

/// The longest token that is looked at, in characters: room for some 700 origins.
pub const MAX_TOKEN_CHARS: usize = 16 * 1024;

const WHAT: &str = "token";
const VERSION: u8 = 1;

/// What was seen is the vector to wait for.
const SHAPE_STATE: u8 = 0;
/// What was seen follows.
const SHAPE_SEEN: u8 = 1;

/// A text that is not a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Longer than any that is looked at.
    #[error("token is {chars} characters long, the limit is {MAX_TOKEN_CHARS}")]
    TooLong {
        /// How long.
        chars: usize,
    },
    /// Not base64url.
    #[error("token has characters that no token has, or lacks its end")]
    NotBase64,
    /// Cut, altered, of another version, or not made by this store.
    #[error(transparent)]
    Format(#[from] FormatError),
}

/// The token of a context.
pub fn encode(context: &CausalContext) -> String {
    let CausalContext { wait, seen } = context;
    let bytes = frame::seal(VERSION, |bytes| {
        if seen.vector == *wait && seen.dots.is_empty() {
            bytes.push(SHAPE_STATE);
            write_vector(bytes, wait);
        } else {
            bytes.push(SHAPE_SEEN);
            write_vector(bytes, wait);
            write_vector(bytes, &seen.vector);
            // Never more than these; were there more, forgetting the oldest is the side that loses nothing.
            let newest = &seen.dots[seen.dots.len().saturating_sub(MAX_SEEN_DOTS)..];
            write_dots(bytes, newest.len(), newest.iter().copied());
        }
    });
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The context of a token.
pub fn decode(token: &str) -> Result<CausalContext, TokenError> {
    if token.len() > MAX_TOKEN_CHARS {
        return Err(TokenError::TooLong { chars: token.len() });
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| TokenError::NotBase64)?;
    let payload = frame::open(WHAT, VERSION, &bytes)?;
    Ok(read_context(payload).map_err(|problem| FormatError::malformed(WHAT, problem))?)
}

fn read_context(payload: &[u8]) -> Result<CausalContext, &'static str> {
    let mut reader = Reader(payload);
    let shape = reader.byte()?;
    let wait = reader.vector()?;
    let context = match shape {
        SHAPE_STATE => CausalContext::of_state(wait),
        SHAPE_SEEN => {
            let seen = Seen { vector: reader.vector()?, dots: reader.dots(MAX_SEEN_DOTS)? };
            if seen.dots.is_empty() && seen.vector == wait {
                return Err("it says the same twice");
            }
            if (1..seen.dots.len()).any(|index| seen.dots[..index].contains(&seen.dots[index])) {
                return Err("it names a dot twice");
            }
            CausalContext { wait, seen }
        }
        _ => return Err("its shape is not known"),
    };
    if reader.0.is_empty() { Ok(context) } else { Err("there is more behind its end") }
}

fn write_vector(bytes: &mut Vec<u8>, vector: &VersionVector) {
    write_dots(bytes, vector.len(), vector.entries());
}

fn write_dots(bytes: &mut Vec<u8>, count: usize, dots: impl Iterator<Item = Dot>) {
    write_varint(bytes, count as u64);
    for Dot { origin, counter } in dots {
        write_varint(bytes, origin.node.0.into());
        bytes.extend_from_slice(&origin.incarnation.0.to_be_bytes());
        write_varint(bytes, counter);
    }
}

fn write_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

const CUT: &str = "it ends too early";

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, &'static str> {
        let (first, rest) = self.0.split_first().ok_or(CUT)?;
        self.0 = rest;
        Ok(*first)
    }

    fn varint(&mut self) -> Result<u64, &'static str> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let placed = bits << shift;
            if placed >> shift != bits {
                break;
            }
            value |= placed;
            if byte & 0x80 == 0 {
                let is_shortest = byte != 0 || shift == 0;
                return if is_shortest { Ok(value) } else { Err("a number is not in its shortest form") };
            }
        }
        Err("a number is too large")
    }

    fn dot(&mut self) -> Result<Dot, &'static str> {
        let node = u32::try_from(self.varint()?).map_err(|_| "a node id is too large")?;
        let (incarnation, rest) = self.0.split_first_chunk().ok_or(CUT)?;
        self.0 = rest;
        let counter = self.varint()?;
        if !dto::is_counter(counter) {
            return Err("a counter is out of range");
        }
        Ok(Origin::new(NodeId(node), Incarnation(u64::from_be_bytes(*incarnation))).dot(counter))
    }

    fn dots(&mut self, limit: usize) -> Result<Vec<Dot>, &'static str> {
        let count = self.varint()?;
        if count > limit as u64 {
            return Err("it names more dots than a token may");
        }
        (0..count).map(|_| self.dot()).collect()
    }

    fn vector(&mut self) -> Result<VersionVector, &'static str> {
        // Every entry takes bytes, so the token's length bounds their number.
        let entries = self.dots(MAX_TOKEN_CHARS)?;
        if dto::has_one_dot_an_origin(&entries) {
            Ok(entries.into_iter().collect())
        } else {
            Err("a version vector is not in order")
        }
    }
}
