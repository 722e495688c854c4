//! Files with secrets, with tokens of clients, and for TLS: read at the start, and again when they have changed.
//!
//! Promises: nothing of what is in them is ever shown; a file that can't be used any more changes nothing, and is told
//! once; a file that is just being written is left until it rests. Must not know what secrets are for ([`crate::auth`],
//! [`crate::tls`]).

mod tls;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus::{IntGauge, Registry, register_int_gauge_with_registry};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::auth::{Clients, Keyring, Keys, Secrets, Tokens, Unusable, UnusableTokens};
pub use tls::{TlsFiles, read_tls, start_tls};

/// How often is looked whether the file has changed.
const INTERVAL: Duration = Duration::from_secs(1);

/// Secrets are lines, and few.
const MAX_BYTES: u64 = 64 << 10;

/// Tokens may be more.
const MAX_TOKENS_BYTES: u64 = 4 << 20;

/// Why a file can't be used. Never says what is in it.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// It can't be read.
    #[error("can't be read: {0}")]
    Io(#[from] io::Error),
    /// Another file than this, most likely.
    #[error("has more than {0} bytes")]
    TooLarge(u64),
    /// What is in it is not as it should be.
    #[error("{0}")]
    Unusable(#[from] Unusable),
    /// The same, of tokens.
    #[error("{0}")]
    UnusableTokens(#[from] UnusableTokens),
    /// The same, of certificates and keys.
    #[error("{0}")]
    UnusableTls(#[from] crate::tls::Unusable),
}

/// What a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The cluster's secrets.
    Secrets,
    /// The tokens of clients.
    Tokens,
    /// The node's certificate.
    Certificate,
    /// Its key.
    Key,
    /// The authorities that are trusted.
    Authorities,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secrets => "the cluster's secrets",
            Self::Tokens => "the tokens of clients",
            Self::Certificate => "this node's certificate",
            Self::Key => "the key of this node's certificate",
            Self::Authorities => "the authorities that this node trusts",
        })
    }
}

/// A file that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("the file with {role}, {}, {why}", path.display())]
pub struct BadFile {
    /// What it is for.
    pub role: Role,
    /// Where it is.
    pub path: PathBuf,
    /// Why it can't.
    pub why: SecretsError,
}

impl BadFile {
    fn new(role: Role, path: &Path, why: impl Into<SecretsError>) -> Self {
        Self { role, path: path.to_owned(), why: why.into() }
    }
}

/// Reads the secrets in a file.
pub fn read(path: &Path) -> Result<Secrets, SecretsError> {
    Ok(Secrets::parse(&text(path, MAX_BYTES)?)?)
}

/// Reads the tokens in a file.
pub fn read_tokens(path: &Path) -> Result<Tokens, SecretsError> {
    Ok(Tokens::parse(&text(path, MAX_TOKENS_BYTES)?)?)
}

/// What is wrong with its bytes is said without them.
fn text(path: &Path, max_bytes: u64) -> Result<String, SecretsError> {
    small(path, max_bytes)?;
    Ok(fs::read_to_string(path)?)
}

fn small(path: &Path, max_bytes: u64) -> Result<(), SecretsError> {
    if fs::metadata(path)?.len() > max_bytes { Err(SecretsError::TooLarge(max_bytes)) } else { Ok(()) }
}

/// Lets this process leave no core dump, in which the secrets would be.
pub fn keep_out_of_core_dumps() -> io::Result<()> {
    // One byte rather than none, if that is allowed: at none, Linux still gives the dump to a program where the system has one for it.
    let least = getrlimit(Resource::Core).maximum.map_or(1, |maximum| maximum.min(1));
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(least), maximum: Some(least) })?)
}

/// What a file looked like; another one when it was written or replaced, or others may read it than before.
type Stamp = Option<(u64, u64, u64, [i64; 4])>;

fn stamp(path: &Path) -> Stamp {
    let found = fs::metadata(path).ok()?;
    let times = [found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec()];
    Some((found.dev(), found.ino(), found.len(), times))
}

/// What is made of the files when one has changed, where they can be used.
type Take = Box<dyn FnMut(WasBad) -> Result<(), BadFile> + Send>;

/// Whether they could not be used before.
type WasBad = bool;

/// Keeps what a node has of files that belong together as they have it.
struct Watch {
    paths: Vec<PathBuf>,
    take: Take,
    /// What they looked like when they were last read, and when they were last looked at.
    read: Vec<Stamp>,
    seen: Vec<Stamp>,
    is_bad: IntGauge,
    /// What was said of it last, if it is bad.
    told: Option<String>,
}

