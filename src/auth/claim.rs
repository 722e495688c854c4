//! What a request says of itself in its header: who sends it, to whom, and the proof.
//!
//! ```text
//! v1 <node> <key> <challenge> <run> <number> <digest of the body> <MAC>
//! none <node>
//! ```
//!
//! The second is what a node without a secret says: it proves nothing, and helps to say who should be given one.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use super::keys::{Key, KeyId};

/// The digest of a body (BLAKE3: a push is hashed by its sender for each peer, and by each peer, and SHA-256 takes
/// several times as long for what is long).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(pub(super) [u8; 32]);

/// The digest of a body.
pub fn digest(body: &[u8]) -> Digest {
    Digest(blake3::hash(body).into())
}

/// What a receiver wants to see named in requests: random bits of its process, and how often it has begun anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub(super) boot: u64,
    pub(super) epoch: u64,
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.boot, self.epoch)
    }
}

impl FromStr for Challenge {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (boot, epoch) = text.split_once('.').ok_or(())?;
        let boot = u64::from_str_radix(boot, 16).map_err(drop)?;
        let challenge = Self { boot, epoch: epoch.parse().map_err(drop)? };
        // One way to write it, so that equal ones are equal in the header, too.
        if challenge.to_string() == text { Ok(challenge) } else { Err(()) }
    }
}

/// What stands in the place of the challenge when that is asked for.
const UNKNOWN: &str = "-";
const VERSION: &str = "v1";
const UNSIGNED: &str = "none";

/// What is claimed by a header.
#[derive(Debug)]
pub(super) enum Said<'a> {
    /// By a node that signs nothing; older ones don't even say that.
    Unsigned {
        from: Option<u32>,
    },
    Signed(Claim<'a>),
    /// Not to be understood.
    Malformed,
}

/// The parts of a signed header. Nothing of it is true before the MAC is checked.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    /// All but the MAC.
    signed: &'a str,
    pub(super) from: u32,
    pub(super) key: KeyId,
    /// `None`: it is asked for.
    pub(super) challenge: Option<Challenge>,
    pub(super) run: u64,
    pub(super) number: u64,
    pub(super) body: Digest,
    pub(super) mac: [u8; 32],
}

impl<'a> Said<'a> {
    pub(super) fn parse(header: Option<&'a str>) -> Self {
        let Some(header) = header else { return Self::Unsigned { from: None } };
        if let Some(from) = header.strip_prefix(UNSIGNED) {
            return match from.trim_start().parse() {
                Ok(from) => Self::Unsigned { from: Some(from) },
                Err(_) => Self::Malformed,
            };
        }
        Claim::parse(header).map_or(Self::Malformed, Self::Signed)
    }
}

impl<'a> Claim<'a> {
    fn parse(header: &'a str) -> Option<Self> {
        let (signed, mac) = header.rsplit_once(' ')?;
        let parts: Vec<&str> = signed.splitn(8, ' ').collect();
        let [VERSION, from, key, challenge, run, number, body] = parts[..] else { return None };
        let challenge = match challenge {
            UNKNOWN => None,
            known => Some(known.parse().ok()?),
        };
        Some(Self {
            signed,
            from: from.parse().ok()?,
            key: KeyId(u64::from_str_radix(key, 16).ok()?),
            challenge,
            run: u64::from_str_radix(run, 16).ok()?,
            number: number.parse().ok()?,
            body: Digest(decode(body)?),
            mac: decode(mac)?,
        })
    }

    /// Whether who made this knows the key.
    pub(super) fn is_proven(&self, key: &Key, method: &str, path: &str) -> bool {
        hmac::verify(&key.requests, &request_message(method, path, self.signed), &self.mac).is_ok()
    }
}

/// What is to be said of a request.
pub(super) struct Statement<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) from: u32,
    pub(super) challenge: Option<Challenge>,
    pub(super) run: u64,
    pub(super) number: u64,
    pub(super) body: Digest,
}

/// The header of a request, and its MAC.
pub(super) fn sign(key: &Key, statement: &Statement<'_>) -> (String, [u8; 32]) {
    let Statement { method, path, from, challenge, run, number, body } = statement;
    let challenge = challenge.map_or_else(|| UNKNOWN.to_owned(), |challenge| challenge.to_string());
    let body = URL_SAFE_NO_PAD.encode(body.0);
    let signed = format!("{VERSION} {from} {} {challenge} {run:016x} {number} {body}", key.id);
    let mac = tag(&key.requests, &request_message(method, path, &signed));
    (format!("{signed} {}", URL_SAFE_NO_PAD.encode(mac)), mac)
}

/// What a node that signs nothing says.
pub(super) fn unsigned(from: u32) -> String {
    format!("{UNSIGNED} {from}")
}

/// The header of an answer to the request with this MAC.
pub(super) fn sign_answer(key: &Key, request: &[u8; 32], status: u16, content_type: &[u8], body: Digest) -> String {
    let mac = tag(&key.answers, &answer_message(request, status, content_type, body));
    format!("{VERSION} {}", URL_SAFE_NO_PAD.encode(mac))
}

/// Whether this is the header of an answer to the request with this MAC.
pub(super) fn is_answer_proven(
    key: &Key,
    header: &str,
    request: &[u8; 32],
    (status, content_type, body): (u16, &[u8], Digest),
) -> bool {
    let mac = header.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(' ')).and_then(decode::<32>);
    let message = answer_message(request, status, content_type, body);
    mac.is_some_and(|mac| hmac::verify(&key.answers, &message, &mac).is_ok())
}

fn tag(key: &hmac::Key, message: &[u8]) -> [u8; 32] {
    hmac::sign(key, message).as_ref().try_into().expect("HMAC-SHA-256 has 32 bytes")
}

fn request_message(method: &str, path: &str, signed: &str) -> Vec<u8> {
    message(&[method.as_bytes(), path.as_bytes(), signed.as_bytes()])
}

fn answer_message(request: &[u8; 32], status: u16, content_type: &[u8], body: Digest) -> Vec<u8> {
    message(&[request, &status.to_be_bytes(), content_type, &body.0])
}

/// The parts, each behind its length: no two lists of parts have the same bytes.
fn message(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::with_capacity(parts.iter().map(|part| 8 + part.len()).sum());
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

fn decode<const BYTES: usize>(text: &str) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    // Exactly as many, and written in the one way there is.
    let written = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
    (written == BYTES).then_some(bytes)
}
