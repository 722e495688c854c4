#![allow(clippy::unwrap_used)]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, date_time_ymd,
};
use rustls::pki_types::CertificateDer;

use super::*;

/// 2020-01-01 and 2049-12-31, 2050-01-01: on either side of where certificates begin to write years with four digits.
const Y2020: i64 = 1_577_836_800;
const Y2049: i64 = 2_524_521_600;
const Y2050: i64 = 2_524_608_000;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn material(change: impl Fn(&mut CertificateParams), trusted: &str) -> Material {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let mut params = CertificateParams::new(["node0".to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, &authority).unwrap().pem();
    let identity = Identity::parse(certificate.as_bytes(), key.serialize_pem().as_bytes()).unwrap();
    let trusted = if trusted.is_empty() { authority.pem() } else { trusted.to_owned() };
    Material { identity: Some(identity), authorities: Some(Authorities::parse(trusted.as_bytes()).unwrap()) }
}

#[test]
fn when_a_certificate_is_valid_is_read() {
    for (until, expected) in [(date_time_ymd(2049, 12, 31), Y2049), (date_time_ymd(2050, 1, 1), Y2050)] {
        let material = material(
            |params| {
                params.not_before = date_time_ymd(2020, 1, 1);
                params.not_after = until;
            },
            "",
        );
        assert_eq!(material.validity(), Some(Validity { not_before: Y2020, not_after: expected }));
    }
    let leap = material(|params| params.not_after = date_time_ymd(2024, 2, 29), "");
    assert_eq!(leap.validity().unwrap().not_after, 1_709_164_800);
}

/// Whatever is in the bytes, and wherever they end.
#[test]
fn what_is_no_certificate_has_no_validity() {
    let material = material(|_| {}, "");
    let whole = material.identity.as_ref().unwrap().leaf().as_ref().to_vec();
    for end in 0..whole.len() {
        assert_eq!(validity(&CertificateDer::from(&whole[..end])), None, "{end}");
    }
    for at in 0..whole.len().min(200) {
        for byte in [0, 0x17, 0x30, 0x7f, 0x80, 0x83, 0x84, 0xff] {
            let mut altered = whole.clone();
            altered[at] = byte;
            // Some still have one; none panics.
            let _ = validity(&CertificateDer::from(altered));
        }
    }
}

#[test]
fn what_will_not_work_is_said() {
    let day = 24 * 60 * 60;
    let until_2050 = material(
        |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2050, 1, 1);
        },
        "",
    );
    for (now, expected) in [
        (Y2020 - 1, Some("is not valid before 2020-01-01T00:00:00Z")),
        (Y2020, None),
        (Y2050 - 8 * day, None),
        (Y2050 - 6 * day, Some("expires at 2050-01-01T00:00:00Z")),
        (Y2050 + 1, Some("has EXPIRED, at 2050-01-01T00:00:00Z")),
    ] {
        let warnings = until_2050.warnings(now);
        assert_eq!(warnings.len(), usize::from(expected.is_some()), "{now}: {warnings:?}");
        assert!(expected.is_none_or(|expected| warnings[0].contains(expected)), "{now}: {warnings:?}");
    }
    let not_theirs = material(|_| {}, &authority().pem()).warnings(Y2020);
    assert!(not_theirs.len() == 1 && not_theirs[0].contains("is not one that CAUSEWAY_TLS_CA_FILE"), "{not_theirs:?}");
    let for_servers = material(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth], "");
    assert_eq!(for_servers.warnings(Y2020).len(), 1);
    let for_both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    assert!(material(|params| params.extended_key_usages = for_both.to_vec(), "").warnings(Y2020).is_empty());
}

#[test]
fn a_key_is_never_shown() {
    let (authority, key) = (authority(), KeyPair::generate().unwrap());
    let certificate = CertificateParams::default().signed_by(&key, &authority).unwrap().pem();
    let pem = key.serialize_pem();
    let identity = Identity::parse(certificate.as_bytes(), pem.as_bytes()).unwrap();
    let line = pem.lines().nth(1).unwrap();
    let bytes = format!("{:?}", &key.serialized_der()[..8]);
    let shown =
        format!("{:?}", Tls::new(std::sync::Arc::new(Material { identity: Some(identity), authorities: None })));
    assert!(!shown.contains(line) && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
}