/// The keys of a node of this cluster, by the file that it is configured with and what that had at the start; they change as
/// the file does, until the set is dropped.
pub fn start(file: Option<(PathBuf, Secrets)>, cluster: &str, registry: &Registry) -> (Keys, JoinSet<()>) {
    let is_bad = is_bad("causeway_secret_file_bad", "the cluster's secrets", registry);
    let mut watching = JoinSet::new();
    let Some((path, secrets)) = file else { return (Keys::default(), watching) };
    let keyring = Keyring::new(&secrets, cluster);
    say("this cluster has secrets", &keyring);
    let keys = Keys::new(keyring);
    watching.spawn(Watch::of_secrets(path, cluster, keys.clone(), secrets, is_bad).run());
    (keys, watching)
}

/// Whom a node lets in, in the same way.
pub fn start_tokens(file: Option<(PathBuf, Tokens)>, registry: &Registry) -> (Clients, JoinSet<()>) {
    let is_bad = is_bad("causeway_tokens_file_bad", "the tokens of clients", registry);
    let mut watching = JoinSet::new();
    let Some((path, tokens)) = file else { return (Clients::default(), watching) };
    say_tokens("clients need a token", &tokens);
    let clients = Clients::with(tokens);
    watching.spawn(Watch::of_tokens(path, clients.clone(), is_bad).run());
    (clients, watching)
}

fn is_bad(name: &str, what: &str, registry: &Registry) -> IntGauge {
    gauge(name, &format!("1 while the file with {what} can't be used, and what it had before is in force."), registry)
}

fn gauge(name: &str, help: &str, registry: &Registry) -> IntGauge {
    register_int_gauge_with_registry!(name, help, registry)
        .expect("this is valid, and each node has a registry of its own")
}

impl Watch {
    fn new(paths: Vec<PathBuf>, take: Take, is_bad: IntGauge) -> Self {
        Self { paths, take, read: Vec::new(), seen: Vec::new(), is_bad, told: None }
    }

    /// Of a file that had these secrets a moment ago, which the keys are made of.
    fn of_secrets(path: PathBuf, cluster: &str, keys: Keys, mut held: Secrets, is_bad: IntGauge) -> Self {
        let cluster = cluster.to_owned();
        let paths = vec![path.clone()];
        let take: Take = Box::new(move |was_bad| {
            let secrets = read(&path).map_err(|why| BadFile::new(Role::Secrets, &path, why))?;
            if secrets != held || was_bad {
                let keyring = Keyring::new(&secrets, &cluster);
                say("the cluster's secrets were read anew", &keyring);
                held = secrets;
                keys.replace(keyring);
            }
            Ok(())
        });
        Self::new(paths, take, is_bad)
    }

    /// Of a file whose tokens these clients have.
    fn of_tokens(path: PathBuf, clients: Clients, is_bad: IntGauge) -> Self {
        let paths = vec![path.clone()];
        let take: Take = Box::new(move |was_bad| {
            let tokens = read_tokens(&path).map_err(|why| BadFile::new(Role::Tokens, &path, why))?;
            if was_bad || clients.tokens().is_none_or(|held| *held != tokens) {
                say_tokens("the tokens of clients were read anew", &tokens);
                clients.replace(tokens);
            }
            Ok(())
        });
        Self::new(paths, take, is_bad)
    }

    /// Looks again and again, until it is dropped.
    async fn run(mut self) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // It may be a disk of a network that hangs.
            let looked = spawn_blocking(move || {
                self.look();
                self
            });
            // It fails when it panicked or when the runtime ends.
            let Ok(watch) = looked.await else { return };
            self = watch;
        }
    }

    /// Takes over what the files have, once they have looked the same twice.
    fn look(&mut self) {
        let now: Vec<Stamp> = self.paths.iter().map(|path| stamp(path)).collect();
        if now == self.read || now != std::mem::replace(&mut self.seen, now.clone()) {
            return;
        }
        self.read = now;
        let taken = (self.take)(self.is_bad.get() == 1);
        self.is_bad.set(taken.is_err().into());
        let Err(bad) = taken else {
            self.told = None;
            return;
        };
        if matches!(bad.why, SecretsError::Io(_)) {
            // That may pass without any change to it: too many files were open, a disk of the network was away.
            self.read.clear();
        }
        let (path, error) = (bad.path.display(), &bad.why);
        let said = bad.to_string();
        if self.told.as_ref() != Some(&said) {
            tracing::error!(%path, %error, "the file with {} {error}: those of before stay in force", bad.role);
            self.told = Some(said);
        }
    }
}

/// Logs whose tokens are in force.
fn say_tokens(what: &str, tokens: &Tokens) {
    let names = tokens.names().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",");
    tracing::info!(names, "{what}: there are those of {names}");
}

