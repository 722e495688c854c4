//! The tokens of clients, as they stand in their file, and what each of them allows.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

/// More than are ever given out for one cluster.
const MAX_TOKENS: usize = 10_000;

const MAX_NAME_BYTES: usize = 64;

/// What tokens begin with, so that they are noticed where they don't belong.
const BEGINNING: &str = "causeway_";

/// Stands for all keys.
const ALL: &str = "*";

/// What a token may be used for. None includes another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// To see keys and values.
    Read,
    /// To write keys.
    Write,
    /// To see how nodes are, without any key.
    Status,
    /// To change what a node does, and to take all of its state away.
    Admin,
}

impl Scope {
    const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Status, Self::Admin];

    /// Its name in the file and in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Status => "status",
            Self::Admin => "admin",
        }
    }
}

/// What one token allows.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// Of its token.
    hash: Hash,
    name: String,
    scopes: Vec<Scope>,
    /// `None`: all keys.
    prefixes: Option<Vec<String>>,
}

impl Grant {
    /// What its file calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may be used for that.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether it is for all keys.
    pub fn is_for_all(&self) -> bool {
        self.prefixes.is_none()
    }

    /// Whether it is for this key; or for all keys that begin so.
    pub fn is_for(&self, key: &str) -> bool {
        self.prefixes.as_ref().is_none_or(|prefixes| prefixes.iter().any(|prefix| key.starts_with(prefix)))
    }
}

/// Its name, and no more.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({})", self.name)
    }
}

/// Why a file can't be used. Never says what is in it: it may be a token that was put in the place of its hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnusableTokens {
    /// Not one token.
    #[error("has no token")]
    Empty,
    /// More than are ever needed.
    #[error("has more than {MAX_TOKENS} tokens")]
    TooMany,
    /// A line is not as lines are.
    #[error("has {what} in line {line}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
}

/// Tokens by their hashes, and what each allows.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens(BTreeMap<Hash, Arc<Grant>>);

type Hash = [u8; SHA256_OUTPUT_LEN];

fn hash(token: &str) -> Hash {
    let mut hash = [0; SHA256_OUTPUT_LEN];
    hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    hash
}

impl Tokens {
    /// `NAME SCOPES PREFIXES HASH` a line; blank lines, and those that begin with `#`, don't count.
    pub fn parse(text: &str) -> Result<Self, UnusableTokens> {
        let mut tokens = BTreeMap::new();
        for (index, text) in text.lines().map(str::trim).enumerate() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let wrong = |what| UnusableTokens::Line { line: index + 1, what };
            let grant = line(text).map_err(wrong)?;
            if tokens.insert(grant.hash, Arc::new(grant)).is_some() {
                return Err(wrong("the same hash as in one before it"));
            }
        }
        match tokens.len() {
            0 => Err(UnusableTokens::Empty),
            1..=MAX_TOKENS => Ok(Self(tokens)),
            _ => Err(UnusableTokens::TooMany),
        }
    }

    /// What a token allows, if it is one of these. How long that takes tells something of hashes only, of which nobody can
    /// make a token.
    pub fn find(&self, token: &str) -> Option<Arc<Grant>> {
        self.0.get(&hash(token)).cloned()
    }

    /// The names of all tokens.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|grant| &*grant.name)
    }
}

/// How many, and no more.
impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({} of them)", self.0.len())
    }
}

fn line(text: &str) -> Result<Grant, &'static str> {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let [name, scopes, prefixes, hash] = parts[..] else {
        return Err("other than the four parts NAME SCOPES PREFIXES HASH");
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() > MAX_NAME_BYTES || !name.bytes().all(is_plain) {
        return Err("a name that is not 1 to 64 letters, digits, '.', '_' or '-'");
    }
    let scope = |name: &str| Scope::ALL.into_iter().find(|scope| scope.name() == name);
    let scopes = scopes.split(',').map(scope).collect::<Option<Vec<_>>>();
    let scopes = scopes.ok_or("a scope that is not read, write, status or admin")?;
    let prefixes = match prefixes {
        ALL => None,
        some => Some(some.split(',').map(decoded).collect::<Option<Vec<_>>>().ok_or("a prefix that can't be decoded")?),
    };
    let hash = from_hex(hash).ok_or("a hash that is not 64 hexadecimal digits")?;
    Ok(Grant { hash, name: name.to_owned(), scopes, prefixes })
}

fn from_hex(text: &str) -> Option<Hash> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut hash = [0; SHA256_OUTPUT_LEN];
    if text.len() != 2 * hash.len() || !digits {
        return None;
    }
    for (index, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..][..2], 16).ok()?;
    }
    Some(hash)
}

/// A prefix as it stands in the file: not empty, and `%` and two hexadecimal digits for a byte.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(bytes).ok().filter(|prefix| !prefix.is_empty() && text != ALL)
}

fn encoded(prefix: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"%,*".contains(byte);
    let encode = |byte: u8| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    prefix.bytes().map(encode).collect()
}

