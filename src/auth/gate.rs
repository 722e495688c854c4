//! The receiver's side: judges a request by its head, then its body as it comes, and signs the answer.

use std::sync::{Arc, Mutex, PoisonError};

use blake3::Hasher;

use super::claim::{self, Challenge, Claim, Digest, Said};
use super::keys::{Key, KeyId, Keys};
use super::replays::{Known, Replays};

/// Lets requests of peers in that prove to come from the cluster.
#[derive(Debug)]
pub struct Gate {
    keys: Keys,
    replays: Mutex<Replays>,
}

/// A request that is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Who says to have sent it; unproven.
    pub from: Option<u32>,
    /// Why.
    pub why: Refusal,
}

/// Why a request is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not signed.
    #[error("this node has a secret, and the request is signed with none")]
    SecretMissing,
    /// It is signed, and this node has nothing to check that by.
    #[error("this node has no secret, and the request is signed with one")]
    NoSecret,
    /// Signed by another secret, or for another cluster.
    #[error("this node does not know the secret that the request is signed with, or is of another cluster (key {0})")]
    UnknownKey(KeyId),
    /// The header is none of this version.
    #[error("the header that signs the request can't be read")]
    Malformed,
    /// Not what was signed.
    #[error("the request is not the one that was signed")]
    WrongMac,
    /// Meant for another process. Whoever sent it asks for the challenge of this one.
    #[error("the request is meant for another process, or for one that ran here before")]
    OtherChallenge,
    /// It came before.
    #[error("the request came before")]
    Replayed,
    /// The body is not what was signed.
    #[error("the body of the request is not the one that was signed")]
    BodyAltered,
}

impl Refusal {
    /// One of each, for who counts them.
    pub const ALL: [Self; 8] = [
        Self::SecretMissing,
        Self::NoSecret,
        Self::UnknownKey(KeyId(0)),
        Self::Malformed,
        Self::WrongMac,
        Self::OtherChallenge,
        Self::Replayed,
        Self::BodyAltered,
    ];

    /// A word that stays the same.
    pub fn reason(self) -> &'static str {
        match self {
            Self::SecretMissing => "secret-missing",
            Self::NoSecret => "no-secret",
            Self::UnknownKey(_) => "unknown-key",
            Self::Malformed => "malformed",
            Self::WrongMac => "wrong-mac",
            Self::OtherChallenge => "other-challenge",
            Self::Replayed => "replayed",
            Self::BodyAltered => "body-altered",
        }
    }

    /// The one with this word.
    pub fn of_reason(reason: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.reason() == reason)
    }
}

/// A request that was let in.
#[derive(Clone, Debug)]
pub enum Pass {
    /// Unsigned, as they may be here.
    Unsigned,
    /// Who sent it knows the secret.
    Signed(Proven),
}

/// What a signed request has proven by its head.
#[derive(Clone, Debug)]
pub struct Proven {
    key: Arc<Key>,
    mac: [u8; 32],
    from: u32,
    body: Digest,
}

impl Gate {
    /// With these keys; `boot` are random bits of this process.
    pub fn new(keys: Keys, boot: u64) -> Self {
        Self { keys, replays: Mutex::new(Replays::new(boot)) }
    }

    /// Judges a request by its head; it counts as having come from then on.
    pub fn admit(&self, method: &str, path: &str, header: Option<&str>) -> Result<Pass, Refused> {
        let Some((claim, key)) = self.identify(method, path, header)? else { return Ok(Pass::Unsigned) };
        let taken = match claim.challenge {
            Some(challenge) => self.replays().take(challenge, claim.run, claim.number),
            None => Err(Known::OtherChallenge),
        };
        let refused = |known| Refused {
            from: Some(claim.from),
            why: match known {
                Known::OtherChallenge => Refusal::OtherChallenge,
                Known::Replayed => Refusal::Replayed,
            },
        };
        taken.map_err(refused)?;
        Ok(Pass::Signed(Proven::new(&claim, key)))
    }

    /// Judges a hello: what it does is to be told the challenge, as often as it comes.
    pub fn admit_hello(&self, method: &str, path: &str, header: Option<&str>) -> Result<(Pass, Challenge), Refused> {
        match self.identify(method, path, header)? {
            Some((claim, key)) if claim.challenge.is_none() => {
                Ok((Pass::Signed(Proven::new(&claim, key)), self.replays().challenge()))
            }
            Some((claim, _)) => Err(Refused { from: Some(claim.from), why: Refusal::Malformed }),
            None => Err(Refused { from: None, why: Refusal::SecretMissing }),
        }
    }

    /// Who sends a request; `None`: whoever, which is enough here.
    fn identify<'a>(
        &self,
        method: &str,
        path: &str,
        header: Option<&'a str>,
    ) -> Result<Option<(Claim<'a>, Arc<Key>)>, Refused> {
        let keyring = self.keys.current();
        let claim = match Said::parse(header) {
            Said::Unsigned { .. } if keyring.accepts_unsigned() => return Ok(None),
            Said::Unsigned { from } => return Err(Refused { from, why: Refusal::SecretMissing }),
            Said::Malformed => return Err(Refused { from: None, why: Refusal::Malformed }),
            Said::Signed(claim) => claim,
        };
        let refused = |why| Refused { from: Some(claim.from), why };
        if !keyring.has_keys() {
            return Err(refused(Refusal::NoSecret));
        }
        let key = keyring.find(claim.key).ok_or(refused(Refusal::UnknownKey(claim.key)))?;
        if !claim.is_proven(key, method, path) {
            return Err(refused(Refusal::WrongMac));
        }
        Ok(Some((claim, key.clone())))
    }

    fn replays(&self) -> std::sync::MutexGuard<'_, Replays> {
        self.replays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proven {
    fn new(claim: &Claim<'_>, key: Arc<Key>) -> Self {
        Self { key, mac: claim.mac, from: claim.from, body: claim.body }
    }

    /// Who sent it.
    pub fn from(&self) -> u32 {
        self.from
    }

    /// Checks the body.
    pub fn body_check(&self) -> BodyCheck {
        BodyCheck { expected: self.body, hasher: Hasher::new() }
    }

    /// The header of the answer.
    pub fn sign_answer(&self, status: u16, content_type: &[u8], body: &[u8]) -> String {
        claim::sign_answer(&self.key, &self.mac, status, content_type, claim::digest(body))
    }
}

/// Checks a body as it comes, piece by piece.
#[derive(Clone)]
pub struct BodyCheck {
    expected: Digest,
    hasher: Hasher,
}

impl BodyCheck {
    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
    }

    /// Whether what came is what was signed.
    pub fn is_whole(self) -> bool {
        self.hasher.finalize() == self.expected.0
    }
}
