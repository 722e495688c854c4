//! The JSON of requests, parsed strictly: no key or field twice, no unknown field, no value but a string or
//! `null`, no size over its limit, all of it looked at before anything is done.
//!
//! A body that is not JSON is told apart from JSON that says the wrong thing: a violation is noted and the
//! parse goes on, so that a broken body is `400` wherever it is broken. Of several violations the first is
//! told.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Limits;
use super::problem::{Kind, Problem, shown};
use crate::replica::{Key, Value};

/// What the JSON of a request can be refused for.
pub(super) const REFUSALS: &[Kind] = &[
    Kind::NotJson,
    Kind::BadUtf8,
    Kind::WrongType,
    Kind::UnknownField,
    Kind::MissingField,
    Kind::DuplicateField,
    Kind::DuplicateKey,
    Kind::EmptyKey,
    Kind::NoEntries,
    Kind::TooManyEntries,
];

/// The same of a request that is one field, true or false.
pub(super) const OF_FLAG: &[Kind] =
    &[Kind::NotJson, Kind::BadUtf8, Kind::WrongType, Kind::UnknownField, Kind::MissingField, Kind::DuplicateField];

/// The entries of `{"values": {"key": "value", "gone": null}}`.
pub(super) fn values(text: &str, limits: &Limits) -> Result<Vec<(Key, Option<Value>)>, Problem> {
    let findings = Findings::default();
    let entries = only_field(text, "values", Values { limits, findings: &findings }, &findings)?;
    distinct(entries.iter().map(|(key, _)| key))?;
    Ok(entries)
}

/// The keys of `{"keys": ["key", "other"]}`.
pub(super) fn keys(text: &str, limits: &Limits) -> Result<Vec<Key>, Problem> {
    let findings = Findings::default();
    let keys = only_field(text, "keys", Keys { limits, findings: &findings }, &findings)?;
    distinct(keys.iter())?;
    Ok(keys)
}

/// What `{"name": true}` says.
pub(super) fn flag(text: &str, name: &'static str) -> Result<bool, Problem> {
    let findings = Findings::default();
    field(text, name, Flag { name, findings: &findings }, &findings)
}

fn distinct<'a>(keys: impl ExactSizeIterator<Item = &'a Key>) -> Result<(), Problem> {
    if keys.len() < 2 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(keys.len());
    for key in keys {
        if !seen.insert(key) {
            let detail = format!("the key '{}' is given more than once", shown(key));
            return Err(Problem::new(Kind::DuplicateKey, detail).about(key));
        }
    }
    Ok(())
}