/// A new token, made of random bits, and the line by which the file knows it. Without prefixes it is for all keys.
pub fn issue(
    random: [u8; 32],
    name: &str,
    scopes: &[String],
    prefixes: &[String],
) -> Result<(String, String), UnusableTokens> {
    let token = format!("{BEGINNING}{}", URL_SAFE_NO_PAD.encode(random));
    let encoded: Vec<String> = prefixes.iter().map(|prefix| encoded(prefix)).collect();
    let prefixes = if encoded.is_empty() { ALL.to_owned() } else { encoded.join(",") };
    let hash: String = hash(&token).iter().map(|byte| format!("{byte:02x}")).collect();
    let line = format!("{name} {} {prefixes} {hash}", scopes.join(","));
    Tokens::parse(&line)?;
    Ok((token, line))
}

/// Whom a running node lets in: everybody, or who has one of its tokens, which are exchanged as their file changes. Cheap
/// to clone: all clones have the same.
#[derive(Clone, Debug, Default)]
pub struct Clients(Option<Arc<ArcSwap<Tokens>>>);

impl Clients {
    /// Those with one of these tokens, to begin with.
    pub fn with(tokens: Tokens) -> Self {
        Self(Some(Arc::new(ArcSwap::from_pointee(tokens))))
    }

    /// The tokens of now; `None`: everybody gets in.
    pub fn tokens(&self) -> Option<Arc<Tokens>> {
        self.0.as_ref().map(|tokens| tokens.load_full())
    }

    /// Whether a token still is one of these, and allows what it did.
    pub fn stands(&self, grant: &Grant) -> bool {
        self.tokens().is_none_or(|tokens| tokens.0.get(&grant.hash).is_some_and(|now| **now == *grant))
    }

    /// Puts others in their place. Where everybody gets in that stays so.
    pub fn replace(&self, tokens: Tokens) {
        if let Some(held) = &self.0 {
            held.store(Arc::new(tokens));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_token_allows_what_its_line_says() {
        let prefixes = texts(&["cart/", "a b,c*%ü"]);
        let (token, line) = issue([7; 32], "shop", &texts(&["read", "write"]), &prefixes).unwrap();
        assert!(token.len() == 52 && line.starts_with("shop read,write cart/,a%20b%2Cc%2A%25%C3%BC "), "{line}");
        assert!(!line.contains(&token[9..]));
        let (other, all) = issue([8; 32], "ops", &texts(&["admin"]), &[]).unwrap();
        let tokens = Tokens::parse(&format!("# shop\n\n{line}\n {all}\n")).unwrap();
        let grant = tokens.find(&token).unwrap();
        assert_eq!((grant.name(), grant.has(Scope::Read), grant.has(Scope::Admin)), ("shop", true, false));
        assert!(!grant.is_for_all() && grant.is_for("cart/1") && grant.is_for("a b,c*%ü"));
        assert!(!grant.is_for("cart") && !grant.is_for("") && !grant.is_for("Cart/1"));
        assert!(tokens.find(&other).unwrap().is_for_all());
        for wrong in ["", "causeway_", &token[..51], &line[line.len() - 64..]] {
            assert_eq!(tokens.find(wrong), None);
        }
        assert_eq!(format!("{tokens:?} {grant:?}"), "Tokens(2 of them) Grant(shop)");
    }

    #[test]
    fn a_token_stands_as_long_as_its_line_does() {
        let (token, line) = issue([7; 32], "shop", &texts(&["read", "write"]), &texts(&["cart/"])).unwrap();
        let (_, other) = issue([8; 32], "shop", &texts(&["read", "write"]), &texts(&["cart/"])).unwrap();
        let clients = Clients::with(Tokens::parse(&line).unwrap());
        let grant = clients.tokens().unwrap().find(&token).unwrap();
        for (lines, stands) in [
            (format!("{other}\n{line}"), true),
            (other, false),
            (line.replace("read,write", "read"), false),
            (line.replace("cart/", "cart/1"), false),
            (line, true),
        ] {
            clients.replace(Tokens::parse(&lines).unwrap());
            assert_eq!(clients.stands(&grant), stands, "{lines}");
        }
        assert!(Clients::default().stands(&grant));
    }

    #[test]
    fn a_file_that_says_something_else_is_told_without_showing_it() {
        let hash = "5f".repeat(32);
        for (line, what) in [
            (String::new(), "has no token"),
            (format!("a read {hash}"), "has other than the four parts NAME SCOPES PREFIXES HASH in line 1"),
            (format!("a read * {hash} x"), "has other than the four parts NAME SCOPES PREFIXES HASH in line 1"),
            (format!("ü read * {hash}"), "has a name that is not 1 to 64 letters, digits, '.', '_' or '-' in line 1"),
            (format!("a read,all * {hash}"), "has a scope that is not read, write, status or admin in line 1"),
            (format!("a read, * {hash}"), "has a scope that is not read, write, status or admin in line 1"),
            (format!("a read x, {hash}"), "has a prefix that can't be decoded in line 1"),
            (format!("a read x,* {hash}"), "has a prefix that can't be decoded in line 1"),
            (format!("a read %+1 {hash}"), "has a prefix that can't be decoded in line 1"),
            (format!("a read %ff {hash}"), "has a prefix that can't be decoded in line 1"),
            (format!("a read x%2 {hash}"), "has a prefix that can't be decoded in line 1"),
            ("a read * causeway_token".to_owned(), "has a hash that is not 64 hexadecimal digits in line 1"),
            (format!("a read * {hash}\nb read * {hash}"), "has the same hash as in one before it in line 2"),
        ] {
            assert_eq!(Tokens::parse(&line).unwrap_err().to_string(), what, "{line}");
        }
    }
}
