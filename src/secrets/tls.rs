//! The files for TLS: three that belong together, and count as they are together.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntGauge, Registry};
use tokio::task::JoinSet;

use super::{BadFile, Role, SecretsError, Take, Watch, gauge, small};
use crate::tls::{Authorities, Identity, Material, Part, Tls};

/// Many authorities may be trusted.
const MAX_PEM_BYTES: u64 = 1 << 20;

/// Where the files for TLS are, as far as there are any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The node's certificate, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Whose certificates are trusted.
    pub authorities: Option<PathBuf>,
}

/// Reads the files for TLS; or all that is wrong with any of them.
pub fn read_tls(files: &TlsFiles) -> Result<Material, Vec<BadFile>> {
    let identity = files.identity.as_ref().map(|(certificate, key)| read_identity(certificate, key)).transpose();
    let authorities = files.authorities.as_ref().map(|path| {
        let pem = bytes(path).map_err(|why| BadFile::new(Role::Authorities, path, why))?;
        Authorities::parse(&pem).map_err(|why| BadFile::new(Role::Authorities, path, why))
    });
    match (identity, authorities.transpose()) {
        (Ok(identity), Ok(authorities)) => Ok(Material { identity, authorities }),
        (identity, authorities) => {
            let bad = identity.err().unwrap_or_default();
            Err(bad.into_iter().chain(authorities.err()).collect())
        }
    }
}

fn read_identity(certificate: &Path, key: &Path) -> Result<Identity, Vec<BadFile>> {
    let pem = bytes(certificate).map_err(|why| BadFile::new(Role::Certificate, certificate, why));
    let key_pem = bytes(key).map_err(|why| BadFile::new(Role::Key, key, why));
    let (pem, key_pem) = match (pem, key_pem) {
        (Ok(pem), Ok(key_pem)) => (pem, key_pem),
        (pem, key_pem) => return Err(pem.err().into_iter().chain(key_pem.err()).collect()),
    };
    Identity::parse(&pem, &key_pem).map_err(|wrong| {
        let bad = wrong.into_iter().map(|(part, why)| match part {
            Part::Certificate => BadFile::new(Role::Certificate, certificate, why),
            Part::Key => BadFile::new(Role::Key, key, why),
        });
        bad.collect()
    })
}

fn bytes(path: &Path) -> Result<Vec<u8>, SecretsError> {
    small(path, MAX_PEM_BYTES)?;
    Ok(fs::read(path)?)
}

/// What a node has in force for TLS, by the files that it is configured with and what they had at the start; it changes as the
/// files do, until the set is dropped.
pub fn start_tls(files: TlsFiles, material: Arc<Material>, registry: &Registry) -> (Tls, JoinSet<()>) {
    let is_bad = gauge(
        "causeway_tls_files_bad",
        "1 while one of the files for TLS can't be used, and what was there before is in force.",
        registry,
    );
    let expires = gauge(
        "causeway_tls_certificate_expires_timestamp_seconds",
        "When the certificate in force expires, since the Unix epoch; 0 without one.",
        registry,
    );
    let mut watching = JoinSet::new();
    let paths: Vec<PathBuf> = files.paths().cloned().collect();
    if !paths.is_empty() {
        say("this node speaks TLS", &material);
    }
    expires.set(expiry(&material));
    let tls = Tls::new(material);
    if !paths.is_empty() {
        watching.spawn(Watch::new(paths, take(files, tls.clone(), expires), is_bad).run());
    }
    (tls, watching)
}

impl TlsFiles {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let identity = self.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        identity.chain(&self.authorities)
    }
}

fn take(files: TlsFiles, tls: Tls, expires: IntGauge) -> Take {
    Box::new(move |was_bad| {
        // One is told at a time: the next when that is mended.
        let material = read_tls(&files).map_err(|mut bad| bad.swap_remove(0))?;
        if was_bad || !tls.has(&material) {
            let material = Arc::new(material);
            tls.replace(material.clone());
            expires.set(expiry(&material));
            // Whoever reads that can rely on it.
            say("the files for TLS were read anew", &material);
        }
        Ok(())
    })
}

fn expiry(material: &Material) -> i64 {
    material.validity().map_or(0, |validity| validity.not_after)
}

/// Logs what is in force, and what will not work.
fn say(what: &str, material: &Material) {
    let expires = expiry(material);
    let (shows, trusts) = (material.identity.is_some(), material.authorities.is_some());
    tracing::info!(shows, trusts, expires, "{what}");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    material.warnings(now).iter().for_each(|warning| tracing::warn!("{warning}"));
}