/// Parses an object that has the one field `name`, which must not be empty.
fn only_field<S, T>(text: &str, name: &'static str, content: S, findings: &Findings) -> Result<Vec<T>, Problem>
where
    S: Shape<Out = Vec<T>> + Copy,
{
    let items = field(text, name, content, findings)?;
    match items.is_empty() {
        true => Err(Problem::new(Kind::NoEntries, format!("'{name}' is empty")).with("field", name)),
        false => Ok(items),
    }
}

/// Parses an object that has the one field `name`.
fn field<S: Shape + Copy>(text: &str, name: &'static str, content: S, findings: &Findings) -> Result<S::Out, Problem> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let parsed = Any(Request { name, content, findings }).deserialize(&mut parser);
    let content = parsed.and_then(|content| parser.end().map(|()| content)).map_err(|error| not_json(&error))?;
    findings.told(name)?;
    let missing = || Problem::new(Kind::MissingField, format!("the field '{name}' is missing")).with("field", name);
    content.ok_or_else(missing)
}

fn not_json(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let detail = error.to_string();
    // These two are JSON by its grammar, and still say what can't be taken: half of a UTF-16 pair, and a
    // number (never a value) that is too large to be one.
    let (kind, detail) = match &detail {
        half if half.starts_with("lone leading surrogate") || half.starts_with("unexpected end of hex escape") => {
            let half =
                format!("a \\u escape is half of a UTF-16 pair, without the other, at line {line} column {column}");
            (Kind::BadUtf8, half)
        }
        number if number.starts_with("number out of range") => (Kind::WrongType, detail),
        _ => (Kind::NotJson, detail),
    };
    Problem::new(kind, detail).with("line", line).with("column", column)
}

/// What is wrong with a request that is JSON.
#[derive(Default)]
struct Findings {
    first: RefCell<Option<Problem>>,
    unknown: RefCell<Vec<String>>,
}

/// Unknown fields that are named; more would only make the answer long.
const MAX_UNKNOWN_NAMED: usize = 16;

impl Findings {
    fn note(&self, problem: impl FnOnce() -> Problem) {
        self.first.borrow_mut().get_or_insert_with(problem);
    }

    fn wrong_type(&self, what: &str, expected: &str, found: &str) {
        self.note(|| {
            let detail = format!("{what} must be {expected}, not {found}");
            Problem::new(Kind::WrongType, detail).with("expected", expected).with("found", found)
        });
    }

    fn unknown_field(&self, name: &str) {
        let mut unknown = self.unknown.borrow_mut();
        if unknown.len() < MAX_UNKNOWN_NAMED {
            unknown.push(shown(name));
        }
    }

    fn too_many(&self, limits: &Limits) {
        let limit = limits.entries;
        self.note(|| {
            Problem::new(Kind::TooManyEntries, format!("a request has at most {limit} keys")).with("limit", limit)
        });
    }

    /// Refuses a request that anything was found about. Unknown fields go first: a misspelt field explains
    /// what else is missing.
    fn told(&self, known: &'static str) -> Result<(), Problem> {
        let unknown = self.unknown.take();
        if !unknown.is_empty() {
            let detail = format!("there is no field '{}'; this call takes the field '{known}'", unknown.join("', '"));
            return Err(Problem::new(Kind::UnknownField, detail).with("fields", unknown));
        }
        self.first.take().map_or(Ok(()), Err)
    }
}

/// The whole request.
struct Request<'a, S> {
    name: &'static str,
    content: S,
    findings: &'a Findings,
}

impl<S: Shape + Copy> Shape for Request<'_, S> {
    type Out = Option<S::Out>;

    fn other(self, found: &'static str) -> Self::Out {
        self.findings.wrong_type("the request", "an object", found);
        None
    }

    fn map<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Out, A::Error> {
        let mut content = None;
        while let Some(name) = map.next_key::<String>()? {
            if name != self.name {
                self.findings.unknown_field(&name);
            } else if content.is_some() {
                let detail = format!("the field '{name}' is given more than once");
                self.findings.note(|| Problem::new(Kind::DuplicateField, detail).with("field", name));
            } else {
                content = Some(map.next_value_seed(Any(self.content))?);
                continue;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(content)
    }
}

/// True or false.
#[derive(Clone, Copy)]
struct Flag<'a> {
    name: &'static str,
    findings: &'a Findings,
}

impl Shape for Flag<'_> {
    type Out = bool;

    fn other(self, found: &'static str) -> bool {
        self.findings.wrong_type(&format!("'{}'", self.name), "true or false", found);
        false
    }

    fn flag(self, value: bool) -> bool {
        value
    }
}

/// The entries of a write.
#[derive(Clone, Copy)]
struct Values<'a> {
    limits: &'a Limits,
    findings: &'a Findings,
}

