//! The files for TLS: what is wrong with them, and what they are good for.

use std::fs;

use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use super::*;

/// Files of a node and of its authority.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        let files = Self(TempDir::new().unwrap());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let node = CertificateParams::new(["node0".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        files.write("node.pem", &node.pem());
        files.write("key.pem", &key.serialize_pem());
        files.write("other.pem", &KeyPair::generate().unwrap().serialize_pem());
        files.write("ca.pem", &authority.pem());
        files.write("text", "no PEM at all");
        files.write("cut.pem", &node.pem()[..200]);
        files.write("strange.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        files
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Node 0 of two, with these files and more variables.
    fn node0(&self, certificate: &str, key: &str, ca: &str, variables: &[(&str, &str)]) -> Input {
        let named =
            [("CAUSEWAY_TLS_CERT_FILE", certificate), ("CAUSEWAY_TLS_KEY_FILE", key), ("CAUSEWAY_TLS_CA_FILE", ca)];
        let paths = named.map(|(name, file)| (name, if file.is_empty() { String::new() } else { self.path(file) }));
        let paths = paths.each_ref().map(|(name, path)| (*name, path.as_str()));
        super::node0(&[&paths[..], variables].concat())
    }
}

#[test]
fn everything_that_is_wrong_with_the_files_is_told() {
    let files = Files::new();
    let wrong = [
        (
            "node.pem",
            "",
            "",
            &["CAUSEWAY_TLS_CERT_FILE is '.*node.pem': expected that CAUSEWAY_TLS_KEY_FILE is set"][..],
        ),
        ("", "key.pem", "", &["CAUSEWAY_TLS_KEY_FILE is '.*key.pem': expected that CAUSEWAY_TLS_CERT_FILE is set"]),
        ("node.pem", "other.pem", "", &["CAUSEWAY_TLS_KEY_FILE is.*; it has another key than that of the certificate"]),
        ("text", "node.pem", "", &["TLS_CERT_FILE.*; it has no certificate in PEM", "it has no private key in PEM"]),
        ("cut.pem", "key.pem", "", &["TLS_CERT_FILE.*; it has a certificate that can't be read: "]),
        ("strange.pem", "key.pem", "", &["TLS_CERT_FILE.*; it has a certificate that can't be read: "]),
        (
            "none.pem",
            "text",
            "strange.pem",
            &[
                "TLS_CERT_FILE.*; it can't be read: No such file",
                "TLS_CA_FILE.*; it has a certificate that can't be read: ",
            ],
        ),
        ("node.pem", "key.pem", "key.pem", &["TLS_CA_FILE.*; it has no certificate in PEM"]),
    ];
    for (certificate, key, ca, expected) in wrong {
        let found = problems(&files.node0(certificate, key, ca, &[]));
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            let mut rest = found.as_str();
            for part in expected.split(".*") {
                let at = rest.find(part).unwrap_or_else(|| panic!("no '{part}' in {found}"));
                rest = &rest[at + part.len()..];
            }
        }
    }
}

#[test]
fn peers_at_https_need_authorities() {
    let files = Files::new();
    let list = ("CAUSEWAY_PEERS", "0=https://node0.replication:7000,1=https://node1.replication:7000");
    let config = load(&files.node0("node.pem", "key.pem", "ca.pem", &[list])).unwrap();
    assert_eq!(peers(&config), [(Some(1), "https://node1.replication:7000")]);
    assert!(!format!("{config:?}").contains("PRIVATE KEY"));
    let listed = problems(&files.node0("node.pem", "key.pem", "", &[list]));
    assert!(listed.len() == 1 && listed[0].contains("expected that CAUSEWAY_TLS_CA_FILE is set, too"), "{listed:?}");
    let twice = ("CAUSEWAY_PEERS", "0=http://node0:7000,1=http://node1:7000,2=https://node1:7000");
    assert!(problems(&files.node0("", "", "ca.pem", &[twice]))[0].contains("expected each address once"));

    let mut ports = files.node0("node.pem", "key.pem", "ca.pem", &[]);
    ports.arguments = arguments("0", "8000", "8000,8001").arguments;
    assert_eq!(peers(&load(&ports).unwrap()), [(None, "https://127.0.0.1:8001")]);
}

#[test]
fn certificates_protect_peers_that_have_a_port_of_their_own() {
    let files = Files::new();
    let open = [("CAUSEWAY_LISTEN", "0.0.0.0:8000")];
    let apart = [open[0], ("CAUSEWAY_PEER_LISTEN", "0.0.0.0:7000")];
    let config = load(&files.node0("node.pem", "key.pem", "ca.pem", &apart)).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    for (ca, variables) in [("ca.pem", &open[..]), ("", &apart)] {
        let listed = problems(&files.node0("node.pem", "key.pem", ca, variables));
        assert_eq!(listed.len(), variables.len(), "{listed:?}");
        assert!(listed[0].contains("CAUSEWAY_TLS_CA_FILE"), "{listed:?}");
    }
}
