//! TLS: what is made of files with certificates and keys, and what of it is in force.
//!
//! [`Material`] is what the files have, checked. [`Tls`] has it in force: a listener asks it at each connection
//! ([`Acceptor`]), whoever calls peers at each of his ([`Tls::calls`]), so that other files count from the next connection on.
//! TLS 1.2 and 1.3 as rustls does them, by `ring`, which signs what peers send, too.
//!
//! Promises: what is in force is whole: a certificate is never there without its own key; a key is never shown; a proof of
//! whose a connection is counts for that connection only (where certificates are asked for, no session is resumed).
//! Must not read files ([`crate::secrets`] does, and watches them), nor know who listens or calls.

mod configs;
mod in_force;
#[cfg(test)]
mod tests;
mod validity;

use rustls::RootCertStore;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, Error, InconsistentKeys};

pub use configs::{Believes, calls};
pub use in_force::{Acceptor, Tls};
pub use validity::{Validity, validity};

/// Why a file can't be used. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Another file, most likely.
    #[error("has no certificate in PEM")]
    NoCertificate,
    /// Something like a certificate.
    #[error("has a certificate that can't be read: {0}")]
    BadCertificate(String),
    /// Another file, or one with a password.
    #[error("has no private key in PEM without a password")]
    NoKey,
    /// Something like a key.
    #[error("has a private key that can't be used: {0}")]
    BadKey(String),
    /// That of another certificate.
    #[error("has another key than that of the certificate")]
    OtherKey,
}

/// A certificate with those between it and its authority, and its key.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

/// Which of an identity's files it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// That with the certificate.
    Certificate,
    /// That with the key.
    Key,
}

impl Identity {
    /// Of two files in PEM; or all that is wrong with any of them.
    pub fn parse(certificate: &[u8], key: &[u8]) -> Result<Self, Vec<(Part, Unusable)>> {
        let chain = certificates(certificate).map_err(|why| (Part::Certificate, why));
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
            pem::Error::NoItemsFound => (Part::Key, Unusable::NoKey),
            other => (Part::Key, Unusable::BadKey(other.to_string())),
        });
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err(chain.err().into_iter().chain(key.err()).collect()),
        };
        let identity = Self { chain, key };
        match configs::check(&identity) {
            Ok(()) => Ok(identity),
            Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => Err(vec![(Part::Key, Unusable::OtherKey)]),
            Err(Error::InvalidCertificate(why)) => Err(vec![(Part::Certificate, bad_certificate(&why))]),
            Err(other) => Err(vec![(Part::Key, Unusable::BadKey(other.to_string()))]),
        }
    }

    /// That of the node itself.
    pub fn leaf(&self) -> &CertificateDer<'static> {
        self.chain.first().expect("there is no identity without a certificate")
    }
}

/// Whose certificates are trusted.
#[derive(Debug)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    roots: std::sync::Arc<RootCertStore>,
}

impl PartialEq for Authorities {
    fn eq(&self, other: &Self) -> bool {
        self.certificates == other.certificates
    }
}

impl Eq for Authorities {}

impl Authorities {
    /// Of a file in PEM. Every certificate in it counts, and none is passed over.
    pub fn parse(pem: &[u8]) -> Result<Self, Unusable> {
        let certificates = certificates(pem)?;
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone()).map_err(|error| match error {
                Error::InvalidCertificate(why) => bad_certificate(&why),
                other => Unusable::BadCertificate(other.to_string()),
            })?;
        }
        Ok(Self { certificates, roots: roots.into() })
    }
}

/// The certificates in a file in PEM, at least one.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let found = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(certificates) if certificates.is_empty() => Err(Unusable::NoCertificate),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(Unusable::BadCertificate(error.to_string())),
    }
}

fn bad_certificate(why: &CertificateError) -> Unusable {
    Unusable::BadCertificate(why.to_string())
}

/// What a node has for TLS; by default nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Material {
    /// What its listeners show, and its calls to peers.
    pub identity: Option<Identity>,
    /// Who has issued what peers show.
    pub authorities: Option<Authorities>,
}

/// For so long before its end a certificate is spoken of.
const SOON_SECONDS: i64 = 7 * 24 * 60 * 60;

impl Material {
    /// When the node's certificate is valid; `None` where there is none, or where that can't be read.
    pub fn validity(&self) -> Option<Validity> {
        validity(self.identity.as_ref()?.leaf())
    }

    /// What will not work, or not for long, although the files can be used. `now` is in seconds since 1970.
    pub fn warnings(&self, now: i64) -> Vec<String> {
        let Some(identity) = &self.identity else { return Vec::new() };
        let mut warnings = Vec::new();
        if let Some(validity) = self.validity() {
            warnings.extend(validity.warning(now));
        }
        if let Some(authorities) = &self.authorities
            && let Err(error) = configs::check_as_peer(identity, authorities, now)
            && !is_of_time(&error)
        {
            warnings.push(format!(
                "this node's own certificate is not one that CAUSEWAY_TLS_CA_FILE makes a peer's: {error}. Nodes that have \
                 the same authorities will refuse it"
            ));
        }
        warnings
    }
}

impl Validity {
    fn warning(self, now: i64) -> Option<String> {
        let shown = |at: i64| {
            let at = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(at.max(0).unsigned_abs()));
            at.map_or_else(|| "a time far away".to_owned(), |at| humantime::format_rfc3339_seconds(at).to_string())
        };
        if now > self.not_after {
            Some(format!(
                "this node's certificate has EXPIRED, at {}: nobody who checks it will connect",
                shown(self.not_after)
            ))
        } else if now < self.not_before {
            Some(format!(
                "this node's certificate is not valid before {}, or this clock is wrong",
                shown(self.not_before)
            ))
        } else if self.not_after - now < SOON_SECONDS {
            Some(format!("this node's certificate expires at {}", shown(self.not_after)))
        } else {
            None
        }
    }
}

/// Said already by [`Validity::warning`].
fn is_of_time(error: &Error) -> bool {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    let Error::InvalidCertificate(why) = error else { return false };
    matches!(why, Expired | ExpiredContext { .. } | NotValidYet | NotValidYetContext { .. })
}