impl Shape for Values<'_> {
    type Out = Vec<(Key, Option<Value>)>;

    fn other(self, found: &'static str) -> Self::Out {
        self.findings.wrong_type("'values'", "an object", found);
        Vec::new()
    }

    fn map<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Out, A::Error> {
        let Self { limits, findings } = self;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key_seed(Any(OneKey { max_bytes: limits.key_bytes, findings }))? {
            match key {
                Some(key) if entries.len() < limits.entries => {
                    let value = map.next_value_seed(Any(OneValue { key: &key, limits, findings }))?;
                    entries.push((key, value));
                }
                kept => {
                    if kept.is_some() {
                        findings.too_many(limits);
                    }
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(entries)
    }
}

/// The keys of a read.
#[derive(Clone, Copy)]
struct Keys<'a> {
    limits: &'a Limits,
    findings: &'a Findings,
}

impl Shape for Keys<'_> {
    type Out = Vec<Key>;

    fn other(self, found: &'static str) -> Self::Out {
        self.findings.wrong_type("'keys'", "an array", found);
        Vec::new()
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Out, A::Error> {
        let Self { limits, findings } = self;
        let mut keys = Vec::new();
        // A key that is too long to be written here may have been written elsewhere.
        while let Some(key) = list.next_element_seed(Any(OneKey { max_bytes: usize::MAX, findings }))? {
            match key {
                Some(key) if keys.len() < limits.entries => keys.push(key),
                Some(_) => findings.too_many(limits),
                None => {}
            }
        }
        Ok(keys)
    }
}

/// A key; `None` when something was found about it.
struct OneKey<'a> {
    max_bytes: usize,
    findings: &'a Findings,
}

impl Shape for OneKey<'_> {
    type Out = Option<Key>;

    fn other(self, found: &'static str) -> Self::Out {
        self.findings.wrong_type("a key", "a string", found);
        None
    }

    fn text(self, key: &str) -> Self::Out {
        let (length, limit) = (key.len(), self.max_bytes);
        if key.is_empty() {
            self.findings.note(|| Problem::new(Kind::EmptyKey, "a key is empty").about(key));
            return None;
        }
        if length > limit {
            let detail = format!("the key has {length} bytes, the limit is {limit}");
            self.findings.note(|| Problem::new(Kind::KeyTooLong, detail).about(key).with("limit", limit));
            return None;
        }
        Some(key.into())
    }
}

/// The value of `key`; `None` deletes it, or something was found about it.
struct OneValue<'a> {
    key: &'a str,
    limits: &'a Limits,
    findings: &'a Findings,
}

impl Shape for OneValue<'_> {
    type Out = Option<Value>;

    fn other(self, found: &'static str) -> Self::Out {
        self.findings.note(|| {
            let detail = format!("the value of the key '{}' must be a string or null, not {found}", shown(self.key));
            Problem::new(Kind::WrongType, detail).about(self.key).with("found", found)
        });
        None
    }

    fn text(self, value: &str) -> Self::Out {
        let (length, limit) = (value.len(), self.limits.value_bytes);
        if length > limit {
            self.findings.note(|| {
                let detail =
                    format!("the value of the key '{}' has {length} bytes, the limit is {limit}", shown(self.key));
                Problem::new(Kind::ValueTooLong, detail).about(self.key).with("limit", limit)
            });
            return None;
        }
        Some(value.into())
    }

    fn null(self) -> Self::Out {
        None
    }
}

/// Turns a JSON value of any type into something, by its type.
trait Shape: Sized {
    type Out;

    /// A value of a type that has no method of its own.
    fn other(self, found: &'static str) -> Self::Out;

    fn flag(self, _: bool) -> Self::Out {
        self.other("a boolean")
    }

    fn text(self, _: &str) -> Self::Out {
        self.other("a string")
    }

    fn null(self) -> Self::Out {
        self.other("null")
    }

    fn list<'de, A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Out, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.other("an array"))
    }

    fn map<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Out, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.other("an object"))
    }
}

struct Any<S>(S);

impl<'de, S: Shape> DeserializeSeed<'de> for Any<S> {
    type Value = S::Out;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Out, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, S: Shape> Visitor<'de> for Any<S> {
    type Value = S::Out;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<S::Out, E> {
        Ok(self.0.flag(value))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<S::Out, E> {
        Ok(self.0.other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<S::Out, E> {
        Ok(self.0.other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<S::Out, E> {
        Ok(self.0.other("a number"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<S::Out, E> {
        Ok(self.0.text(text))
    }

    fn visit_unit<E: Error>(self) -> Result<S::Out, E> {
        Ok(self.0.null())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<S::Out, A::Error> {
        self.0.list(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<S::Out, A::Error> {
        self.0.map(map)
    }
}
