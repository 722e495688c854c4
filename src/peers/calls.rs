//! What is asked of one peer, signed with the cluster's secret where there is one; and whether the answer is by somebody
//! who knows that secret, too.
//!
//! Promises: with a secret nothing is sent without a proof, and nothing but a failure is made of an answer that is not
//! proven. Must not look into what is sent.

use axum::http::StatusCode;
use bytes::Bytes;

use super::failure::Failure;
use super::wire::{Reply, Wire};
use super::{HELLO_CALL, guard};
use crate::auth::{self, Call, Caller, Challenge, Digest, Keyring, Keys, Refusal};
use crate::causality::NodeId;

/// Digests of more are worked out off the threads that serve requests.
const MAX_DIGESTED_INLINE_BYTES: usize = 256 << 10;

/// How often one request is made: the peer may have begun anew, or another process may be there, while it is.
const TRIES: usize = 3;

const METHOD: &str = "POST";

/// Makes the calls to one peer. Each has a run of its own.
pub(super) struct Calls {
    keys: Keys,
    caller: Caller,
}

impl Calls {
    pub(super) fn new(keys: Keys, own: NodeId) -> Self {
        use std::hash::{BuildHasher, RandomState};
        // Other keys each time, so another number. It has to be new, not to be secret.
        let run = RandomState::new().hash_one(own.0);
        Self { keys, caller: Caller::new(own.0, run) }
    }

    /// Sends a request; the answer, proven where this node has a secret.
    pub(super) async fn call(&self, wire: &Wire<'_>, path: &str, body: Bytes) -> Result<Reply, Failure> {
        let keys = self.keys.current();
        if keys.signing_id().is_none() {
            let reply = wire.post(path, body, &self.caller.unsigned()).await?;
            return if reply.status == StatusCode::UNAUTHORIZED { Err(refused(&reply)) } else { Ok(reply) };
        }
        let digest = digest(body.clone()).await?;
        let mut tries = 0;
        loop {
            let challenge = match self.caller.challenge() {
                Some(challenge) => challenge,
                None => self.hello(wire, &keys).await?,
            };
            tries += 1;
            match self.signed(wire, &keys, path, Some(challenge), body.clone(), digest).await? {
                Ok(reply) => return Ok(reply),
                Err(reply) if tries < TRIES && reason(&reply) == Some(Refusal::OtherChallenge) => {
                    self.caller.forget(challenge);
                }
                Err(reply) => return Err(refused(&reply)),
            }
        }
    }

    /// Asks the peer what it wants to see named.
    async fn hello(&self, wire: &Wire<'_>, keys: &Keyring) -> Result<Challenge, Failure> {
        let (body, empty) = (Bytes::new(), auth::digest(&[]));
        let reply = match self.signed(wire, keys, HELLO_CALL, None, body, empty).await? {
            Ok(reply) => reply,
            Err(reply) if reply.status == StatusCode::NOT_FOUND => return Err(Failure::KnowsNoSecrets),
            Err(reply) => return Err(refused(&reply)),
        };
        let challenge = Call::challenge(&reply.body).map_err(Failure::NotProven)?;
        self.caller.learn(challenge);
        Ok(challenge)
    }

    /// Sends a signed request; its answer if that is proven, and as an error if it is not.
    async fn signed(
        &self,
        wire: &Wire<'_>,
        keys: &Keyring,
        path: &str,
        challenge: Option<Challenge>,
        body: Bytes,
        digest: Digest,
    ) -> Result<Result<Reply, Reply>, Failure> {
        let call = self.caller.sign(keys, METHOD, path, challenge, digest);
        let call = call.expect("these keys sign");
        let reply = wire.post(path, body, call.header()).await?;
        match call.check(reply.proof.as_deref(), reply.status.as_u16(), &reply.content_type, &reply.body) {
            Ok(()) => Ok(Ok(reply)),
            // An answer that is no success changes nothing, so it may say why.
            Err(_) if !reply.status.is_success() => Ok(Err(reply)),
            Err(not_proven) => Err(Failure::NotProven(not_proven)),
        }
    }
}

async fn digest(body: Bytes) -> Result<Digest, Failure> {
    if body.len() <= MAX_DIGESTED_INLINE_BYTES {
        return Ok(auth::digest(&body));
    }
    let digested = tokio::task::spawn_blocking(move || auth::digest(&body)).await;
    digested.map_err(|error| Failure::Unreadable(error.to_string()))
}

/// Why the peer did not let the request in, by its own word, which is not proven.
fn reason(reply: &Reply) -> Option<Refusal> {
    let is_refusal = reply.status == StatusCode::UNAUTHORIZED;
    reply.wanted.as_deref().filter(|_| is_refusal).and_then(guard::reason_of).and_then(Refusal::of_reason)
}

/// What an answer that is not proven, and no success, comes down to.
fn refused(reply: &Reply) -> Failure {
    let why = match (reply.status, reason(reply)) {
        (_, Some(refusal)) => explained(refusal),
        (StatusCode::UNAUTHORIZED, None) => "it takes nothing from this node, and gives no reason that is known here",
        (StatusCode::SERVICE_UNAVAILABLE, None) => return Failure::Unavailable(reply.shown()),
        (status, None) => return Failure::Unexpected(status, reply.shown()),
    };
    Failure::NotAdmitted(why.to_owned())
}

/// What to do about a refusal, seen from here.
fn explained(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::SecretMissing => {
            "it has a secret and this node sent none: give this node the cluster's secret (CAUSEWAY_SECRET_FILE)"
        }
        Refusal::NoSecret => {
            "this node has a secret and it has none: give it the cluster's secret (CAUSEWAY_SECRET_FILE)"
        }
        Refusal::UnknownKey(_) => {
            "it does not know the secret that this node signs with: see CAUSEWAY_SECRET_FILE and CAUSEWAY_CLUSTER of both"
        }
        Refusal::OtherChallenge => "there is another process at each try: two have its address",
        Refusal::Malformed => "it can't read how this node signs: upgrade the older of them",
        Refusal::WrongMac | Refusal::Replayed | Refusal::BodyAltered => {
            "what this node sends does not arrive as it was signed, or arrives more than once: something on the way alters it"
        }
    }
}
