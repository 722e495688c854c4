//! rustls's configurations, made of what the files have.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};

use super::{Authorities, Identity};

/// All that is spoken over it.
const HTTP: &[u8] = b"http/1.1";

const BOTH_VERSIONS: &str = "the provider has suites for both versions";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

/// Whether its parts can be used, and belong together.
pub(super) fn check(identity: &Identity) -> Result<(), Error> {
    CertifiedKey::from_der(identity.chain.clone(), identity.key.clone_key(), &provider())?;
    rustls::server::ParsedCertificate::try_from(identity.leaf()).map(drop)
}

/// Whether a node with these authorities takes it for a peer's.
pub(super) fn check_as_peer(identity: &Identity, authorities: &Authorities, now: i64) -> Result<(), Error> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.max(0).unsigned_abs()));
    verifier(authorities).verify_client_cert(identity.leaf(), &identity.chain[1..], now).map(drop)
}

fn verifier(authorities: &Authorities) -> Arc<dyn ClientCertVerifier> {
    let builder = WebPkiClientVerifier::builder_with_provider(authorities.roots.clone(), provider());
    builder.build().expect("there is an authority, and no list of what is revoked")
}

/// What a listener shows; with `asks`, others have to show a certificate of those.
pub(super) fn listens(identity: &Identity, asks: Option<&Authorities>) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect(BOTH_VERSIONS);
    let builder = match asks {
        Some(authorities) => builder.with_client_cert_verifier(verifier(authorities)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    config.alpn_protocols = vec![HTTP.to_vec()];
    if asks.is_some() {
        // A session that is resumed does not show a certificate again, which may have expired meanwhile.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(config)
}

/// Whose word is taken for who is at the other end of a call.
#[derive(Debug)]
pub enum Believes<'a> {
    /// A certificate of one of these, for the name that is called; without any, nobody's.
    Authorities(Option<&'a Authorities>),
    /// This certificate, whatever is in it.
    Certificate(CertificateDer<'static>),
    /// Whoever is there.
    Anybody,
}

/// How somebody is called, who is shown this identity if he asks for one.
pub fn calls(believes: Believes<'_>, shows: Option<&Identity>) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let builder = builder.expect(BOTH_VERSIONS);
    let known = |certificate| Arc::new(Known { certificate, provider: provider() });
    let builder = match believes {
        Believes::Authorities(Some(authorities)) => builder.with_root_certificates(authorities.roots.clone()),
        Believes::Authorities(None) => builder.with_root_certificates(RootCertStore::empty()),
        Believes::Certificate(certificate) => {
            builder.dangerous().with_custom_certificate_verifier(known(Some(certificate)))
        }
        Believes::Anybody => builder.dangerous().with_custom_certificate_verifier(known(None)),
    };
    let mut config = match shows {
        Some(identity) => builder.with_client_auth_cert(identity.chain.clone(), identity.key.clone_key())?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Knows who is called by the very certificate, or does not mind; that its key is there is proven all the same.
#[derive(Debug)]
struct Known {
    certificate: Option<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match &self.certificate {
            Some(certificate) if certificate != end_entity => {
                Err(CertificateError::ApplicationVerificationFailure.into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
