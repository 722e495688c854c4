//! The sender's side: signs what is asked of one peer, and checks that the answer is by somebody who knows the secret.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::claim::{self, Challenge, Digest, Statement};
use super::keys::{Key, Keyring};

/// Asks one peer. Every one has a run of its own.
#[derive(Debug)]
pub struct Caller {
    from: u32,
    run: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Of the last request.
    number: u64,
    /// What the peer wants to see named, as far as is known.
    challenge: Option<Challenge>,
}

/// A signed request.
#[derive(Debug)]
pub struct Call {
    key: Arc<Key>,
    header: String,
    mac: [u8; 32],
}

/// The answer is not proven to be by who was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProven {
    /// It is not signed.
    #[error("is not signed")]
    Unsigned,
    /// The MAC is another.
    #[error("is not the one that was signed")]
    WrongMac,
    /// What should be a challenge is none.
    #[error("has no challenge in it")]
    NoChallenge,
}

impl Caller {
    /// For the node `from`; `run` are random bits.
    pub fn new(from: u32, run: u64) -> Self {
        Self { from, run, state: Mutex::default() }
    }

    /// The header of a request that is not signed.
    pub fn unsigned(&self) -> String {
        claim::unsigned(self.from)
    }

    /// Signs a request; `None`: with these keys nothing is signed.
    ///
    /// Without the peer's challenge it is a hello, and [`Call::challenge`] of its answer has to be given to
    /// [`learn`](Self::learn) before anything else can be asked.
    pub fn sign(
        &self,
        keys: &Keyring,
        method: &str,
        path: &str,
        challenge: Option<Challenge>,
        body: Digest,
    ) -> Option<Call> {
        let key = keys.signing()?;
        let mut state = self.state();
        state.number += 1;
        let (from, run, number) = (self.from, self.run, state.number);
        drop(state);
        let (header, mac) = claim::sign(key, &Statement { method, path, from, challenge, run, number, body });
        Some(Call { key: key.clone(), header, mac })
    }

    /// What the peer wants to see named, as far as is known.
    pub fn challenge(&self) -> Option<Challenge> {
        self.state().challenge
    }

    /// The peer wants to see this named from now on.
    pub fn learn(&self, challenge: Challenge) {
        self.state().challenge = Some(challenge);
    }

    /// The peer does not want to see this named any more.
    pub fn forget(&self, challenge: Challenge) {
        let mut state = self.state();
        // Another request may have learnt the new one.
        state.challenge.take_if(|known| *known == challenge);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Call {
    /// The header to send with it.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// Checks that this is the answer to it.
    pub fn check(&self, header: Option<&str>, status: u16, content_type: &[u8], body: &[u8]) -> Result<(), NotProven> {
        let header = header.ok_or(NotProven::Unsigned)?;
        let is_proven =
            claim::is_answer_proven(&self.key, header, &self.mac, (status, content_type, claim::digest(body)));
        if is_proven { Ok(()) } else { Err(NotProven::WrongMac) }
    }

    /// The challenge in the answer to a hello, which was checked.
    pub fn challenge(body: &[u8]) -> Result<Challenge, NotProven> {
        std::str::from_utf8(body).ok().and_then(|text| text.parse().ok()).ok_or(NotProven::NoChallenge)
    }
}
