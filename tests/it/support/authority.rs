//! Certificates, made for one test and trusted by nobody else.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};

use super::process::Launch;

/// What issues certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate with its key, both in PEM. It is for 127.0.0.1 and localhost.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    /// Each of a name of its own: certificates say who has issued them by it.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate that is valid now.
    pub(crate) fn issue(&self) -> Issued {
        self.issue_until(4096)
    }

    /// One that expires when this year begins.
    pub(crate) fn issue_until(&self, year: i32) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// The files for TLS of one node.
#[derive(Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) authorities: PathBuf,
}

impl TlsFiles {
    /// Files of this name, with that in them.
    pub(crate) fn new(directory: &Path, name: &str, issued: &Issued, trusted: &[&Authority]) -> Self {
        let path = |what: &str| directory.join(format!("{name}-{what}.pem"));
        let files = Self { certificate: path("certificate"), key: path("key"), authorities: path("authorities") };
        files.show(issued);
        files.trust(trusted);
        files
    }

    /// Puts another certificate and its key there, as who renews them does: in the place of those.
    pub(crate) fn show(&self, issued: &Issued) {
        replace(&self.certificate, &issued.certificate);
        replace(&self.key, &issued.key);
    }

    /// Puts other authorities there.
    pub(crate) fn trust(&self, trusted: &[&Authority]) {
        replace(&self.authorities, &trusted.iter().map(|authority| authority.pem()).collect::<String>());
    }

    /// A node that has these files, and is called by who trusts these.
    pub(crate) fn of(&self, launch: Launch, callers_trust: &[String]) -> Launch {
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        launch
            .with("CAUSEWAY_TLS_CERT_FILE", &text(&self.certificate))
            .with("CAUSEWAY_TLS_KEY_FILE", &text(&self.key))
            .with("CAUSEWAY_TLS_CA_FILE", &text(&self.authorities))
            .called_over_tls(callers_trust)
    }
}

fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}