/// Logs which keys are in force.
fn say(what: &str, keyring: &Keyring) {
    let keys = keyring.ids().map(|id| id.to_string()).collect::<Vec<_>>().join(",");
    let signing = keyring.signing_id().map_or_else(|| "none".to_owned(), |id| id.to_string());
    tracing::info!(keys, signing, "{what}: this node signs with {signing} and accepts {keys}");
    if keyring.accepts_unsigned() {
        tracing::warn!(
            "the file with the cluster's secrets has a line 'none': whoever reaches this node's port for peers is believed \
             without proof, until that line is gone"
        );
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tempfile::TempDir;

    use super::*;

    const ONE: &str = "1111111111111111111111111111111111111111";
    const TWO: &str = "2222222222222222222222222222222222222222";

    fn watch(path: &Path) -> (Watch, Keys) {
        let secrets = read(path).unwrap();
        let keys = Keys::new(Keyring::new(&secrets, "c"));
        let is_bad = IntGauge::new("bad", "bad").unwrap();
        (Watch::of_secrets(path.to_owned(), "c", keys.clone(), secrets, is_bad), keys)
    }

    fn ids(keys: &Keys) -> Vec<String> {
        keys.current().ids().map(|id| id.to_string()).collect()
    }

    #[test]
    fn a_change_is_taken_over_once_the_file_rests_and_a_bad_one_changes_nothing() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("secrets");
        fs::write(&path, ONE).unwrap();
        let (mut watch, keys) = watch(&path);
        let first = ids(&keys);
        watch.look();
        watch.look();
        assert_eq!(ids(&keys), first);

        fs::write(&path, format!("{ONE}\n# the next one\n{TWO}\n")).unwrap();
        watch.look();
        assert_eq!(ids(&keys), first, "it may still be being written");
        watch.look();
        assert_eq!(ids(&keys).len(), 2);
        let both = ids(&keys);

        for bad in ["", "short", &format!("{ONE}\n{ONE}")] {
            fs::write(&path, bad).unwrap();
            (0..3).for_each(|_| watch.look());
            assert_eq!((ids(&keys), watch.is_bad.get()), (both.clone(), 1), "{bad}");
        }
        fs::remove_file(&path).unwrap();
        (0..3).for_each(|_| watch.look());
        assert_eq!((ids(&keys), watch.is_bad.get()), (both.clone(), 1));

        // Replaced by another file, as it is for those who never write in place.
        fs::write(directory.path().join("new"), TWO).unwrap();
        fs::rename(directory.path().join("new"), &path).unwrap();
        (0..2).for_each(|_| watch.look());
        assert_eq!((ids(&keys), watch.is_bad.get()), (both[1..].to_vec(), 0));
    }

    #[test]
    fn a_file_that_could_not_be_read_for_a_while_is_read_when_it_can_be() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("secrets");
        fs::write(&path, ONE).unwrap();
        let (mut watch, keys) = watch(&path);
        // It is tried again though the file stays as it is.
        let (mut take, mut fails) = (std::mem::replace(&mut watch.take, Box::new(|_| Ok(()))), 2);
        watch.take = Box::new(move |was_bad| match fails {
            0 => take(was_bad),
            _ => {
                fails -= 1;
                Err(BadFile::new(Role::Secrets, Path::new("it"), io::Error::other("too many open files")))
            }
        });
        fs::write(&path, TWO).unwrap();
        (0..3).for_each(|_| watch.look());
        assert_eq!(watch.is_bad.get(), 1);
        watch.look();
        assert_eq!((ids(&keys).len(), watch.is_bad.get()), (1, 0));
        assert_eq!(ids(&keys), ids(&Keys::new(Keyring::new(&read(&path).unwrap(), "c"))));
    }

    #[test]
    fn that_others_may_read_a_file_is_a_change() {
        use std::os::unix::fs::PermissionsExt;
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("secrets");
        fs::write(&path, ONE).unwrap();
        let before = stamp(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_ne!(stamp(&path), before);
    }

    #[test]
    fn what_can_not_be_used_is_said_without_showing_it() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("secrets");
        let said = |bytes: &[u8]| {
            fs::write(&path, bytes).unwrap();
            read(&path).unwrap_err().to_string()
        };
        assert_eq!(said(b"# nothing\n\n"), "has no secret");
        assert_eq!(said(b"none\n"), "has no secret");
        assert_eq!(said(b"\nhunter2\n"), "has a secret of 7 characters in line 2; at least 32 are needed");
        assert_eq!(said(format!("{ONE}\n\n {ONE}\n").as_bytes()), "says the same in line 3 as in one before it");
        assert_eq!(said(&vec![b'x'; 70 << 10]), "has more than 65536 bytes");
        assert!(said(&[0xff; 40]).starts_with("can't be read: "));
        assert!(read(&directory.path().join("none")).unwrap_err().to_string().starts_with("can't be read: No such"));
    }
}
