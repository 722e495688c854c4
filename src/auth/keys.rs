//! Keys: what is made of secrets, one for each purpose.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ring::{hkdf, hmac};

use super::secrets::Secrets;

/// What keys are derived under. A purpose ends where the cluster's name begins.
const SALT: &[u8] = b"causeway peers v1";
const REQUESTS: &[u8] = b"requests\0";
const ANSWERS: &[u8] = b"answers\0";
const NAMES: &[u8] = b"names\0";

const LONG_ENOUGH: &str = "as many bytes as one hash has can always be derived";

/// Names a key, and tells nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub(super) u64);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// What is made of one secret, for one cluster.
pub(super) struct Key {
    pub(super) id: KeyId,
    pub(super) requests: hmac::Key,
    pub(super) answers: hmac::Key,
}

impl Key {
    fn derive(secret: &str, cluster: &str) -> Self {
        let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(secret.as_bytes());
        let key = |purpose: &[u8]| -> hmac::Key {
            secret.expand(&[purpose, cluster.as_bytes()], hmac::HMAC_SHA256).expect(LONG_ENOUGH).into()
        };
        let mut id = [0; 8];
        secret.expand(&[NAMES, cluster.as_bytes()], Eight).and_then(|name| name.fill(&mut id)).expect(LONG_ENOUGH);
        Self { id: KeyId(u64::from_be_bytes(id)), requests: key(REQUESTS), answers: key(ANSWERS) }
    }
}

/// The bytes of a key's name.
struct Eight;

impl hkdf::KeyType for Eight {
    fn len(&self) -> usize {
        8
    }
}

/// Its name, and no more.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// What a node signs with, and whom it believes.
#[derive(Debug)]
pub struct Keyring {
    signing: Option<Arc<Key>>,
    accepted: Vec<Arc<Key>>,
    accepts_unsigned: bool,
}

impl Keyring {
    /// Of a node without a secret: signs nothing, and believes whoever signs nothing.
    pub fn unsigned() -> Self {
        Self { signing: None, accepted: Vec::new(), accepts_unsigned: true }
    }

    /// Of these secrets, in a cluster of this name.
    pub fn new(secrets: &Secrets, cluster: &str) -> Self {
        let accepted: Vec<Arc<Key>> = secrets.all().map(|secret| Arc::new(Key::derive(secret, cluster))).collect();
        // The first secret is the first of all, unless that one is to have none.
        let signing = secrets.first().and_then(|_| accepted.first().cloned());
        Self { signing, accepted, accepts_unsigned: secrets.accept_none() }
    }

    /// The names of all keys, in their order.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.accepted.iter().map(|key| key.id)
    }

    /// Which of them signs; `None`: this node signs nothing.
    pub fn signing_id(&self) -> Option<KeyId> {
        self.signing.as_ref().map(|key| key.id)
    }

    /// Whether who has no secret is believed.
    pub fn accepts_unsigned(&self) -> bool {
        self.accepts_unsigned
    }

    /// Whether this node has a secret at all.
    pub(super) fn has_keys(&self) -> bool {
        !self.accepted.is_empty()
    }

    pub(super) fn signing(&self) -> Option<&Arc<Key>> {
        self.signing.as_ref()
    }

    pub(super) fn find(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.accepted.iter().find(|key| key.id == id)
    }
}

/// The keys of a running node, which are exchanged as its file changes. Cheap to clone: all clones have the same.
#[derive(Clone)]
pub struct Keys(Arc<ArcSwap<Keyring>>);

impl Keys {
    /// With these to begin with.
    pub fn new(keyring: Keyring) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(keyring)))
    }

    /// Those of now.
    pub fn current(&self) -> Arc<Keyring> {
        self.0.load_full()
    }

    /// Puts others in their place.
    pub fn replace(&self, keyring: Keyring) {
        self.0.store(Arc::new(keyring));
    }
}

impl Default for Keys {
    fn default() -> Self {
        Self::new(Keyring::unsigned())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.current().fmt(f)
    }
}
