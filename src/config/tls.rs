//! Whether a node speaks TLS, and whom it knows by certificates.

use std::sync::Arc;

use super::layers::Values;
use super::parse;
use crate::secrets::{self, Role, TlsFiles};
use crate::tls::Material;

/// The files, as far as there are any, and what is in them.
pub(super) type Tls = (TlsFiles, Arc<Material>);

/// Reads all of them. `None`: a problem was noted.
pub(super) fn take(values: &mut Values) -> Option<Tls> {
    let certificate = values.optional_text("tls_cert_file", parse::path);
    let key = values.optional_text("tls_key_file", parse::path);
    let authorities = values.optional_text("tls_ca_file", parse::path);
    let identity = match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => return values.invalid("tls_cert_file", "that CAUSEWAY_TLS_KEY_FILE is set, too"),
        (None, Some(_)) => return values.invalid("tls_key_file", "that CAUSEWAY_TLS_CERT_FILE is set, too"),
    };
    let files = TlsFiles { identity, authorities: authorities? };
    match secrets::read_tls(&files) {
        Ok(material) => Some((files, Arc::new(material))),
        Err(bad) => {
            for bad in bad {
                let (key, expected) = expected(bad.role);
                values.invalid::<()>(key, &format!("{expected}; it {}", bad.why));
            }
            None
        }
    }
}

fn expected(role: Role) -> (&'static str, &'static str) {
    match role {
        Role::Key => ("tls_key_file", "a file with the key of this node's certificate in PEM"),
        Role::Authorities => ("tls_ca_file", "a file with certificates of authorities in PEM"),
        _ => ("tls_cert_file", "a file with this node's certificate in PEM, and those between it and its authority"),
    }
}

/// Whether a listener of peers alone asks them for a certificate.
pub(super) fn asks((files, _): &Tls) -> bool {
    files.identity.is_some() && files.authorities.is_some()
}
